"""One answer to `POST /api/chat` that a real Ollama gave before."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
from aiohttp import web

from dripline.clock import Clock, forever
from dripline.ndjson import LineSplitter
from dripline.recordings.replay import Timing, ending_to_replay
from dripline.recordings.replay_server import headers_to_send
from dripline.recordings.splits import SplitPlan
from dripline.testing.fake_ollama.body import ResponseBody
from dripline.testing.fake_ollama.received import Ending, Phase, ReceivedRequest
from dripline.testing.fake_ollama.request import ApiError, ReceivedChat
from dripline.testing.fake_ollama.script import Replay

_MAX_LINE = 2**30


async def send_replay(
    http: web.BaseRequest,
    received: ReceivedRequest,
    request: ReceivedChat,
    replay: Replay,
    split: SplitPlan,
    clock: Clock,
) -> web.StreamResponse:
    """Answer as the recording did.

    Raises:
        ApiError: The request is not for a stream, which is what the recording has.
    """
    if not request.stream:
        raise ApiError(400, "this model is the recording of a stream: ask with stream: true")
    recording = replay.recording
    timing = Timing(recording, replay.speed, clock)
    response = recording.response
    status = response.status if response else 200
    body = ResponseBody(http, received, split, headers_to_send(recording), status=status)
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
