"""The endpoints at which a model says something: Ollama's own two, and those of others."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import chain, repeat

from aiohttp import web

from dripline.recordings.exchange import Exchange
from dripline.recordings.matching import UnexpectedRequest
from dripline.recordings.replay_server import UNEXPECTED_STATUS
from dripline.testing.fake_ollama.anthropic_api.messages_door import (
    MESSAGES_REQUEST,
    MessagesDoor,
    messages_fields,
)
from dripline.testing.fake_ollama.api_types import CHAT_REQUEST, GENERATE_REQUEST
from dripline.testing.fake_ollama.door import GenerateDoor
from dripline.testing.fake_ollama.faults import Fault, FaultKind
from dripline.testing.fake_ollama.go.go_writing import quoted
from dripline.testing.fake_ollama.json_value import JsonObject
from dripline.testing.fake_ollama.names import ModelRef
from dripline.testing.fake_ollama.openai_api.completions_door import (
    ChatCompletionsDoor,
    CompletionsDoor,
    OpenAiDoor,
    chat_fields,
    generate_fields,
    includes_usage,
)
from dripline.testing.fake_ollama.openai_api.openai_types import (
    CHAT_COMPLETION_REQUEST,
    COMPLETION_REQUEST,
    RESPONSES_REQUEST,
)
from dripline.testing.fake_ollama.openai_api.responses_door import ResponsesDoor, responses_fields
from dripline.testing.fake_ollama.received import Ending, Phase
from dripline.testing.fake_ollama.replayed import find_exchange, plays_at, send_replay
from dripline.testing.fake_ollama.request import (
    ApiError,
    Message,
    ReceivedChat,
    check_format,
    check_options,
    check_top_logprobs,
)
from dripline.testing.fake_ollama.retold import retold
from dripline.testing.fake_ollama.script import Replay, Reply, Script
from dripline.testing.fake_ollama.scripted import FittedPrompt, ScriptedAnswer
from dripline.testing.fake_ollama.stored_models import StoredModel
from dripline.testing.fake_ollama.visit import CLOUD_OFF, Visit
from dripline.testing.fake_ollama.wire import AnswerStep

_log = logging.getLogger(__name__)


async def chat(visit: Visit) -> web.StreamResponse:
    """`POST /api/chat`."""
    return await _chat(visit, visit.fields(CHAT_REQUEST))


async def generate(visit: Visit) -> web.StreamResponse:
    """`POST /api/generate`."""
    visit.door = GenerateDoor()
    return await _generate(visit, visit.fields(GENERATE_REQUEST))


async def chat_completions(visit: Visit) -> web.StreamResponse:
    """`POST /v1/chat/completions`."""
    visit.door = OpenAiDoor()
    fields = visit.fields(CHAT_COMPLETION_REQUEST, early=True)
    visit.refuse_cloud(fields)
    native = chat_fields(fields)
    visit.door = ChatCompletionsDoor(
        visit.state.ids.randrange(999),
        include_usage=includes_usage(fields),
        finish_apart=visit.state.release.finishes_apart,
    )
    return await _chat(visit, native)


async def completions(visit: Visit) -> web.StreamResponse:
    """`POST /v1/completions`."""
    visit.door = OpenAiDoor()
    fields = visit.fields(COMPLETION_REQUEST, early=True)
    visit.refuse_cloud(fields)
    native = generate_fields(fields)
    visit.door = CompletionsDoor(
        visit.state.ids.randrange(999), include_usage=includes_usage(fields)
    )
    return await _generate(visit, native)


async def responses(visit: Visit) -> web.StreamResponse:
    """`POST /v1/responses`."""
    visit.door = OpenAiDoor()
    fields = visit.fields(RESPONSES_REQUEST, early=True)
    visit.refuse_cloud(fields)
    native = responses_fields(fields)
    visit.door = ResponsesDoor(visit.state.ids.randrange(999_999), fields)
    return await _chat(visit, native)


async def messages(visit: Visit) -> web.StreamResponse:
    """`POST /v1/messages`."""
    ident = f"{visit.state.ids.getrandbits(96):024x}"
    visit.door = MessagesDoor(ident, {})
    fields = visit.fields(MESSAGES_REQUEST, early=True)
    visit.refuse_cloud(fields)
    native = messages_fields(fields)
    visit.door = MessagesDoor(ident, fields)
    return await _chat(visit, native, relax_thinking=True)


async def _chat(
    visit: Visit, fields: JsonObject, *, relax_thinking: bool = False
) -> web.StreamResponse:
    request = ReceivedChat.of_chat(fields, visit.received.path)
    return await answer_chat(visit, request, fields, relax_thinking=relax_thinking)


async def answer_chat(
    visit: Visit, request: ReceivedChat, fields: JsonObject, *, relax_thinking: bool = False
) -> web.StreamResponse:
    """Answer a chat.

    Args:
        visit: Where it came.
        request: What is asked for.
        fields: What it was made of.
        relax_thinking: Whether a model that cannot think answers all the same.

    Raises:
        ApiError: What Ollama answers instead.
    """
    visit.received.chat = request
    check_top_logprobs(fields)
    ref = visit.ref(request.model, ApiError(400, "model is required"))
    visit.local(ref)
    model = _stored(visit, ref, request)
    if not request.messages and request.keep_alive == 0:
        return await _unloaded(visit, request, model)
    script = model.script
    if request.think and not script.can("thinking"):
        if not relax_thinking:
            raise _cannot(request, "thinking")
        request = replace(request, think=None)
    if not script.can("completion"):
        raise _cannot(request, "chat")
    if request.tools and not script.can("tools"):
        raise ApiError(400, f"{model.name.full} does not support tools")
    if request.messages and request.messages[0].role != "system" and script.details.system:
        brought = Message("system", script.details.system)
        request = replace(request, messages=(brought, *_brought(model), *request.messages))
    elif request.messages and model.messages:
        request = replace(request, messages=(*_brought(model), *request.messages))
    return await _answer(visit, request, model, fields, loads_only=not request.messages)


async def _generate(visit: Visit, fields: JsonObject) -> web.StreamResponse:
    prompt = str(fields.get("prompt") or "")
    request = ReceivedChat.of_generate(fields, visit.received.path)
    visit.received.chat = request
    check_top_logprobs(fields)
    missing = ApiError(404, f"model '{request.model}' not found")
    ref = visit.ref(request.model, missing)
    visit.local(ref)
    model = _stored(visit, ref, request)
    if not prompt and request.keep_alive == 0:
        return await _unloaded(visit, request, model)
    if request.raw and (fields.get("template") or fields.get("system") or request.context):
        raise ApiError(400, "raw mode does not support template, system, or context")
    script = model.script
    if request.think and not script.can("thinking"):
        raise _cannot(request, "thinking")
    if not script.can("completion"):
        raise _cannot(request, "generate")
    if request.suffix and not script.can("insert"):
        raise ApiError(400, f"{model.name.full} does not support insert")
    if prompt and not request.raw and not fields.get("system") and script.details.system:
        brought = Message("system", script.details.system)
        request = replace(request, messages=(brought, *request.messages))
    return await _answer(visit, request, model, fields, loads_only=not prompt)


def _brought(model: StoredModel) -> list[Message]:
    """Return the conversation that a model brings."""
    return [
        Message(str(message.get("role") or ""), str(message.get("content") or ""))
        for message in model.messages
    ]


def _stored(visit: Visit, ref: ModelRef, request: ReceivedChat) -> StoredModel:
    model = visit.stored(ref)
    if model is None:
        raise ApiError(404, f"model '{request.model}' not found")
    if model.remote:
        raise ApiError(403, f"{CLOUD_OFF}: remote model is unavailable")
    return model


def _cannot(request: ReceivedChat, what: str) -> ApiError:
    return ApiError(400, f"{quoted(request.model)} does not support {what}")


async def _unloaded(visit: Visit, request: ReceivedChat, model: StoredModel) -> web.StreamResponse:
    visit.state.memory.unload(model)
    return await _say_nothing(visit, request, "unload")


async def _say_nothing(visit: Visit, request: ReceivedChat, done_reason: str) -> web.StreamResponse:
    """Say that the model has been loaded or unloaded; that is never a stream."""
    step = AnswerStep(request.model, visit.state.clock.time_ns(), done_reason=done_reason)
    return await visit.respond(visit.door.whole(step), visit.door.whole_type)


async def _answer(
    visit: Visit,
    request: ReceivedChat,
    model: StoredModel,
    fields: JsonObject,
    *,
    loads_only: bool,
) -> web.StreamResponse:
    """Load the model, and let it answer."""
    state, received, script = visit.state, visit.received, model.script
    check_options(request.options)
    request = replace(request, options={**script.details.parameters, **request.options})
    visit.received.chat = request
    fault = visit.fault
    if fault is None and not loads_only:
        fault = state.strikes.strikes(script.fault)
    if fault and fault.kind is FaultKind.STATUS:
        raise _status(visit, fault, request.model)
    visit.fault = None
    if state.memory.get(model) is None:
        received.enter(Phase.LOADING)
    async with state.memory.use(
        model,
        cold_load=script.pace.cold_load,
        keep_alive=request.keep_alive,
        keeps=request.keeps,
        context_length=request.num_ctx,
    ) as (loaded, load_seconds):
        if loads_only:
            visit.fault = fault
            return await _say_nothing(visit, request, "load")
        received.enter(Phase.EVALUATING)
        prompt = FittedPrompt.fitting(request, loaded.context_length)
        _check_prompt(visit, request, script, prompt, fields, loaded.context_length)
        if not request.shift and _overflows(prompt, loaded.context_length):
            body = visit.body(visit.door.stream_type, headers=visit.door.stream_headers)
            await body.finish()  # not even a last line
            received.end(Ending.FINISHED)
            return body.response
        return await _speak(visit, prompt, script, fault, load_seconds)


async def _speak(
    visit: Visit, prompt: FittedPrompt, script: Script, fault: Fault | None, load_seconds: float
) -> web.StreamResponse:
    """Ask the script what to say, and say it."""
    request = prompt.request
    try:
        reply, gaps = script.answer(request), script.pace.gaps()
        if not isinstance(reply, Reply):
            recorded = _recorded(visit, reply, stream=request.stream)
            if plays_at(reply, visit.received.path):
                return await send_replay(visit, recorded, reply.speed, script.split)
            told = retold(recorded, reply.speed)
            reply, fault, gaps = told.reply, told.fault, chain(told.gaps, repeat(0.0))
        answer = ScriptedAnswer(
            visit,
            prompt,
            script,
            reply,
            fault,
            gaps,
            load_seconds=load_seconds,
            context=isinstance(visit.door, GenerateDoor) and not request.raw,
        )
    except (ApiError, ConnectionError):
        raise
    except Exception as error:
        _log.exception("the script of %s failed", request.model)
        raise ApiError(500, f"the script failed: {error!r}") from error
    return await answer.send()


def _recorded(visit: Visit, replay: Replay, *, stream: bool) -> Exchange:
    """Return the recorded exchange that answers a request to a model.

    Raises:
        ApiError: None does.
    """
    playlists, received = visit.state.playlists, visit.received
    if replay not in playlists:
        playlists[replay] = replay.playlist()
    elsewhere = not plays_at(replay, received.path)
    try:
        return find_exchange(playlists[replay], received, stream=stream, elsewhere=elsewhere)
    except UnexpectedRequest as unexpected:
        visit.state.unexpected.append(unexpected)
        raise ApiError(UNEXPECTED_STATUS, str(unexpected)) from unexpected


def _status(visit: Visit, fault: Fault, model: str) -> ApiError:
    """Return a status that a fault answers."""
    visit.received.fault = fault
    visit.received.end(Ending.FAULTED)
    return status_of(fault, model, visit.state.release.terminated)


def status_of(fault: Fault, model: str, terminated: str) -> ApiError:
    """Return the error of a fault that is a status, in Ollama's words where it has none."""
    match fault.code:
        case 404:
            usual = f"model '{model}' not found"
        case 503:
            usual = "server busy, please try again.  maximum pending requests exceeded"
        case _:
            usual = terminated
    return ApiError(fault.code, fault.message or usual, headers=fault.headers)


def _check_prompt(
    visit: Visit,
    request: ReceivedChat,
    script: Script,
    prompt: FittedPrompt,
    fields: JsonObject,
    context: int,
) -> None:
    """Refuse what the model's runner does, once it is loaded.

    Raises:
        ApiError: It does.
    """
    release = visit.state.release
    wanted = fields.get("format")
    check_format(None if wanted == "" else wanted)
    sees = script.can("vision") or script.can("audio")
    if any(message.images for message in request.messages) and not sees:
        raise release.blind()
    if not request.truncate and prompt.whole > context:
        raise release.too_long(prompt.whole, context)


def _overflows(prompt: FittedPrompt, context: int) -> bool:
    """Return whether prompt and answer do not go into the context together."""
    limit = prompt.request.num_predict or 1
    return prompt.whole + limit > context
