"""One answer to `POST /api/chat` that a real Ollama gave before."""

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
from dripline.testing.fake_ollama.script import Replay, Reply
from dripline.testing.fake_ollama.stop_sequences import Call
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
    path = playlist.first.request.path if elsewhere else f"{_root(playlist)}{received.path}"
    came = Request(received.method, f"http://fake{path}", body=orjson.dumps(received.body))
    if elsewhere:
        return playlist.use(came)
    alike = [exchange for exchange in playlist.all_like(came) if _may_answer(exchange, stream)]
    if not alike and playlist.all_like(came):
        recorded, asked = ("whole answer", "false") if stream else ("stream", "true")
        raise ApiError(
            400, f"this model is the recording of a {recorded}: ask with stream: {asked}"
        )
    return playlist.use(came, lambda exchange: _may_answer(exchange, stream))


def _root(playlist: Playlist) -> str:
    """Return the path at which the recorded server's API began: "" for an Ollama."""
    found = _API.search(playlist.first.request.path)
    return found[1] if found else ""


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
    return path in recorded or not known


def as_reply_of(exchange: Exchange) -> Reply:
    """Return what a recorded stream says, for an endpoint that it was not recorded at.

    Raises:
        ApiError: It is not a stream of `/api/chat` or `/api/generate`.
    """
    text: list[str] = []
    thinking: list[str] = []
    calls: list[Call] = []
    done_reason = ""
    try:
        for line in exchange.body.split(b"\n"):
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
