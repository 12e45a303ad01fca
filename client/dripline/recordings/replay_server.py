"""Replay a recording as a real HTTP server: its statuses, headers, pieces, times and endings."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import orjson
from aiohttp import web

from dripline.clock import Clock, SystemClock, forever
from dripline.http.redaction import Headers
from dripline.recordings.exchange import Exchange, ExchangeEnding, Request
from dripline.recordings.last_word import says_its_end
from dripline.recordings.matching import Match, Playlist, UnexpectedRequest
from dripline.recordings.recording import Recording
from dripline.recordings.replay import Timing, check_speed, ending_to_replay, resumed
from dripline.recordings.replayed_request import ReplayedRequest, ReplayEnding
from dripline.recordings.serving import (
    SETTLE_SECONDS,
    Listener,
    PiecewiseResponse,
    read_body,
    settled,
    write_through,
)
from dripline.recordings.splits import SplitPlan, as_recorded

# These headers frame the body on one connection; aiohttp sets them anew for the replay.
_OF_THE_CONNECTION: frozenset[str] = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "trailer")
)
# Not a 5xx, because most clients retry those, which would hide the failure.
UNEXPECTED_STATUS = 404
MAX_REQUESTS = 10_000

Elsewhere = Callable[[web.BaseRequest, ReplayedRequest], Awaitable[web.StreamResponse]]


class ReplayServer:
    """Answers requests as the recorded server did: `async with ReplayServer(recording) as server`.

    Each request gets the recorded answer to the same method, path and query (see `match`). The same
    request again gets the next recorded answer. A request that was not recorded, or not that often,
    gets 404 with an explanation. It is kept in `unexpected`, and `assert_expected` raises it.

    A request with a `Last-Event-ID` that was not recorded resumes the event stream that has this
    event, preferably one with the same path, otherwise the latest one played. If a complete stream
    has no more events, the answer is 204, which tells an `EventSource` not to reconnect.

    Recorded cuts and resets are repeated; a recorded timeout becomes silence. If the recorded
    client left in the middle, the connection is cut there.

    Args:
        recording: The recording, or one of its exchanges.
        split: How to split the bodies; each piece is sent as one HTTP chunk and one write.
        speed: 1 is the recorded speed, 10 is ten times as fast, `math.inf` does not wait.
        match: How a request finds its answer: by "path", by "body" too (JSON is compared as JSON),
            in the recorded "order", or by a function of the recorded request and the actual one.
            See `Playlist`.
        repeat: Whether a request gets its answers again once all of them have been played.
        root: The path of the recorded server's API, if it is not "/".
        host: The address to listen on.
        port: The port to listen on; 0 chooses a free one.
        clock: The clock to wait with.
        on_unexpected: Called with each unexpected request.
        elsewhere: Answers requests that were not recorded; it must call `ReplayedRequest.end`.

    Attributes:
        requests: The requests, oldest first; the latest 10,000 are kept.
        unexpected: The requests that were not recorded.

    Raises:
        ValueError: `speed` is not above 0, or there is no such `match`.
    """

    def __init__(
        self,
        recording: Recording | Exchange,
        *,
        split: SplitPlan = as_recorded,
        speed: float = 1.0,
        match: Match = "path",
        repeat: bool = False,
        root: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        on_unexpected: Callable[[UnexpectedRequest], object] = lambda _: None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        check_speed(speed)
        exchanges = [recording] if isinstance(recording, Exchange) else recording.exchanges
        self.requests: deque[ReplayedRequest] = deque(maxlen=MAX_REQUESTS)
        self.unexpected: deque[UnexpectedRequest] = deque(maxlen=MAX_REQUESTS)
        self._exchanges = exchanges
        self._playlist = Playlist(exchanges, match, repeat=repeat)
        self._split = split
        self._speed = speed
        self._root = root.rstrip("/")
        self._clock = clock or SystemClock()
        self._on_unexpected = on_unexpected
        self._elsewhere = elsewhere
        self._listener = Listener("the replay server", host, port)
        self._server: web.Server | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The base URL, such as "http://127.0.0.1:43127".

        Raises:
            RuntimeError: The server is not running.
        """
        return self._listener.url

    async def start(self) -> None:
        """Start to listen.

        Raises:
            OSError: Listening failed, for example because the port is in use.
            RuntimeError: The server is already running.
        """
        server = _Server(self._answer, handler_cancellation=True, access_log=None)
        await self._listener.start(server)
        self._server = server

    async def close(self) -> None:
        """Stop listening and break off all answers. A second call does nothing."""
        runner = await self._listener.stop()
        if runner is None or self._server is None:
            return
        for replayed in self.requests:
            replayed.end(ReplayEnding.SERVER_CLOSED)
        for connection in self._server.connections:
            if connection.transport:
                connection.transport.abort()
        await runner.cleanup()

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait a moment for answers that are on their way, if the server runs in another thread.

        A client may have the whole answer, or have left, just before the server notes it.
        """
        self._listener.settle(lambda: list(self.requests), seconds)

    async def settled(self, seconds: float = SETTLE_SECONDS) -> None:
        """Do the same in the server's own event loop. Safe to cancel."""
        await settled(lambda: list(self.requests), seconds)

    def assert_expected(self) -> None:
        """Check that every request was in the recording.

        Raises:
            UnexpectedRequest: The first request that was not.
        """
        __tracebackhide__ = True
        if self.unexpected:
            raise self.unexpected[0]

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        body = await read_body(http)
        came = Request(
            http.method,
            f"http://{http.host}{self._root}{http.path_qs}",
            tuple(http.headers.items()),
            body,
        )
        replayed = ReplayedRequest(came, self._clock)
        self.requests.append(replayed)
        try:
            recorded, rest = self._find(came)
        except UnexpectedRequest as unexpected:
            if self._elsewhere:
                try:
                    return await self._elsewhere(http, replayed)
                finally:
                    replayed.end(ReplayEnding.CLIENT_LEFT)  # unless it has ended otherwise
            self.unexpected.append(unexpected)
            self._on_unexpected(unexpected)
            replayed.status = UNEXPECTED_STATUS
            replayed.end(ReplayEnding.UNEXPECTED)
            return _refusal(came, unexpected)
        replayed.exchange = recorded
        if rest is None:
            replayed.status = 204
            replayed.end(ReplayEnding.FINISHED)
            return web.Response(status=204)
        try:
            return await self._replay(http, replayed, rest)
        except ConnectionError:
            # The client left, and a write noticed that before the cancellation arrived.
            return web.Response()
        finally:
            replayed.end(ReplayEnding.CLIENT_LEFT)  # unless it has ended otherwise

    def _find(self, came: Request) -> tuple[Exchange, Exchange | None]:
        """Return the recorded exchange for a request, and the part of it to play.

        The part is None if the request resumes a stream after its last event.

        Raises:
            UnexpectedRequest: No exchange matches the request.
        """
        if last_event_id := came.header("Last-Event-ID"):
            for recorded in self._playlist.left(came):  # the same reconnection was recorded
                if recorded.request.header("Last-Event-ID") == last_event_id:
                    self._playlist.remove(recorded)
                    return recorded, recorded
            for recorded in self._streams(came):
                rest = resumed(recorded, last_event_id)
                if rest is not None:
                    self._playlist.remove(recorded)
                    is_over = not rest.pieces and ending_to_replay(recorded) == "eof"
                    return recorded, None if is_over else rest
        taken = self._playlist.use(came)
        return taken, taken

    def _streams(self, came: Request) -> list[Exchange]:
        """Return the streams that a request with `Last-Event-ID` may resume, likeliest first."""
        played = [replayed.exchange for replayed in reversed(self.requests) if replayed.exchange]
        streams = [
            exchange
            for exchange in (*played, *self._exchanges)
            if came.method in (exchange.request.method, "GET")
        ]
        return sorted(streams, key=lambda exchange: exchange.request.path != came.path)

    async def _replay(
        self, http: web.BaseRequest, replayed: ReplayedRequest, exchange: Exchange
    ) -> web.StreamResponse:
        timing = Timing(exchange, self._speed, self._clock)
        response = exchange.response
        status = response.status if response else 200
        body = PiecewiseResponse(http, status, headers_to_send(exchange))
        if response:
            await timing.wait(response.at)
            await body.start()
            replayed.status = status
        for piece in exchange.split(self._split).pieces:
            await timing.wait(piece.at)
            await body.send(piece.data)
            replayed.pieces_sent += 1
        ending = ending_to_replay(exchange)
        if ending == "eof" and client_has_all(exchange):
            replayed.end(ReplayEnding.FINISHED)  # now the client may leave
        if exchange.ended is not None and exchange.ending is not ExchangeEnding.TIMEOUT:
            await timing.wait(exchange.ended)
        match ending:
            case "eof":
                replayed.end(ReplayEnding.FINISHED)
                await body.finish()
            case "reset":
                replayed.end(ReplayEnding.BROKEN)
                await body.reset()
            case "timeout":
                await forever()
            case "cut":
                replayed.end(ReplayEnding.BROKEN)
                body.cut()
        return body.response


