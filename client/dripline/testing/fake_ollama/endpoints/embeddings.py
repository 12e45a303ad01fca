"""Embeddings: vectors made from the text alone, so that the same text has the same one."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.api_types import EMBED_REQUEST, EMBEDDING_REQUEST
from dripline.testing.fake_ollama.endpoints.answers import status_of
from dripline.testing.fake_ollama.faults import FaultKind
from dripline.testing.fake_ollama.go.go_writing import (
    NANOSECONDS,
    go_float32,
    go_json,
    go_json_exact,
    quoted,
)
from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue
from dripline.testing.fake_ollama.openai_api.completions_door import OpenAiDoor, refuse
from dripline.testing.fake_ollama.openai_api.openai_types import EMBEDDINGS_REQUEST
from dripline.testing.fake_ollama.received import Ending, Phase
from dripline.testing.fake_ollama.request import DEFAULT_KEEP_ALIVE, ApiError, check_options
from dripline.testing.fake_ollama.script import tokens
from dripline.testing.fake_ollama.stored_models import StoredModel
from dripline.testing.fake_ollama.visit import Visit

_LEAST = 0.001  # seconds that a step takes which takes none, as in an answer


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of some texts.

    Attributes:
        vectors: One for each text, of unit length.
        tokens: How many the texts have together.
        load_seconds: How long loading took.
    """

    vectors: Sequence[Sequence[float]]
    tokens: int
    load_seconds: float


def vector_of(text: str, length: int) -> list[float]:
    """Return a text's embedding: of unit length, and near that of a text that shares its words.

    Each word points in a direction of its own, which is drawn from its letters; the text's is the
    sum of them, with a little of the text as a whole so that the order of its words shows.
    """
    words = [word.strip().casefold() for word in tokens(text) if word.strip()] or [text]
    total = [0.0] * length
    for word, weight in (*((word, 1.0) for word in words), (text, 0.1)):
        for index, value in enumerate(_direction(word, length)):
            total[index] += weight * value
    return normalized(total)


def _direction(word: str, length: int) -> list[float]:
    data = hashlib.shake_128(word.encode(errors="replace")).digest(2 * length)
    return [value / 32768 for value in struct.unpack(f"<{length}h", data)]


def normalized(vector: Sequence[float]) -> list[float]:
    """Return a vector of the same direction and of unit length."""
    size = max(math.sqrt(sum(value * value for value in vector)), 1e-12)
    return [_float32(value / size) for value in vector]


def _float32(value: float) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


async def embed(visit: Visit) -> web.StreamResponse:
    """`POST /api/embed`."""
    fields = visit.fields(EMBED_REQUEST)
    name = str(fields.get("model") or "")
    done = await _embed(visit, fields, ApiError(404, f"model '{name}' not found"))
    vectors = [f"[{','.join(map(go_float32, vector))}]" for vector in done.vectors]
    figures: dict[str, JsonValue] = {}
    if vectors:
        load = round(max(done.load_seconds, _LEAST) * NANOSECONDS)
        figures = {"total_duration": load + round(_LEAST * NANOSECONDS), "load_duration": load}
        if done.tokens:
            figures["prompt_eval_count"] = done.tokens
    head = go_json({"model": name}).decode()[:-1]
    tail = go_json(figures).decode()[1:]
    text = f'{head},"embeddings":[{",".join(vectors)}]{"," if figures else ""}{tail}'
    return await visit.respond(text.encode(), chunked=len(text) > 2048)


async def embeddings(visit: Visit) -> web.StreamResponse:
    """`POST /api/embeddings`, the older one: one text, and a vector that is not cut to length."""
    fields = visit.fields(EMBEDDING_REQUEST)
    prompt = fields.get("prompt") or ""
    asked = {**fields, "input": prompt}
    done = await _embed(visit, asked, ApiError(400, "model is required"), unsupported=500)
    vector: JsonValue = list(done.vectors[0]) if done.vectors else []
    body = go_json_exact({"embedding": vector})
    return await visit.respond(body, chunked=len(body) > 2048)


