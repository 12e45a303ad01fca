"""A TCP proxy in front of a server, that cuts connections after chosen numbers of bytes."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Literal

from yarl import URL

from tests.support.tcp_server import TcpServer, reset

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


class CuttingProxy(TcpServer):
    """Passes bytes on, until a cut.

    Attributes:
        targets: Where the servers are; connections made from now on go there, to each in turn.
        cuts: What happens to the next connections, in their order; all others are left alone.
        done: The cuts that were made; a connection may end before its cut.
        passed: How many of the server's bytes were passed on, on all connections.
        flowing: While it is clear, what servers say is held back.
        hold_at: It is cleared once clients have said this; then this is, too.
    """

    def __init__(self, *targets: str) -> None:
        super().__init__(self._accept)
        self.targets = targets
        self.cuts: deque[Cut] = deque()
        self.done: list[Cut] = []
        self.passed = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.hold_at = b""
        self._asked = bytearray()
        self._turn = count()

    @property
    def requests(self) -> list[str]:
        """What was asked for, such as "POST /chat"."""
        return [f"{m[1].decode()} {m[2].decode()}" for m in _REQUEST.finditer(self._asked)]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self.cuts.popleft() if self.cuts else None
        try:
            await self._relay(reader, writer, cut)
        finally:
            reset(writer)

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
                if self.hold_at and self.hold_at in self._asked:
                    self.flowing.clear()
                    self.hold_at = b""
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
