"""Upstream's HTTP: one POST, and the body of its answer as it comes.

Ollama sends each token in an HTTP chunk of its own. aiohttp's client makes four Python calls for
each chunk and a timer for each read: a third of all that a token cost. Here the parser hands its
pieces straight to a list, and one timer a request looks when something last came. What comes while
somebody waits for it is handed on at once, and no task is woken for it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol, cast

import aiohttp
from httptools import HttpParserError, HttpResponseParser
from yarl import URL

from dripline.http.response_body import Body, BodyBroken

# Bytes unread here, at which no more are taken from the socket.
HIGH_WATER = 128 * 1024
# Bytes that the kernel takes in for one answer that nobody reads yet (it doubles the figure).
KERNEL_BUFFER = 64 * 1024
MAX_HEAD = 64 * 1024


class NotHttp(Exception):
    """What came is not an HTTP answer."""


class HttpAnswer(Protocol):
    """An HTTP answer whose head has come.

    Attributes:
        status: Its status.
    """

    status: int

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """Hand the body to `take` as it comes, until that returns False; or to the body's end.

        Returns whether `take` returned False. Every byte that arrived is handed on, once, before
        this raises. Safe to cancel: what was not handed on is there for the next call.

        Raises:
            BodyBroken: The body did not come to its end.
            NotHttp: It is no HTTP.
            Exception: What `take` raised.
        """
        ...

    async def close(self) -> None:
        """Close the connection, whatever is still to come."""
        ...


class SessionAnswer:
    """An answer that an aiohttp session got."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.status = response.status
        self._response = response
        self._body = Body(response)

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """See `HttpAnswer.pump`."""
        while piece := await self._body.read():
            if not take(piece):
                return True
        return False

    async def close(self) -> None:
        """See `HttpAnswer.close`."""
        self._response.close()


async def post_json(
    url: URL, body: bytes, *, connect_timeout: float, stall_timeout: float
) -> HttpAnswer:
    """Post JSON, and wait for the answer's head. Cancelling closes the connection.

    Args:
        url: Where: http, without a user.
        body: The JSON.
        connect_timeout: Seconds to connect.
        stall_timeout: Seconds of silence after which it is given up; 0: never.

    Raises:
        ConnectionError, TimeoutError: Nobody listens there.
        BodyBroken: The connection closed, or all was silent, before the head was whole.
        NotHttp: What came is no HTTP.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(connect_timeout):
            _, answer = await loop.create_connection(
                lambda: _Answer(stall_timeout), url.host or "", url.port or 80
            )
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise TimeoutError(f"no connection within {connect_timeout:g} s") from error
        raise ConnectionError(str(error)) from error
    head = (
        f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {url.authority}\r\nConnection: close\r\n"
        "Accept: application/x-ndjson\r\nAccept-Encoding: identity\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        answer.transport.write(head.encode("ascii"))
        answer.transport.write(body)
        await answer.head()
    except BaseException:
        await answer.close()
        raise
    return answer


class _Answer(asyncio.Protocol):
    """The connection, and the parser's callbacks."""

    __slots__ = (
        "_ended",
        "_failure",
        "_held",
        "_last",
        "_loop",
        "_parser",
        "_paused",
        "_pieces",
        "_refused",
        "_sized",
        "_stall",
        "_stall_timeout",
        "_take",
        "_waiter",
        "on_body",
        "status",
        "transport",
    )

    def __init__(self, stall_timeout: float) -> None:
        self.status = 0
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append
        self._parser = HttpResponseParser(self)
        self._held = 0
        self._paused = False
        self._sized = False
        self._ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Where the body goes, while somebody waits for it.
        self._take: Callable[[bytes], bool] | None = None
        self._refused = False
        self._stall_timeout = stall_timeout
        self._last = self._loop.time()
        self._stall: asyncio.TimerHandle | None = None

    # --- The connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if found := transport.get_extra_info("socket"):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)
        self._last = self._loop.time()
        if self._stall_timeout:
            self._stall = self._loop.call_later(self._stall_timeout, self._look_for_stall)

    def data_received(self, data: bytes) -> None:
        self._last = self._loop.time()
        if self._ended:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._end(NotHttp(str(error)))
        self._held += len(data)
        if not self.status and self._held > MAX_HEAD:
            self._end(NotHttp("its head is too long"))
        if self._take is None:
            self._wake()
        elif self._pieces:
            self._hand_on(self._take)
        if self._held > HIGH_WATER and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _hand_on(self, take: Callable[[bytes], bool]) -> None:
        """Give what has come to `take`, and have `pump` end where that wants no more."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        try:
            if take(body):
                return
            self._take, self._refused = None, True
        except Exception as error:  # noqa: BLE001 (`pump` raises it)
            self._ended, self._failure = True, error
        self._wake()

    def eof_received(self) -> None:
        # Without a length, this is how a body ends.
        self._end(None if self.status and not self._sized else BodyBroken("cut"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(BodyBroken("reset" if exc else "cut"))

    def _look_for_stall(self) -> None:
        idle = 0.0 if self._paused else self._loop.time() - self._last
        if idle >= self._stall_timeout:
            self._end(BodyBroken("timeout"))
            self.transport.abort()
        else:
            self._stall = self._loop.call_later(self._stall_timeout - idle, self._look_for_stall)

    def _end(self, failure: Exception | None) -> None:
        """Take nothing more; only the first call says why."""
        if not self._ended:
            self._ended, self._failure = True, failure
            if self._stall:
                self._stall.cancel()
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # --- What the parser calls; `on_body` is a list's `append` ---

    def on_header(self, name: bytes, value: bytes) -> None:
        self._sized = self._sized or name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        self._end(None)

    # --- What the reader calls ---

    async def head(self) -> None:
        """Wait until the head has come."""
        while not self.status:
            if self._failure:
                raise self._failure
            await self._wait()

    async def pump(self, take: Callable[[bytes], bool]) -> bool:
        """See `HttpAnswer.pump`."""
        self._take, self._refused = take, False
        if self._pieces:
            self._hand_on(take)
        if self._paused:
            self._paused, self._last = False, self._loop.time()
            self.transport.resume_reading()
        try:
            while not (self._refused or self._ended):
                await self._wait()
        finally:
            self._take = None
        if self._failure and not self._refused:
            raise self._failure
        return self._refused

    async def close(self) -> None:
        """See `HttpAnswer.close`."""
        self._end(BodyBroken("cut"))
        self.transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
