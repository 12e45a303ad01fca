"""What the test kit's servers stand on: where they listen, and a response sent piece by piece."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict
from yarl import URL

CLOSE_SECONDS = 1.0  # for a request that comes in at the very moment of closing
MAX_BODY = 64 * 1024 * 1024  # bytes; images come in the body, as base64
# SO_LINGER on, with no time to linger: closing sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Listener:
    """Has an aiohttp server listen on one address.

    Args:
        name: What listens, for messages: "the replay server".
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one, and keeps it.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, such as "http://127.0.0.1:43127".

        Raises:
            RuntimeError: Nothing listens.
        """
        if self._runner is None:
            raise RuntimeError(f"{self._name} is not running; use it with `async with`")
        return str(URL.build(scheme="http", host=self._host, port=self._port)).rstrip("/")

    async def start(self, server: web.Server) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had, for example because the port is taken.
            RuntimeError: It listens already.
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

    async def stop(self) -> web.ServerRunner | None:
        """Take no more connections.

        Returns what still has those that there are, for its owner to clean up once they are closed;
        None where nothing has listened.
        """
        runner, self._runner = self._runner, None
        for site in list(runner.sites) if runner else ():
            await site.stop()
        return runner


def write_through(transport: asyncio.Transport) -> None:
    """Make a drained write on this connection one that the network has taken: no buffer is left."""
    transport.set_write_buffer_limits(high=0)


class PiecewiseResponse:
    """One response, sent piece by piece. Its headers leave right before the first piece.

    A client that goes away cancels whoever sends, if the server has `handler_cancellation`; a
    write that meets the closed connection first raises `ConnectionError`.

    Attributes:
        response: What the handler returns to aiohttp.
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
        """Send a piece; returns when the network has taken it.

        It is an HTTP chunk of its own where the body is chunked, and a write of its own always:
        the connection has TCP_NODELAY, and its write buffer is drained after each.
        """
        writer = await self.start()
        await _let_the_client_read()
        await writer.write(data)
        await writer.drain()

    async def finish(self) -> None:
        """End the body as HTTP wants it."""
        await self.start()
        await self.response.write_eof()

    def cut(self) -> None:
        """Close the connection (FIN), wherever the body is."""
        if transport := self._http.transport:
            transport.close()

    async def reset(self) -> None:
        """Reset the connection (RST)."""
        await _let_the_client_read()  # outside Linux a reset takes unread bytes away
        if transport := self._http.transport:
            transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
            )
            transport.abort()


async def _let_the_client_read() -> None:
    """Run the event loop, so that a client in it meets the pieces one at a time.

    Twice: in its first turn the loop learns that the client's socket has something to read, but
    this task comes before the client then.
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
