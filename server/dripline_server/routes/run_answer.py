"""Start a run for a request, and answer with its events: streamed, or as one JSON object."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace
from typing import Any

from aiohttp import web

from dripline.answer import Answer
from dripline.errors import ErrorCode
from dripline.events import End, Error, Event, data_of, from_json, to_json
from dripline.tool import Tool
from dripline_server.access_log import access_logger
from dripline_server.agents.hosting import AgentHost, Asker
from dripline_server.callers import CALLER, Caller
from dripline_server.dialects import Dialect, Position
from dripline_server.dialects.native import NativeDialect
from dripline_server.event_stream import EventStream
from dripline_server.problems import RETRY_AFTER, Problem, json_response
from dripline_server.routes.chat_request import ChatRequest, run_request
from dripline_server.routes.request_body import bad_field
from dripline_server.run_log import (
    ID_SHOWN,
    Batch,
    EndedBefore,
    FoundRun,
    PositionGone,
    PositionUnknown,
    ReaderOvertaken,
    RunLogUnavailable,
    not_now,
)
from dripline_server.runs.places import RegistryFull
from dripline_server.runs.registry import RunIdInUse, RunOfAnother
from dripline_server.runs.run_request import RunRequest
from dripline_server.state import STATE

logger = logging.getLogger(__name__)

_ID_LINE = re.compile(rb"^id: .*\n", re.MULTILINE)
_BEYOND_ALL = 10**18
NO_HEADERS: Mapping[str, str] = {}
# The HTTP status of a whole answer with this error; 502 for all other codes.
STATUS_OF: dict[str, int] = {
    ErrorCode.MODEL_NOT_FOUND: 404,
    ErrorCode.OLLAMA_REFUSED: 400,
    ErrorCode.OLLAMA_UNREACHABLE: 503,
    ErrorCode.OLLAMA_BUSY: 503,
    ErrorCode.UPSTREAM_REFUSED: 400,
    ErrorCode.UPSTREAM_UNREACHABLE: 503,
    ErrorCode.UPSTREAM_BUSY: 503,
    ErrorCode.SERVER_SHUTDOWN: 503,
    ErrorCode.UPSTREAM_STALLED: 504,
    ErrorCode.AGENT_FAILED: 500,
    ErrorCode.AGENT_STALLED: 504,
    ErrorCode.INTERNAL_ERROR: 500,
}


async def start_run(
    request: web.Request,
    asked: ChatRequest,
    tools: Sequence[Tool] | None = None,
    asker: Asker | None = None,
) -> FoundRun:
    """Start a run, or return the existing run if the request names one by `run_id`.

    Args:
        request: The HTTP request.
        asked: Its parsed body.
        tools: The server's tools that the model may call; None for all of them.
        asker: What an agent gets to know besides the chat request.

    Raises:
        Problem: The request names no model, and there is no default (400); its caller may not use
            the model (403); there are only agents, and none has the name (404); another request
            uses the `run_id` (409), or another caller's run has it (404); the caller has too many
            runs (429); or the server accepts no new run at the moment (503).
    """
    state, caller = request.app[STATE], request[CALLER]
    offered = state.tools if tools is None else tools
    model = asked.model or state.default_model
    by_agent = model in state.agents
    wanted = run_request(asked, model, state.settings.grace, offered, by_agent=by_agent)
    wanted = replace(wanted, caller=caller)
    if not caller.may_use(wanted.model):
        raise model_not_allowed(caller, asked.model)
    server = None if by_agent else await state.agents.server_of(model)
    if by_agent or server:
        answering = state.agents.answering(model, server)
        wanted = replace(wanted, tools=(), answering=answering, asker=asker or Asker(request))
    elif not state.offers_models:
        there = ", ".join(filter(caller.may_use, state.agents))
        message = f"There is no agent {wanted.model!r}; there are: {there}."
        raise Problem(404, ErrorCode.MODEL_NOT_FOUND, message)
    elif not state.settings.names_ollama:
        _check_servers(state.agents)
    return await begin_run(request, wanted, asked.run_id)


async def begin_run(request: web.Request, wanted: RunRequest, run_id: str | None) -> FoundRun:
    """Start the run of a request, or return the existing run with this id.

    Raises:
        Problem: Another request uses the `run_id` (409); or the server accepts no new run at the
            moment (503).
    """
    try:
        with not_accepted():
            return await request.app[STATE].runs.start(wanted, run_id)
    except RunIdInUse as in_use:
        message = "run_id: another request already uses this id; choose a new one."
        raise Problem(409, ErrorCode.RUN_ID_IN_USE, message) from in_use
    except RunOfAnother as another:
        message = "run_id: this id cannot be used; choose a new one."
        raise Problem(404, ErrorCode.NOT_FOUND, message) from another


@contextmanager
def not_accepted() -> Iterator[None]:
    """Turn `RegistryFull` into a `Problem` (503)."""
    try:
        yield
    except RegistryFull as full:
        status = 429 if full.code is ErrorCode.TOO_MANY_RUNS else 503
        raise Problem(status, full.code, str(full), {"Retry-After": str(RETRY_AFTER)}) from full


def model_not_allowed(caller: Caller, named: str) -> Problem:
    """Return the problem to raise if the caller may not use a model; "" for the default one."""
    allowed = ", ".join(caller.models)
    message = (
        f"model: {named[:100]!r} is not allowed for your token; it may use {allowed}."
        if named
        else f"model: name one; your token may not use this server's default, only {allowed}."
    )
    return Problem(403, ErrorCode.MODEL_NOT_ALLOWED, message)


def check_model_changes(request: web.Request) -> None:
    """Let a request pass that changes Ollama's models, or raise.

    Raises:
        Problem: Its caller may not change them (403).
    """
    by_default = request.app[STATE].settings.lets_models_change
    if not request[CALLER].may_change_models(by_default):
        raise Problem(
            403,
            ErrorCode.MODEL_CHANGES_NOT_ALLOWED,
            "This server does not let requests change models. Change them where Ollama runs, or"
            " start dripline-server with --allow-model-changes.",
        )


def _check_servers(agents: AgentHost) -> None:
    """Say if a server cannot be asked for its models, which may have the one that is not known."""
    for server in agents.servers:
        if error := server.failure:
            raise Problem(STATUS_OF.get(error.code, 502), error.code, error.message)


def _at_once(_: Batch) -> bool:
    """Begin the response without waiting for an event."""
    return True


async def stream_run(
    request: web.Request,
    run: FoundRun,
    dialect: Dialect,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    begun: Callable[[Batch], bool] = _at_once,
) -> web.StreamResponse:
    """Attach a reader to the run, and stream the remaining events to it in its dialect.

    Args:
        request: The HTTP request.
        run: The run.
        dialect: Writes the events.
        headers: Headers of the response besides the dialect's.
        begun: Called with each batch until it returns True: only then the response begins, with
            all held batches. It may raise a `Problem` to answer with an error status instead.

    Raises:
        Problem: The run has its maximum of readers (429), the log has dropped the next event
            (410), or the run has not reached the reader's position (400).
        RunLogUnavailable: See `ReadableLog.follow`.
    """
    state = request.app[STATE]
    if run.readers >= state.settings.max_readers:
        raise Problem(
            429,
            ErrorCode.TOO_MANY_READERS,
            f"This run already has {run.readers} readers, the most allowed (--max-readers).",
            {"Retry-After": str(RETRY_AFTER)},
        )
    headers = {"X-Run-Id": run.id, **dialect.headers, **headers}
    stream = EventStream(request, headers, dialect.frames)
    async with _attached(run, dialect, stream.deliver_now) as batches:
        record = state.records.find(run.id)
        stream.record = reader = record.reader(request) if record else None
        held = b"" if begun is _at_once else await _held_back(batches, dialect, begun)
        with reader or nullcontext():
            await stream.prepare(request)
            state.pulse.add(stream)
            try:
                if held:
                    await stream.send(held)
                async for batch in batches:
                    await stream.deliver(batch)
                await stream.finish()
            except (RunLogUnavailable, EndedBefore, ReaderOvertaken) as error:
                # This process cannot serve the rest; another one may be able to.
                with suppress(ConnectionError):
                    await stream.send(_without_ids(dialect, _last_words(error)))
                    await stream.finish()
            except asyncio.CancelledError:
                # aiohttp does not log a request whose client has left.
                left = {"run": run.id[:ID_SHOWN], "caller": run.caller}
                access_logger.info("reader left", extra=left)
                raise
            except Exception as error:
                # The body has begun, so an error answer would look like a part of the stream.
                # Cutting the connection tells the reader that the stream is incomplete.
                stream.abort()
                if not isinstance(error, ConnectionError):
                    logger.exception("the stream of run %s broke", run.id[:ID_SHOWN])
    return stream


async def _held_back(
    batches: AsyncIterator[Batch], dialect: Dialect, begun: Callable[[Batch], bool]
) -> bytes:
    """Return the frames of all batches up to the one with which the response can begin."""
    frames = b""
    async for batch in batches:
        frames += dialect.frames(batch)
        if begun(batch):
            break
    return frames


def _last_words(error: RunLogUnavailable | EndedBefore | ReaderOvertaken) -> Sequence[bytes]:
    """Return the last events of a stream that cannot get the rest of its run."""
    match error:
        case EndedBefore():
            return error.payloads
        case ReaderOvertaken():
            code = ErrorCode.POSITION_GONE
            message = "This reader was too slow: its next events have been discarded."
        case RunLogUnavailable():
            code = ErrorCode.OUTCOME_UNKNOWN
            message = f"{error.message} This process cannot know how the run goes on."
    return [to_json(Error(code, message, code.retryable)), to_json(End("failed"))]


def _without_ids(dialect: Dialect, payloads: Sequence[bytes]) -> bytes:
    """Return frames of events that are not in the run's log.

    They carry no id, so that a reader resumes after the last event that it really has.
    """
    return _ID_LINE.sub(b"", dialect.frames(Batch(_BEYOND_ALL, payloads)))


@asynccontextmanager
async def _attached(
    run: FoundRun, dialect: Dialect, deliver_now: Callable[[Batch], bool] = not_now
) -> AsyncIterator[AsyncIterator[Batch]]:
    """Follow the run; if that is impossible, raise a `Problem` with an HTTP status."""
    try:
        async with run.follow(dialect.read_after, deliver_now) as batches:
            yield batches
    except PositionGone as gone:
        raise _position_gone(gone.first, dialect) from gone
    except ReaderOvertaken as overtaken:
        raise _position_gone((await run.log_state()).first, dialect) from overtaken
    except PositionUnknown as unknown:
        raise position_unknown(Position(dialect.read_after), unknown.last) from unknown


def _position_gone(first: int, dialect: Dialect) -> Problem:
    message = (
        f"The events up to {first - 1} have been discarded; the first available one is {first}."
    )
    if not isinstance(dialect, NativeDialect):
        message += " This dialect cannot continue without them; the native dialect can start there."
    return Problem(410, ErrorCode.POSITION_GONE, message, {"X-First-Event-Id": str(first)})


def position_unknown(after: Position, last: int) -> Problem:
    """Return the problem to raise if a reader's position is beyond the run's last event."""
    why = f"this run has not reached {after}; its last event is {last}."
    return bad_field("Last-Event-ID", why)


async def answer_whole(run: FoundRun, *, max_bytes: int) -> web.Response:
    """Wait until the run ends, and answer with one JSON object.

    Raises:
        Problem: See `read_whole`.
    """
    answer = Answer()
    await read_whole(run, answer.add, max_bytes=max_bytes)
    body = _as_json(answer)
    status = STATUS_OF.get(answer.error.code, 502) if answer.error else 200
    return json_response(body, status=status, headers={"X-Run-Id": run.id})


async def read_whole(run: FoundRun, add: Callable[[Event], None], *, max_bytes: int) -> None:
    """Pass every event to `add` until the run ends.

    Raises:
        Problem: The answer is larger than `max_bytes` (502); the run is stopped then. Or the log
            has dropped the next event (410); this happens only to runs that existed before or that
            belong to another process.
    """
    size = 0
    async with _attached(run, NativeDialect()) as batches:
        async for batch in batches:
            size += sum(map(len, batch.payloads))
            if size > max_bytes:
                await run.request_stop()
                message = f"The answer is larger than {max_bytes:,} bytes (--log-bytes); stream it."
                raise Problem(502, ErrorCode.ANSWER_TOO_LARGE, message)
            for payload in batch.payloads:
                if event := from_json(payload):
                    add(event)


def _as_json(answer: Answer) -> dict[str, Any]:
    end = answer.end
    body: dict[str, Any] = {
        "run_id": answer.run_id,
        "model": answer.model,
        "text": answer.text,
        "thinking": answer.thinking,
        "tool_calls": [data_of(call) for call in answer.tool_calls],
        "ui_controls": [data_of(control) for control in answer.ui_controls],
    }
    if answer.state is not None:
        body["state"] = answer.state
    if answer.custom:
        body["custom"] = answer.custom
    if answer.logprobs:
        body["logprobs"] = answer.logprobs
    if end:
        body |= {"status": end.status, "reason": end.reason, "usage": end.usage}
    if answer.error:
        body["error"] = answer.error
    return body