async def openai_embeddings(visit: Visit) -> web.StreamResponse:
    """`POST /v1/embeddings`."""
    visit.door = OpenAiDoor()
    fields = visit.fields(EMBEDDINGS_REQUEST, early=True)
    visit.refuse_cloud(fields)
    encoding = str(fields.get("encoding_format") or "")
    if encoding.lower() not in ("", "float", "base64"):
        problem = f"Invalid value for 'encoding_format' = {encoding}. "
        raise refuse(f"{problem}Supported values: ['float', 'base64'].")
    given = fields.get("input")
    if given is None or given == []:
        raise refuse("invalid input")
    name = str(fields.get("model") or "")
    asked: dict[str, JsonValue] = {**fields}
    if given == "":
        asked["input"] = [""]
    done = await _embed(visit, asked, ApiError(404, f"model '{name}' not found"))
    as_text = encoding.lower() == "base64"
    data = ",".join(
        f'{{"object":"embedding","embedding":{_written(vector, as_text=as_text)},"index":{index}}}'
        for index, vector in enumerate(done.vectors)
    )
    usage = go_json({"prompt_tokens": done.tokens, "total_tokens": done.tokens}).decode()
    model = go_json(name).decode()
    body = f'{{"object":"list","data":[{data}],"model":{model},"usage":{usage}}}\n'.encode()
    return await visit.respond(body, wire.PLAIN_JSON, chunked=len(body) > 2048)


def _written(vector: Sequence[float], *, as_text: bool) -> str:
    if as_text:
        return f'"{base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()}"'
    return f"[{','.join(map(go_float32, vector))}]"


async def _embed(
    visit: Visit, fields: JsonObject, nameless: ApiError, *, unsupported: int = 501
) -> Embedded:
    """Load the model, and embed.

    Raises:
        ApiError: What Ollama answers instead.
    """
    name = str(fields.get("model") or "")
    ref = visit.ref(name, nameless)
    visit.local(ref)
    texts = _texts(fields.get("input"))
    model = visit.stored(ref)
    if model is None:
        raise ApiError(404, f"model {quoted(name)} not found, try pulling it first")
    options = fields.get("options")
    check_options(options if isinstance(options, dict) else {})
    script = model.script
    fault = visit.fault or (visit.state.strikes.strikes(script.fault) if texts else None)
    if fault and fault.kind is FaultKind.STATUS:
        visit.received.fault = fault
        visit.received.end(Ending.FAULTED)
        raise status_of(fault, name, visit.state.release.terminated)
    visit.fault = fault
    keep_alive = fields.get("keep_alive")
    if visit.state.memory.get(model) is None:
        visit.received.enter(Phase.LOADING)
    async with visit.state.memory.use(
        model,
        cold_load=script.pace.cold_load,
        keep_alive=keep_alive if isinstance(keep_alive, float) else DEFAULT_KEEP_ALIVE,
        keeps=keep_alive is not None,
        context_length=_num_ctx(options),
    ) as (loaded, load_seconds):
        if not texts:
            return Embedded([], 0, load_seconds)
        if not script.can("embedding"):
            raise ApiError(unsupported, visit.state.release.no_embeddings)
        visit.received.enter(Phase.EVALUATING)
        await visit.state.clock.sleep(script.pace.first_token)
        read = [_fitting(text, loaded.context_length, fields) for text in texts]
        vectors = [_vector(text, model, fields) for text in read]
        return Embedded(vectors, sum(len(tokens(text)) for text in read), load_seconds)


def _num_ctx(options: JsonValue) -> int | None:
    value = options.get("num_ctx") if isinstance(options, dict) else None
    return int(value) if isinstance(value, int | float) and value >= 1 else None


def _texts(given: JsonValue) -> list[str]:
    if given is None or given == "":
        return []
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise ApiError(400, "invalid input type")
    return [text for text in texts if isinstance(text, str)]


def _fitting(text: str, context: int, fields: JsonObject) -> str:
    """Return a text, cut to the context; or refuse one that is too long."""
    read = tokens(text)
    if len(read) <= context:
        return text
    if fields.get("truncate") is False:
        raise ApiError(400, "the input length exceeds the context length")
    return "".join(read[:context])


def _vector(text: str, model: StoredModel, fields: JsonObject) -> list[float]:
    vector = vector_of(text, model.details.embedding_length)
    dimensions = fields.get("dimensions") or 0
    if isinstance(dimensions, int) and 0 < dimensions < len(vector):
        return normalized(vector[:dimensions])
    return vector
