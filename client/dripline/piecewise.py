"""A server's response as separate writes, one a piece, and with the ends that a network makes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

# SO_LINGER on, with no time to linger: closing sends RST instead of FIN.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


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
        self.response = web.StreamResponse(status=status, headers=CIMultiDict(headers))
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

    async def send(self, piece: bytes) -> None:
        """Send a piece; returns when the network has taken it.

        It is an HTTP chunk of its own where the body is chunked, and a write of its own always:
        the connection has TCP_NODELAY, and its write buffer is drained after each.
        """
        writer = await self.start()
        await _let_the_client_read()
        await writer.write(piece)
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