def client_has_all(exchange: Exchange) -> bool:
    """Return whether a client needs nothing more after the last piece, not even HTTP's end."""
    has_length = exchange.response is not None and bool(exchange.response.header("Content-Length"))
    return has_length or says_its_end(exchange.body)


def _refusal(came: Request, unexpected: UnexpectedRequest) -> web.Response:
    """Return the answer to an unexpected request, in the error format of the API it is for."""
    message = str(unexpected)
    error: object = {"code": "unexpected_request", "type": "unexpected_request", "message": message}
    if came.path.startswith("/api/"):
        error = message  # Ollama's format
    return web.Response(
        status=UNEXPECTED_STATUS,
        body=orjson.dumps({"error": error}),
        content_type="application/json",
    )


class _Server(web.Server):
    """aiohttp's server, without a write buffer."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        write_through(transport)


def headers_to_send(exchange: Exchange) -> Headers:
    """Return the recorded headers, except those that framed the body on its connection."""
    if exchange.response is None:
        return ()
    dropped = set(_OF_THE_CONNECTION)
    size = str(len(exchange.body))
    if exchange.ending is ExchangeEnding.EOF and exchange.response.header("Content-Length") != size:
        dropped.add("content-length")
    headers = exchange.response.headers
    return tuple((name, value) for name, value in headers if name.lower() not in dropped)
