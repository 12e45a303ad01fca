"""A recording as a real HTTP server: its status, headers, pieces, times and ending."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web

from dripline.clock import Clock, SystemClock, forever
from dripline.http.redaction import Headers
from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.replay import Timing, check_speed, ending_to_replay, resumed
from dripline.recordings.serving import Listener, PiecewiseResponse, write_through
from dripline.recordings.splits import SplitPlan, as_recorded

# How HTTP frames the body on one connection: made anew on another.
_OF_THE_CONNECTION: frozenset[str] = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "trailer")
)


class ReplayServer:
    """Answers requests as the recorded server did: `async with ReplayServer(recording) as server`.

    Whatever the address, a request with the recorded method gets the recorded answer, and so does
    GET, which a client uses to come back. With `Last-Event-ID` the stream goes on behind that event
    (from its beginning where the event is not in it); where a complete stream has nothing left, the
    answer is 204, by which the standard tells an event source to stay away. Other methods, such as
    a client's DELETE, get 204 too.

    A cut is a cut and a reset is a reset; a recorded time-out is silence. Where the recorded client
    left in the middle, the connection is cut.

    Args:
        recording: What to replay.
        split: How to cut the body; each piece is an HTTP chunk and a write of its own.
        speed: 1 as recorded, 10 ten times as fast, `math.inf` without waiting.
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        clock: What to wait with.

    Raises:
        ValueError: `speed` is not above 0.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        split: SplitPlan = as_recorded,
        speed: float = 1.0,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        check_speed(speed)
        self._recording = recording
        self._split = split
        self._speed = speed
        self._clock = clock or SystemClock()
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
        for connection in self._server.connections:
            if connection.transport:
                connection.transport.abort()
        await runner.cleanup()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        recording = self._recording
        if http.method not in (recording.request.method, "GET"):
            return web.Response(status=204)
        last_event_id = http.headers.get("Last-Event-ID")
        if last_event_id:
            recording = resumed(recording, last_event_id)
            if not recording.pieces and ending_to_replay(self._recording) == "eof":
                return web.Response(status=204)
        try:
            return await self._replay(http, recording)
        except ConnectionError:
            # A write met the closed connection before the cancellation came.
            return web.Response()

    async def _replay(self, http: web.BaseRequest, recording: Recording) -> web.StreamResponse:
        timing = Timing(recording, self._speed, self._clock)
        response = recording.response
        status = response.status if response else 200
        body = PiecewiseResponse(http, status, headers_to_send(recording))
        if response:
            await timing.wait(response.at)
            await body.start()
        for piece in recording.split(self._split).pieces:
            await timing.wait(piece.at)
            await body.send(piece.data)
        if recording.ended is not None and recording.ending is not ExchangeEnding.TIMEOUT:
            await timing.wait(recording.ended)
        match ending_to_replay(self._recording):
            case "eof":
                await body.finish()
            case "reset":
                await body.reset()
            case "timeout":
                await forever()
            case "cut":
                body.cut()
        return body.response


class _Server(web.Server):
    """aiohttp's server, without a write buffer."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        write_through(transport)


def headers_to_send(recording: Recording) -> Headers:
    """Return the recorded headers that still hold: not those by which HTTP framed the body."""
    if recording.response is None:
        return ()
    dropped = set(_OF_THE_CONNECTION)
    size = str(len(recording.body))
    if (
        recording.ending is ExchangeEnding.EOF
        and recording.response.header("Content-Length") != size
    ):
        dropped.add("content-length")
    headers = recording.response.headers
    return tuple((name, value) for name, value in headers if name.lower() not in dropped)
