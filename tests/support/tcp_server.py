"""A TCP server that leaves no connection behind, however far each one has come."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.free_port import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

# More turns of the event loop than it takes from the kernel's accept to `_connected`.
ACCEPT_TURNS = 5


class TcpServer:
    """Serves each connection, which is closed once it has been served. Listens on 127.0.0.1.

    Args:
        serve: What serves one. It is cancelled when the connection is reset; the client may leave
            at any time.

    Attributes:
        port: Where it listens, each time.
    """

    def __init__(self, serve: Serve) -> None:
        self.port = free_port()
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.refuse()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        """Take connections, on the same port each time."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def refuse(self) -> None:
        """Reset the connections there are, and refuse further ones."""
        if self._server:
            # `Server.close` alone forgets a connection that the kernel has just handed over.
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            for _ in range(ACCEPT_TURNS):
                await asyncio.sleep(0)
            self._server.close()
            self._server = None
        self.reset_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def reset_all(self) -> None:
        """Reset the connections there are."""
        for task in self._tasks:
            task.cancel()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve_one(reader, writer))
        self._tasks.add(task)
        # Not a `finally` of the task's: one that is cancelled before its first step has none.
        task.add_done_callback(lambda _: reset(writer))
        task.add_done_callback(self._tasks.discard)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
            writer.close()
            await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once: with RST instead of FIN, unless it is closing already."""
    if not writer.is_closing():
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
