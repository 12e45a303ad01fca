"""A TCP proxy in front of a server, that cuts connections after chosen numbers of bytes."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Literal, Self

from yarl import URL

_REQUEST = re.compile(rb"(GET|POST|DELETE) (/\S*) HTTP/1\.1\r\n")


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a connection ends.

    Attributes:
        after: How many of the server's bytes the client gets, the headers counted.
        how: "FIN": closed; "RST": reset.
    """

    after: int
    how: Literal["FIN", "RST"] = "FIN"


class CuttingProxy:
    """Passes bytes on, until a cut.

    Attributes:
        targets: Where the servers are; connections made from now on go there, to each in turn.
        cuts: What happens to the next connections, in their order; all others are left alone.
        done: The cuts that were made; a connection may end before its cut.
        passed: How many of the server's bytes were passed on, on all connections.
        flowing: While it is clear, what servers say is held back.
    """

    def __init__(self, *targets: str) -> None:
        self.targets = targets
        self.cuts: deque[Cut] = deque()
        self.done: list[Cut] = []
        self.passed = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._asked = bytearray()
        self._turn = count()
        self._port = 0
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
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
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[str]:
        """What was asked for, such as "POST /chat"."""
        return [f"{m[1].decode()} {m[2].decode()}" for m in _REQUEST.finditer(self._asked)]

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Reset the connections there are, and refuse further ones."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in self._clients:
            reset(writer)
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self.cuts.popleft() if self.cuts else None
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._clients.add(writer)
        with suppress(ConnectionError):
            await self._relay(reader, writer, cut)
        reset(writer)
        self._clients.discard(writer)
        self._tasks.discard(task)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut | None
    ) -> None:
        target = URL(self.targets[next(self._turn) % len(self.targets)])
        server_reader, server_writer = await asyncio.open_connection(target.host, target.port)
        asking = asyncio.create_task(self._pass_requests(reader, server_writer))
        try:
            await self._pass_response(server_reader, writer, cut)
        finally:
            asking.cancel()
            server_writer.transport.abort()

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                self._asked += data
                writer.write(data)
                await writer.drain()
        # The client has gone, and the server is to see that.
        writer.transport.abort()

    async def _pass_response(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: Cut | None
    ) -> None:
        left = cut.after if cut else None
        if left == 0:
            await reader.read(1)
        while left != 0 and (data := await reader.read(left or 65536)):
            await self.flowing.wait()
            self.passed += len(data)
            writer.write(data)
            await writer.drain()
            if left is not None:
                left -= len(data)
        if cut and left == 0:
            self.done.append(cut)
            if cut.how == "RST":
                reset(writer)
        writer.close()
        await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN, unless it is closing already."""
    if not writer.is_closing():
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
