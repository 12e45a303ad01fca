"""A server that answers exactly the bytes it is told to: what no right server would ever say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.support.tcp_server import TcpServer, reset

Then = Literal["FIN", "RST", "silence"]


@dataclass(frozen=True, slots=True)
class Say:
    """An answer.

    Attributes:
        data: The bytes of the whole response.
        then: What comes after them: the connection is closed, is reset, or stays open.
    """

    data: bytes
    then: Then = "FIN"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        method: Such as "GET".
        path: With the query.
        headers: By lower-case name, as the bytes that came; joined where there are several.
        body: The body.
    """

    method: str
    path: str
    headers: dict[str, bytes]
    body: bytes


class ScriptedServer(TcpServer):
    """Takes one request a connection; the last answer is for all that come after it as well.

    Attributes:
        asked: The requests.
    """

    def __init__(self, *says: Say) -> None:
        super().__init__(self._accept)
        self.asked: list[Asked] = []
        self._says = iter(says)
        self._last = says[-1]
        self._changed = asyncio.Event()

    async def wait_asked(self, count: int) -> None:
        """Wait until so many requests have come."""
        while len(self.asked) < count:
            self._changed.clear()
            await self._changed.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await _read_request(reader))
        self._changed.set()
        say = next(self._says, self._last)
        writer.write(say.data)
        await writer.drain()
        if say.then == "silence":
            await reader.read()
        if say.then == "RST":
            reset(writer)


async def _read_request(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    request_line, *lines = head[:-4].split(b"\r\n")
    method, path, _ = request_line.decode().split(" ")
    headers: dict[str, bytes] = {}
    for line in lines:
        field, value = line.split(b": ", 1)
        name = field.decode().lower()
        headers[name] = headers[name] + b", " + value if name in headers else value
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(method, path, headers, body)


def answer(status: int, body: bytes = b"", /, then: Then = "FIN", **headers: str) -> Say:
    """A whole response with its length; `_` in a header's name stands for `-`."""
    return Say(_head(status, {**headers, "Content-Length": str(len(body))}) + body, then)


def stream(
    body: bytes, /, *, cut: bool = False, then: Then = "FIN", status: int = 200, **headers: str
) -> Say:
    """An event stream; `cut` leaves out what says that it is whole."""
    fields = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", **headers}
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return Say(_head(status, fields) + chunk + b"0\r\n\r\n" * (not cut), then)


def frames(*payloads: str, first: int = 1) -> bytes:
    """Frames as dripline sends them."""
    return b"".join(
        b"id: %d\ndata: %b\n\n" % (seq, payload.encode())
        for seq, payload in enumerate(payloads, start=first)
    )


def texts(*contents: str) -> Iterator[str]:
    """`text_message` events in their JSON form."""
    return (f'{{"type":"text_message","data":{{"content":"{content}"}}}}' for content in contents)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\nConnection: close\r\n{lines}\r\n".encode()
