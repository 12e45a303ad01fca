"""Shared code of the test kit's servers: listening, and sending a response piece by piece."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

CLOSE_SECONDS = 1.0  # for a request that arrives at the moment of closing
SETTLE_SECONDS = 1.0  # for the server to notice that a client has left
MAX_BODY = 64 * 1024 * 1024  # bytes; large because images are in the body, as base64
_TURNS = 3  # of an event loop: to poll the sockets, to read them, and to run the handlers
# SO_LINGER with a time of 0: closing the socket then sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Settling(Protocol):
    """A request whose answer may still be on its way."""

    def wait_ended(self) -> Awaitable[object]:
        """Wait until its answer has ended."""
        ...


class Listener:
    """Makes an aiohttp server listen on an address.

    Args:
        name: The server's name for messages, such as "the replay server".
        host: The address to listen on.
        port: The port to listen on; 0 chooses a free one, and uses it again after a restart.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    @property
    def url(self) -> str:
        """The base URL, such as "http://127.0.0.1:43127".

        Raises:
            RuntimeError: The server is not running.
        """
        if self._runner is None:
            raise RuntimeError(f"{self._name} is not running; use it with `async with`")
        return str(URL.build(scheme="http", host=self._host, port=self._port)).rstrip("/")

    async def start(self, server: web.Server) -> None:
        """Start to listen.

        Raises:
            OSError: Listening failed, for example because the port is in use.
            RuntimeError: The server is already running.
        """
        if self._runner is not None:
            raise RuntimeError(f"{self._name} is running already")
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()

    def settle(
        self, requests: Callable[[], Sequence[Settling]], seconds: float = SETTLE_SECONDS
    ) -> None:
        """Wait for requests to end, if the server runs in another thread; see `settled`.

        In the server's own thread this cannot wait, and does nothing.
        """
        loop = self._loop
        if self._runner is None or loop is None or self._thread == threading.get_ident():
            return
        waiting = asyncio.run_coroutine_threadsafe(settled(requests, seconds), loop)
        with suppress(TimeoutError):  # the loop has stopped
            waiting.result(seconds + CLOSE_SECONDS)

    async def stop(self) -> web.ServerRunner | None:
        """Accept no more connections.

        Return the runner, which still holds the open connections; the caller must clean it up after
        closing them. Return None if the server was not running.
        """
        runner, self._runner = self._runner, None
        for site in list(runner.sites) if runner else ():
            await site.stop()
        return runner


async def settled(
    requests: Callable[[], Sequence[Settling]], seconds: float = SETTLE_SECONDS
) -> None:
    """Wait at most so many seconds for requests to end. Safe to cancel.

    With 0 seconds, it only lets the server note what has reached it already.
    """
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for request in requests():
                await request.wait_ended()


def write_through(transport: asyncio.Transport) -> None:
    """Turn off the write buffer: a drained write has then been passed to the operating system."""
    transport.set_write_buffer_limits(high=0)


class PiecewiseResponse:
    """One response, sent piece by piece. The headers are sent right before the first piece.

    If the client leaves, aiohttp cancels the handler, provided that the server was created with
    `handler_cancellation`. A write that notices it earlier raises `ConnectionError`.

    Attributes:
        response: The response that the handler must return to aiohttp.
    """

    def __init__(
        self, http: web.BaseRequest, status: int, headers: Iterable[tuple[str, str]]
    ) -> None:
        self.response: web.StreamResponse = web.StreamResponse(
            status=status, headers=CIMultiDict(headers)
        )
        self._http = http

    @property
    def started(self) -> bool:
        """Whether the headers have been sent."""
        return self.response.prepared

    async def start(self) -> AbstractStreamWriter:
        """Send the headers, if they have not been sent."""
        writer = await self.response.prepare(self._http)
        if writer is None:
            raise ConnectionResetError("the response has ended already")
        return writer

    async def send(self, data: bytes) -> None:
        """Send a piece, and wait until the operating system has it.

        Each piece is a separate write, because the connection has TCP_NODELAY and its buffer is
        drained each time. If the body is chunked, each piece is also a separate HTTP chunk.
        """
        writer = await self.start()
        await _let_the_client_read()
        await writer.write(data)
        await writer.drain()

    async def finish(self) -> None:
        """End the body regularly."""
        await self.start()
        await self.response.write_eof()

    def cut(self) -> None:
        """Close the connection (FIN) in the middle of the body."""
        if transport := self._http.transport:
            transport.close()

    async def reset(self) -> None:
        """Reset the connection (RST)."""
        await _let_the_client_read()  # except on Linux, a reset discards unread bytes
        if transport := self._http.transport:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()


async def _let_the_client_read() -> None:
    """Let a client in the same event loop read, so that it gets the pieces one at a time.

    One turn of the loop is not enough: in it, the loop notices that the client's socket is
    readable, but runs this task before the client.
    """
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def read_body(http: web.BaseRequest) -> bytes:
    """Return the body of a request.

    Raises:
        web.HTTPRequestEntityTooLarge: It is larger than `MAX_BODY`.
    """
    body = bytearray()
    async for data in http.content.iter_any():
        body += data
        if len(body) > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY, len(body))
    return bytes(body)
