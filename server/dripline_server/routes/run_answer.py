"""A request becomes a run, and a run an HTTP response: streamed, or whole."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any

from aiohttp import web

from dripline.answer import Answer
from dripline.errors import ErrorCode
from dripline.events import End, Error, Event, data_of, from_json, to_json
from dripline.tool import Tool
from dripline_server.access_log import access_logger
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
from dripline_server.runs.registry import RegistryFull, RunIdInUse
from dripline_server.state import STATE

logger = logging.getLogger(__name__)

_ID_LINE = re.compile(rb"^id: .*\n", re.MULTILINE)
_BEYOND_ALL = 10**18
NO_HEADERS: Mapping[str, str] = {}
# For answers in one piece; 502 for the other codes.
STATUS_OF: dict[str, int] = {
    ErrorCode.MODEL_NOT_FOUND: 404,
    ErrorCode.OLLAMA_REFUSED: 400,
    ErrorCode.OLLAMA_UNREACHABLE: 503,
    ErrorCode.OLLAMA_BUSY: 503,
    ErrorCode.SERVER_SHUTDOWN: 503,
    ErrorCode.UPSTREAM_STALLED: 504,
    ErrorCode.INTERNAL_ERROR: 500,
}


async def start_run(
    request: web.Request, asked: ChatRequest, tools: Sequence[Tool] | None = None
) -> FoundRun:
    """Start a run, or return the one that has the name that the request gives.

    Args:
        request: The HTTP request.
        asked: What it asks for.
        tools: The server's tools that the model may call; None: all of them.

    Raises:
        Problem: No model is named, and there is no default (400); the name is another request's
            (409); or no further run is taken now (503).
    """
    state = request.app[STATE]
    offered = state.tools if tools is None else tools
    wanted = run_request(asked, state.default_model, state.settings.grace, offered)
    try:
        return await state.runs.start(wanted, asked.run_id)
    except RunIdInUse as in_use:
        message = "run_id: it names a run that another request started; take a new one."
        raise Problem(409, ErrorCode.RUN_ID_IN_USE, message) from in_use
    except RegistryFull as full:
        code = ErrorCode.SERVER_FULL if not full.shutting_down else ErrorCode.SERVER_SHUTDOWN
        raise Problem(503, code, str(full), {"Retry-After": str(RETRY_AFTER)}) from full


def _at_once(_: Batch) -> bool:
    """Begin a response without waiting for anything."""
    return True


async def stream_run(
    request: web.Request,
    run: FoundRun,
    dialect: Dialect,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    begun: Callable[[Batch], bool] = _at_once,
) -> web.StreamResponse:
    """Attach a reader to the run, and stream to it what it has yet to get, in its dialect.

    Args:
        request: The HTTP request.
        run: The run.
        dialect: How its events are written.
        headers: Headers of the response, beside the dialect's.
        begun: Asked with each batch, until it returns True, whether the response can begin; what
            came before that goes out with its head. It may raise a `Problem` instead.

    Raises:
        Problem: The run has as many readers as it may have (429), what is to come next has been
            dropped (410), or the run has not come that far (400).
        RunLogUnavailable: See `ReadableLog.follow`.
    """
    state = request.app[STATE]
    if run.readers >= state.settings.max_readers:
        raise Problem(
            429,
            ErrorCode.TOO_MANY_READERS,
            f"This run has {run.readers} readers, as many as it may have (--max-readers).",
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
                # Here nothing more can be served, though elsewhere there may be more.
                with suppress(ConnectionError):
                    await stream.send(_without_ids(dialect, _last_words(error)))
                    await stream.finish()
            except asyncio.CancelledError:
                # aiohttp logs no request whose client has left.
                access_logger.info("reader left", extra={"run": run.id[:ID_SHOWN]})
                raise
            except Exception as error:
                # An error answer inside the body would be taken for the stream; a cut is honest.
                stream.abort()
                if not isinstance(error, ConnectionError):
                    logger.exception("the stream of run %s broke", run.id[:ID_SHOWN])
    return stream


async def _held_back(
    batches: AsyncIterator[Batch], dialect: Dialect, begun: Callable[[Batch], bool]
) -> bytes:
    """Return the frames of all that comes until the response can begin."""
    frames = b""
    async for batch in batches:
        frames += dialect.frames(batch)
        if begun(batch):
            break
    return frames


def _last_words(error: RunLogUnavailable | EndedBefore | ReaderOvertaken) -> Sequence[bytes]:
    """Return what a stream ends with that cannot have the rest of its run."""
    match error:
        case EndedBefore():
            return error.payloads
        case ReaderOvertaken():
            code = ErrorCode.POSITION_GONE
            message = "What comes next has been dropped: this reader was too slow."
        case RunLogUnavailable():
            code = ErrorCode.OUTCOME_UNKNOWN
            message = f"{error.message} This process cannot know how the run goes on."
    return [to_json(Error(code, message, code.retryable)), to_json(End("failed"))]


def _without_ids(dialect: Dialect, payloads: Sequence[bytes]) -> bytes:
    """Return frames of events that are not in the run's log.

    They have no id, so that a reader who comes back names the last event that it really has.
    """
    return _ID_LINE.sub(b"", dialect.frames(Batch(_BEYOND_ALL, payloads)))


@asynccontextmanager
async def _attached(
    run: FoundRun, dialect: Dialect, deliver_now: Callable[[Batch], bool] = not_now
) -> AsyncIterator[AsyncIterator[Batch]]:
    """Follow the run, and say as an HTTP status why that cannot be."""
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
    message = f"The events up to {first - 1} have been dropped; the first one there is {first}."
    if not isinstance(dialect, NativeDialect):
        message += " This dialect cannot go on without them; the native one can, from there."
    return Problem(410, ErrorCode.POSITION_GONE, message, {"X-First-Event-Id": str(first)})


def position_unknown(after: Position, last: int) -> Problem:
    """Return what to raise where a reader names a place that the run has not come to."""
    why = f"this run has not come to {after}; its last event is {last}."
    return bad_field("Last-Event-ID", why)


async def answer_whole(run: FoundRun, *, max_bytes: int) -> web.Response:
    """Wait for the run's end, and answer with one JSON object.

    Raises:
        Problem: See `read_whole`.
    """
    answer = Answer()
    await read_whole(run, answer.add, max_bytes=max_bytes)
    body = _as_json(answer)
    status = STATUS_OF.get(answer.error.code, 502) if answer.error else 200
    return json_response(body, status=status, headers={"X-Run-Id": run.id})


async def read_whole(run: FoundRun, add: Callable[[Event], None], *, max_bytes: int) -> None:
    """Wait for the run's end, and hand every event to `add`.

    Raises:
        Problem: The answer is larger than `max_bytes` (502), and the run is stopped; or what is to
            come next has been dropped (410), because the run was there before, or is another
            process's.
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
    if answer.logprobs:
        body["logprobs"] = answer.logprobs
    if end:
        body |= {"status": end.status, "reason": end.reason, "usage": end.usage}
    if answer.error:
        body["error"] = answer.error
    return body
