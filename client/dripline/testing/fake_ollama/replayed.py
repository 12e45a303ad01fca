"""One answer of a real server, played with its own bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable

import orjson
from aiohttp import web

from dripline.clock import forever
from dripline.ndjson import LineSplitter
from dripline.recordings.exchange import Exchange, Request
from dripline.recordings.matching import Playlist
from dripline.recordings.replay import Timing, ending_to_replay
from dripline.recordings.replay_server import client_has_all, headers_to_send
from dripline.recordings.splits import SplitPlan
from dripline.testing.fake_ollama.body import ResponseBody
from dripline.testing.fake_ollama.received import Ending, Phase, ReceivedRequest
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.script import Replay
from dripline.testing.fake_ollama.visit import Visit

_MAX_LINE = 2**30


def find_exchange(
    playlist: Playlist, received: ReceivedRequest, *, stream: bool, elsewhere: bool = False
) -> Exchange:
    """Return the recorded exchange that answers a request.

    Args:
        playlist: What is left.
        received: The request.
        stream: Whether it is for a stream.
        elsewhere: Whether what was recorded at another endpoint answers it.

    Raises:
        ApiError: What is recorded is a stream, and the request is not for one; or the other way
            round.
        UnexpectedRequest: None is left for it.
    """
    recorded = _where_a_model_answered(playlist)
    path = recorded if elsewhere else f"{_root(recorded)}{received.path}"
    came = Request(received.method, f"http://fake{path}", body=orjson.dumps(received.body))
    if elsewhere:
        return playlist.use(came)
    alike = [exchange for exchange in playlist.all_like(came) if _may_answer(exchange, stream)]
    if not alike and playlist.all_like(came):
        kind, asked = ("whole answer", "false") if stream else ("stream", "true")
        raise ApiError(400, f"this model is the recording of a {kind}: ask with stream: {asked}")
    return playlist.use(came, lambda exchange: _may_answer(exchange, stream))


def _where_a_model_answered(playlist: Playlist) -> str:
    """Return the path of the first answer of a model, or of the first answer."""
    paths = [exchange.request.path for exchange in playlist.exchanges]
    return next(filter(_ANSWERING.search, paths), paths[0])


def _root(path: str) -> str:
    """Return the path at which the recorded server's API began: "" for an Ollama."""
    found = _API.search(path)
    return found[1] if found else ""


_ANSWERING = re.compile(r"/(chat|generate|completions|responses|messages)$")
_API = re.compile(r"^(.*?)(?=/api/|/v1/)")


def _may_answer(exchange: Exchange, stream: bool) -> bool:
    """Return whether an exchange is an answer of the kind that is asked for."""
    response = exchange.response
    if response is None or response.status != 200:
        return True
    kind = response.header("Content-Type")
    return ("ndjson" in kind or "event-stream" in kind) == stream


async def send_replay(
    visit: Visit, exchange: Exchange, speed: float, split: SplitPlan
) -> web.StreamResponse:
    """Answer as a recorded exchange did."""
    received = visit.received
    timing = Timing(exchange, speed, visit.state.clock)
    response = exchange.response
    status = response.status if response else 200
    body = ResponseBody(visit.http, received, split, headers_to_send(exchange), status=status)
    lines = LineSplitter(_MAX_LINE)
    if response:
        await timing.wait(response.at)
        await body.start()
    for piece in exchange.pieces:
        await timing.wait(piece.at)
        await body.send(piece.data)
        received.sent(_tokens(lines.feed(piece.data)))
        received.enter(Phase.ANSWERING)
    ending = ending_to_replay(exchange)
    if ending == "eof" and client_has_all(exchange):
        received.end(Ending.FINISHED)  # now the client may leave
    if exchange.ended is not None and ending != "timeout":
        await timing.wait(exchange.ended)
    match ending:
        case "eof":
            received.end(Ending.FINISHED)
            await body.finish()
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
    """Return whether something of this endpoint is recorded, whose bytes can go out as they are.

    One of an unknown address is taken for one of `/api/chat`.
    """
    recorded = [_API.sub("", exchange.request.path) for exchange in replay.exchanges]
    known = any(name.startswith(("/api/", "/v1/")) for name in recorded)
    return path in recorded or (not known and path == "/api/chat")
