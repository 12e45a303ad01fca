"""Pulling, pushing and creating models, with lines of progress; and files that clients bring."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from aiohttp import web

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.api_types import CREATE_REQUEST, PULL_REQUEST, PUSH_REQUEST
from dripline.testing.fake_ollama.body import ResponseBody
from dripline.testing.fake_ollama.faults import Fault, FaultKind
from dripline.testing.fake_ollama.go.go_types import kind_of
from dripline.testing.fake_ollama.go.go_writing import go_json, quoted
from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue
from dripline.testing.fake_ollama.names import (
    BadName,
    ModelName,
    NoName,
    TwoSources,
    read_pull_ref,
    read_ref,
)
from dripline.testing.fake_ollama.received import Ending, Phase
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.script import Pace, Script
from dripline.testing.fake_ollama.stored_models import Layer, StoredModel
from dripline.testing.fake_ollama.visit import Visit

_STEPS = 10  # lines of progress for a large file
_SMALL = 1_000_000  # bytes that come at once
_DISK = "/root/.ollama/models"


@dataclass(frozen=True, slots=True)
class Progress:
    """A line of progress.

    Attributes:
        status: What is done.
        digest: Of which file.
        total: How many bytes it has.
        completed: How many of them are there.
    """

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0

    def to_json(self) -> dict[str, JsonValue]:
        """Return the line; what is zero is left out."""
        fields: dict[str, JsonValue] = {
            "digest": self.digest,
            "total": self.total,
            "completed": self.completed,
        }
        return {"status": self.status, **{name: one for name, one in fields.items() if one}}


async def pull(visit: Visit) -> web.StreamResponse:
    """`POST /api/pull`: brings what the registry has."""
    fields = visit.fields(PULL_REQUEST)
    name = _pulled(str(fields.get("model") or fields.get("name") or ""))
    lines, script, problem = _pull_lines(visit, name)

    def done() -> None:
        if script and visit.state.shelf.get(name) is None:
            visit.state.shelf.put(name, StoredModel(name, script, name.full.lower(), 0))

    return await _progress(visit, fields, lines, problem, script=script, done=done)


def _pulled(given: str) -> ModelName:
    try:
        return read_pull_ref(given)
    except (NoName, BadName) as error:
        message = str(error) if isinstance(error, TwoSources) else "invalid model name"
        raise ApiError(400, message) from error


def _pull_lines(visit: Visit, name: ModelName) -> tuple[list[Progress], Script | None, str]:
    """Return the lines of a pull, what has been pulled, and the error at the end."""
    first = Progress("pulling manifest")
    stored = visit.state.shelf.get(name)
    script = _find(visit.state.registry, name) or (stored.script if stored else None)
    if script is None:
        problem = "file does not exist"
        if visit.state.registry is None:
            path = f"{name.namespace}/{name.model}/manifests/{name.tag}"
            problem = f'Get "https://{name.host}/v2/{path}": {_no_network(name.host)}'
        return [first], None, f"pull model manifest: {problem}"
    model = stored or StoredModel(name, script, name.full.lower(), 0)
    there = {layer.digest for layer in stored.layers} if stored else set()
    layers = [line for layer in model.layers for line in _moved("pulling", layer, there)]
    last = [Progress(s) for s in ("verifying sha256 digest", "writing manifest", "success")]
    return [first, *layers, *last], script, ""


def _no_network(host: str) -> str:
    """Return what Go says where there is no network, as it was recorded."""
    return f"dial tcp: lookup {host} on 10.255.255.53:53: no such host"


def _find(registry: Mapping[str, Script] | None, name: ModelName) -> Script | None:
    for known, script in (registry or {}).items():
        if ModelName.parse(known).key == name.key:
            return script
    return None


def _moved(verb: str, layer: Layer, there: Iterable[str]) -> Iterator[Progress]:
    """Give the lines of one file on its way; one that is there already has come at once."""
    status = f"{verb} {layer.digest[7:19]}"
    if layer.digest in there:
        yield Progress(status, layer.digest, layer.size, layer.size)
        return
    yield Progress(status, layer.digest, layer.size)
    steps = 1 if layer.size < _SMALL else _STEPS
    for step in range(1, steps + 1):
        yield Progress(status, layer.digest, layer.size, layer.size * step // steps)


async def push(visit: Visit) -> web.StreamResponse:
    """`POST /api/push`: takes a model to the registry."""
    fields = visit.fields(PUSH_REQUEST)
    given = str(fields.get("model") or fields.get("name") or "")
    if not given:
        raise ApiError(400, "model is required")
    name = ModelName.parse(given)
    lines = [Progress("retrieving manifest")]
    model = visit.state.shelf.get(name) if name.valid else None
    if model is None:
        lines.append(Progress("couldn't retrieve manifest"))
        path = name.full.rpartition(":")[0]
        problem = f"open {_DISK}/manifests/{path}/{name.tag}: no such file or directory"
        if not name.valid:
            problem = f"unqualified name: {name.full}"
        return await _progress(visit, fields, lines, problem)
    registry = visit.state.registry
    if registry is None:
        path = f"{name.namespace}/{name.model}/blobs/{model.layers[0].digest}"
        problem = f'Head "https://{name.host}/v2/{path}": {_no_network(name.host)}'
        return await _progress(visit, fields, lines, problem)
    lines += [line for layer in model.layers for line in _moved("pushing", layer, ())]
    lines += [Progress("pushing manifest"), Progress("success")]

    def done() -> None:
        registry[name.shortest] = model.script

    return await _progress(visit, fields, lines, script=model.script, done=done)


async def create(visit: Visit) -> web.StreamResponse:
    """`POST /api/create`: a model from another, with prompts and options of its own."""
    fields = visit.fields(CREATE_REQUEST)
    _check_files(fields)
    name = ModelName.parse(str(fields.get("model") or fields.get("name") or ""))
    if not name.valid:
        raise ApiError(400, "invalid model name")
    if not fields.get("from"):
        return await _create_from_files(visit, fields, name)
    try:
        ref = read_ref(str(fields["from"]))
    except BadName:
        return await _progress(visit, fields, [], "invalid model name", status=400)
    if ref.cloud:
        return await _create_remote(visit, fields, name)
    source = visit.stored(ref)
    if source is None:
        wanted = ModelName.parse(str(fields["from"]))
        lines, script, problem = _pull_lines(visit, wanted)
        if script is None:
            return await _progress(visit, fields, lines, problem)
        source = StoredModel(wanted, script, wanted.full.lower(), 0)
        return await _create(visit, fields, name, source, lines[:-1])
    return await _create(visit, fields, name, source, [])


def _check_files(fields: JsonObject) -> None:
    """Refuse files that have no digest, or a path that leads elsewhere.

    Raises:
        ApiError: There are such.
    """
    for kind in ("files", "adapters"):
        for path, digest in cast("JsonObject", fields.get(kind) or {}).items():
            if kind == "files" and (path.startswith("/") or ".." in path.split("/") or not path):
                raise ApiError(400, "file path must be relative")
            if not digest:
                raise ApiError(400, "invalid digest format")


async def _create_remote(visit: Visit, fields: JsonObject, name: ModelName) -> web.StreamResponse:
    """Create a name for a model of the cloud, which is switched off."""
    model = StoredModel(name, Script(), name.full.lower(), 0, remote=True)

    def done() -> None:
        visit.state.shelf.put(name, model)

    lines = [Progress("writing manifest"), Progress("success")]
    return await _progress(visit, fields, lines, done=done)


async def _create_from_files(
    visit: Visit, fields: JsonObject, name: ModelName
) -> web.StreamResponse:
    files = fields.get("files")
    if not isinstance(files, Mapping):
        message = "neither 'from' or 'files' was specified"
        return await _progress(visit, fields, [], message, status=400)
    if not files:
        return await _progress(visit, fields, [], "unknown type", status=400)
    digests = [str(digest) for digest in files.values()]
    if not all(path.endswith((".gguf", ".safetensors")) for path in files):
        return await _progress(visit, fields, [], "unknown type", status=400)
    lines = [Progress("parsing GGUF")]
    for digest in digests:
        if digest not in visit.state.blobs:
            path = f"{_DISK}/blobs/{digest.replace(':', '-')}"
            return await _progress(visit, fields, lines, f"open {path}: no such file or directory")
    size = sum(visit.state.blobs[digest] for digest in digests)
    script = Script()
    script = replace(script, details=replace(script.details, size=size))
    lines.append(Progress("verifying conversion"))
    model = StoredModel(name, script, " ".join(digests), 0)
    return await _create(visit, fields, name, model, lines)


async def _create(
    visit: Visit,
    fields: JsonObject,
    name: ModelName,
    source: StoredModel,
    lines: list[Progress],
) -> web.StreamResponse:
    details = source.details
    license_ = fields.get("license")
    template = str(fields.get("template") or "")
    if template.count("{{") != template.count("}}"):
        problem = "template error: template: :1: unclosed action"
        return await _progress(visit, fields, [], problem, status=400)
    if license_ is not None and not isinstance(license_, str | list):
        kind = kind_of(license_)
        problem = f"json: cannot unmarshal {kind} into Go value of type []string"
        return await _progress(visit, fields, [], problem)
    licenses = license_ if isinstance(license_, list) else [license_] if license_ else []
    made = replace(
        details,
        template=template or details.template,
        system=str(fields.get("system") or "") or details.system,
        license="\n".join(map(str, licenses)) or details.license,
        parameters={**details.parameters, **cast("JsonObject", fields.get("parameters") or {})},
        quantization_level=str(fields.get("quantize") or "") or details.quantization_level,
    )
    messages = cast("list[JsonObject]", fields.get("messages") or []) or source.messages
    parent = source.name.shortest if fields.get("from") else ""
    model = replace(
        source, script=replace(source.script, details=made), parent=parent, messages=messages
    )
    known = {layer.digest for one in visit.state.shelf.all() for layer in one.layers}
    for layer in model.layers[:-1]:
        verb = "using existing" if layer.digest in known else "creating new"
        lines.append(Progress(f"{verb} layer {layer.digest}"))
    lines += [Progress("writing manifest"), Progress("success")]

    def done() -> None:
        visit.state.shelf.put(name, model)

    return await _progress(visit, fields, lines, script=model.script, done=done)


async def _progress(
    visit: Visit,
    fields: JsonObject,
    lines: list[Progress],
    problem: str = "",
    *,
    status: int = 500,
    script: Script | None = None,
    done: Callable[[], None] | None = None,
) -> web.StreamResponse:
    """Send lines of progress at the model's pace, or the last one alone without streaming.

    Args:
        visit: The request.
        fields: Its fields.
        lines: What to tell.
        problem: The error at the end, or "".
        status: The HTTP status of the error where nothing has been sent.
        script: The model, for its pace.
        done: What to do before the last line.
    """
    stream = fields.get("stream") is not False
    fault = visit.fault if visit.fault and visit.fault.at_byte is None else None
    body = visit.body(wire.NDJSON if stream else wire.PLAIN_JSON)
    gaps = (script.pace if script else Pace()).gaps()
    received, clock = visit.received, visit.state.clock
    if problem and stream and not lines:
        visit.fault = None
        error = wire.error(problem)
        return await visit.respond(error, wire.PLAIN_JSON, status=status, chunked=True)
    last = Progress("")
    for number, line in enumerate(lines):
        await clock.sleep(next(gaps))
        if fault and fault.at_token == number:
            problem = await _struck(visit, body, fault) or problem
            if received.ended or problem:
                break
        if number == len(lines) - 1 and not problem and done:
            done()
        last = line
        if stream:
            await body.send(go_json(line.to_json()) + b"\n")
            received.sent(1)
            received.enter(Phase.ANSWERING)
    if received.ended:
        return body.response
    if not stream:
        visit.fault = None
        data = wire.error(problem) if problem else go_json(last.to_json())
        code = status if problem else 200
        return await visit.respond(data, wire.PLAIN_JSON, status=code)
    if problem:
        await body.send(wire.error(problem) + b"\n")
    received.end(Ending.FAULTED if fault and received.fault else Ending.FINISHED)
    await body.finish()
    return body.response


async def _struck(visit: Visit, body: ResponseBody, fault: Fault) -> str:
    """Let a fault meet the lines; return the error that ends them, if it is one."""
    visit.received.fault = fault
    if fault.kind is FaultKind.ERROR:
        return fault.message
    if fault.kind is FaultKind.GARBAGE:
        await body.send(fault.line + b"\n")
    elif fault.kind is FaultKind.LONG_LINE:
        await body.send(go_json({"status": "x" * fault.size}) + b"\n")
    elif fault.kind is FaultKind.LOOP:
        await body.finish()
        visit.received.end(Ending.FAULTED)
    else:
        await body.strike(fault)
    return ""


_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")


async def head_blob(visit: Visit) -> web.StreamResponse:
    """`HEAD /api/blobs/:digest`: whether a file is there."""
    if not _there(visit):
        raise ApiError(404, f"blob {quoted(visit.param)} not found")
    return await visit.respond(None, "")


async def create_blob(visit: Visit) -> web.StreamResponse:
    """`POST /api/blobs/:digest`: brings a file."""
    if _there(visit):
        return await visit.respond(b"", "")
    digest = f"sha256:{hashlib.sha256(visit.data).hexdigest()}"
    # The file is kept by its own digest, also where that is not the one that was told.
    visit.state.blobs[digest] = len(visit.data)
    if digest != visit.param:
        expected = f"expected {quoted(visit.param)}, got {quoted(digest)}"
        raise ApiError(400, f"digest mismatch, {expected}")
    return await visit.respond(b"", "", status=201)


def _there(visit: Visit) -> bool:
    digest = visit.param
    if not _DIGEST.fullmatch(digest):
        raise ApiError(400, "invalid digest format")
    digest = digest.replace("-", ":", 1)
    layers = (layer for model in visit.state.shelf.all() for layer in model.layers)
    return digest in visit.state.blobs or any(layer.digest == digest for layer in layers)
