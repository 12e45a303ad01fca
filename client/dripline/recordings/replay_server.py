"""A recording as a real HTTP server: its statuses, headers, pieces, times and endings."""

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
from dripline.recordings.matching import Match, Playlist, UnexpectedRequest
from dripline.recordings.recording import Recording
from dripline.recordings.replay import Timing, check_speed, ending_to_replay, resumed
from dripline.recordings.replayed_request import ReplayedRequest, ReplayEnding
from dripline.recordings.serving import Listener, PiecewiseResponse, read_body, write_through
from dripline.recordings.splits import SplitPlan, as_recorded

# How HTTP frames the body on one connection: made anew on another.
_OF_THE_CONNECTION: frozenset[str] = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "trailer")
)
# No client retries it, as most do after 5xx.
UNEXPECTED_STATUS = 404
MAX_REQUESTS = 10_000

Elsewhere = Callable[[web.BaseRequest, ReplayedRequest], Awaitable[web.StreamResponse]]


class ReplayServer:
    """Answers requests as the recorded server did: `async with ReplayServer(recording) as server`.

    Each request gets the recorded answer to the same method, path and query (see `match`); the
    same request again gets the next one. What was not recorded, or not so often, is answered with
    404 and a message that says so, and is kept in `unexpected`; `assert_expected` raises it.

    A request with `Last-Event-ID` that was not recorded goes on with the event stream that has the
    event, behind it: one with the same path, else the one that was played last. Where a complete
    stream has nothing left, the answer is 204, by which the standard tells an event source to stay
    away.

    A cut is a cut and a reset is a reset; a recorded time-out is silence. Where the recorded client
    left in the middle, the connection is cut.

    Args:
        recording: What to replay.
        split: How to cut the bodies; each piece is an HTTP chunk and a write of its own.
        speed: 1 as recorded, 10 ten times as fast, `math.inf` without waiting.
        match: How a request finds its answer: "path", "body" (the same body too; JSON is compared
            as JSON), "order" (as recorded, one after another), or a function of the recorded
            request and the one that came. See `Playlist`.
        repeat: Whether a request whose answers have all been played gets them again.
        root: The path at which the recorded server's API began, where it is not "/".
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        clock: What to wait with.
        on_unexpected: Called with each unexpected request.
        elsewhere: Answers what was not recorded, and notes in the `ReplayedRequest` how that ended.

    Attributes:
        requests: What came, oldest first; the newest 10,000 are kept.
        unexpected: What came and was not recorded.

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
        """Listen.

        Raises:
            OSError: The address cannot be had, for example because the port is taken.
            RuntimeError: The server is running already.
        """
        server = _Server(self._answer, handler_cancellation=True, access_log=None)
        await self._listener.start(server)
        self._server = server

    async def close(self) -> None:
        """Stop listening and break off every answer. A second call does nothing."""
        runner = await self._listener.stop()
        if runner is None or self._server is None:
            return
        for replayed in self.requests:
            replayed.end(ReplayEnding.SERVER_CLOSED)
        for connection in self._server.connections:
            if connection.transport:
                connection.transport.abort()
        await runner.cleanup()

    def assert_expected(self) -> None:
        """Check that every request was in the recording.

        Raises:
            UnexpectedRequest: One was not; the first of them.
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
            # A write met the closed connection before the cancellation came.
            return web.Response()
        finally:
            replayed.end(ReplayEnding.CLIENT_LEFT)  # unless it has ended otherwise

    def _find(self, came: Request) -> tuple[Exchange, Exchange | None]:
        """Return the exchange that answers a request, and what is to be played of it.

        That is None where the request asks for what follows the end of a stream.

        Raises:
            UnexpectedRequest: Nothing answers it.
        """
        if last_event_id := came.header("Last-Event-ID"):
            for recorded in self._playlist.left(came):  # its client came back in the recording too
                if recorded.request.header("Last-Event-ID") == last_event_id:
                    self._playlist.remove(recorded)
                    return recorded, recorded
            for recorded in self._streams(came):
                rest = resumed(recorded, last_event_id)
                if rest is not None:
                    self._playlist.remove(recorded)
                    is_over = not rest.pieces and ending_to_replay(recorded) == "eof"
                    return recorded, None if is_over else rest
        taken = self._playlist.take(came)
        return taken, taken

    def _streams(self, came: Request) -> list[Exchange]:
        """Return what a request with an event's id may go on with, the likeliest first."""
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
        if exchange.ended is not None and exchange.ending is not ExchangeEnding.TIMEOUT:
            await timing.wait(exchange.ended)
        match ending_to_replay(exchange):
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


def _refusal(came: Request, unexpected: UnexpectedRequest) -> web.Response:
    """Return the answer to an unexpected request, as the API that it is for has errors."""
    message = str(unexpected)
    error: object = {"code": "unexpected_request", "type": "unexpected_request", "message": message}
    if came.path.startswith("/api/"):
        error = message  # as Ollama does
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
    """Return the recorded headers that still hold: not those by which HTTP framed the body."""
    if exchange.response is None:
        return ()
    dropped = set(_OF_THE_CONNECTION)
    size = str(len(exchange.body))
    if exchange.ending is ExchangeEnding.EOF and exchange.response.header("Content-Length") != size:
        dropped.add("content-length")
    headers = exchange.response.headers
    return tuple((name, value) for name, value in headers if name.lower() not in dropped)
