"""One answer to `POST /api/chat` that a real Ollama gave before."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from dripline.clock import forever
from dripline.ndjson import LineSplitter
from dripline.recordings.replay import Timing, ending_to_replay
from dripline.recordings.replay_server import headers_to_send
from dripline.recordings.splits import SplitPlan
from dripline.testing.fake_ollama.body import ResponseBody
from dripline.testing.fake_ollama.received import Ending, Phase
from dripline.testing.fake_ollama.request import ApiError, ReceivedChat
from dripline.testing.fake_ollama.script import Replay, Reply
from dripline.testing.fake_ollama.stop_sequences import Call
from dripline.testing.fake_ollama.visit import Visit

_MAX_LINE = 2**30


async def send_replay(
    visit: Visit, request: ReceivedChat, replay: Replay, split: SplitPlan
) -> web.StreamResponse:
    """Answer as the recording did.

    Raises:
        ApiError: The request is not for a stream, which is what the recording has.
    """
    if not request.stream:
        raise ApiError(400, "this model is the recording of a stream: ask with stream: true")
    received = visit.received
    recording = replay.recording
    timing = Timing(recording, replay.speed, visit.state.clock)
    response = recording.response
    status = response.status if response else 200
    body = ResponseBody(visit.http, received, split, headers_to_send(recording), status=status)
    lines = LineSplitter(_MAX_LINE)
    if response:
        await timing.wait(response.at)
        await body.start()
    for piece in recording.pieces:
        await timing.wait(piece.at)
        await body.send(piece.data)
        received.sent(_tokens(lines.feed(piece.data)))
        received.enter(Phase.ANSWERING)
    ending = ending_to_replay(recording)
    if recording.ended is not None and ending != "timeout":
        await timing.wait(recording.ended)
    match ending:
        case "eof":
            await body.finish()
            received.end(Ending.FINISHED)
        case "reset":
            received.end(Ending.FAULTED)
            await body.reset()
        case "timeout":
            received.enter(Phase.STALLED)
            await forever()
        case "cut":
            received.end(Ending.FAULTED)
            body.cut()
    return body.response


def _tokens(lines: Iterable[bytes]) -> int:
    """Return how many of the lines bring thinking, text or a tool call."""
    count = 0
    for line in lines:
        try:
            message = orjson.loads(line)["message"]
            count += any(message.get(name) for name in ("content", "thinking", "tool_calls"))
        except (ValueError, LookupError, TypeError, AttributeError):
            pass  # Not one of Ollama's lines, and so no token.
    return count


def plays_at(replay: Replay, path: str) -> bool:
    """Return whether the recording is one of this endpoint, so that its bytes can go out as are."""
    recorded = urlsplit(replay.recording.request.url).path
    return recorded == path or (path == "/api/chat" and not recorded.startswith(("/api/", "/v1/")))


def as_reply_of(replay: Replay) -> Reply:
    """Return what a recorded stream says, for an endpoint that it was not recorded at.

    Raises:
        ApiError: It is not a stream of `/api/chat` or `/api/generate`.
    """
    text: list[str] = []
    thinking: list[str] = []
    calls: list[Call] = []
    done_reason = ""
    try:
        for line in replay.recording.body.split(b"\n"):
            if not line.strip():
                continue
            chunk = orjson.loads(line)
            message = chunk.get("message") or {"content": chunk["response"], **chunk}
            text += [message["content"]] if message.get("content") else []
            thinking += [message["thinking"]] if message.get("thinking") else []
            for call in message.get("tool_calls") or ():
                function = call["function"]
                calls.append(Call(function["name"], function["arguments"], call.get("id", "")))
            done_reason = chunk.get("done_reason") or done_reason
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        problem = "this model is a recording of another endpoint, and no stream of /api/chat"
        raise ApiError(400, problem) from error
    return Reply(text, thinking, calls, done_reason or "stop")
