"""The load's readers: raw asyncio protocols that count tokens and look at their times.

A process of its own. They know neither HTTP nor SSE, so that one process can read as fast as any
server sends: a token is what has a `"content"`, and its time stands in it where the source put one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from typing import Any, cast
from urllib.parse import urlsplit

import uvloop

from tests.benchmarks.commands import Command, answer_commands

MARK = b'"content'
STAMP_DIGITS = 12
OPENED_AT_ONCE = 50


class Readers:
    """What all connections share."""

    def __init__(self) -> None:
        self.tokens = 0
        self.bytes = 0
        self.lost = 0
        # Microseconds, in steps of ten: how many tokens took so long.
        self.delays: Counter[int] = Counter()
        self._open: list[ReaderProtocol] = []

    async def open(
        self,
        url: str,
        body: dict[str, Any],
        number: int,
        *,
        within: float = 60.0,
        every: float = 0.0,
        rate: int = 0,
        buffer: int = 0,
    ) -> dict[str, Any]:
        """Open streams, and wait until each has its first token, or its headers at least.

        Args:
            url: Where.
            body: What to post.
            number: How many.
            within: Seconds to wait for them.
            every: Seconds from one to the next; 0 opens a few at a time as fast as it goes.
            rate: Bytes a second that each takes; 0: all that come; -1: nothing after the first.
            buffer: Bytes of the kernel's buffer for each; 0: the usual.
        """
        at = urlsplit(url)
        text = json.dumps(body).encode()
        request = (
            f"POST {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        ).encode() + text
        end = time.monotonic() + within
        opened = []
        step = 1 if every else OPENED_AT_ONCE
        for begun in range(0, number, step):
            several = [
                self._connect(str(at.hostname), at.port or 80, request, rate, buffer)
                for _ in range(min(step, number - begun))
            ]
            opened += await asyncio.gather(*several)
            if every:
                await asyncio.sleep(every)
            elif body["model"] != "loading":
                await _first_tokens(opened[-step:], end)
        if body["model"] != "loading":
            await _first_tokens(opened, end)
        self._open += opened
        first = [reader.first - reader.asked for reader in opened if reader.first]
        return {"opened": len(first), "first": first}

    async def _connect(
        self, host: str, port: int, request: bytes, rate: int, buffer: int
    ) -> ReaderProtocol:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        if buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await loop.sock_connect(sock, (host, port))
        _, reader = await loop.create_connection(lambda: ReaderProtocol(self, rate), sock=sock)
        reader.ask(request)
        return reader

    async def mark(self) -> dict[str, Any]:
        """Tell what has come, and how long tokens took since this was last asked."""
        delays, self.delays = self.delays, Counter()
        return {
            "tokens": self.tokens,
            "bytes": self.bytes,
            "lost": self.lost,
            "delays": sorted(delays.items()),
            "time": time.monotonic(),
            "cpu": time.process_time(),
        }

    async def close(self) -> dict[str, Any]:
        """Close every connection, and tell when."""
        closed, self._open = self._open, []
        times = []
        for reader in closed:
            times.append(time.monotonic())
            reader.leave()
        return {"times": times}


async def _first_tokens(readers: list[ReaderProtocol], end: float) -> None:
    while time.monotonic() < end and not all(r.first for r in readers):  # noqa: ASYNC110
        await asyncio.sleep(0.002)


class ReaderProtocol(asyncio.Protocol):
    """One stream."""

    def __init__(self, readers: Readers, rate: int) -> None:
        self._readers = readers
        self._rate = rate
        self._tail = b""
        self._left = False
        self.asked = 0.0
        self.first = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's

    def ask(self, request: bytes) -> None:
        self.asked = time.monotonic()
        self.transport.write(request)

    def leave(self) -> None:
        self._left = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        readers = self._readers
        readers.bytes += len(data)
        # What a token is marked with may be cut by the network, at any byte.
        data = self._tail + data
        tokens = data.count(MARK)
        self._tail = data[-len(MARK) + 1 :]
        if not tokens:
            return
        readers.tokens += tokens
        if not self.first:
            self.first = time.monotonic()
        if (at := data.find(b"@")) >= 0:
            stamp = data[at + 1 : at + 1 + STAMP_DIGITS]
            if stamp.isdigit() and len(stamp) == STAMP_DIGITS:
                readers.delays[(time.monotonic_ns() // 1000 - int(stamp)) // 10] += 1
        if self._rate:
            self.transport.pause_reading()
            if self._rate > 0:
                pause = len(data) / self._rate
                asyncio.get_running_loop().call_later(pause, self._go_on)

    def _go_on(self) -> None:
        if not self._left:
            self.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._left:
            self._readers.lost += 1
            self._left = True


async def main() -> None:
    readers = Readers()
    commands: dict[str, Command] = {
        "open": readers.open,
        "mark": readers.mark,
        "close": readers.close,
    }
    await answer_commands(commands, {})


if __name__ == "__main__":
    uvloop.run(main())
