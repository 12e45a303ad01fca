"""The load source: a raw asyncio protocol that answers as Ollama does, as fast as it is told to.

A process of its own. The request's model says what comes:

- `flat`: tokens without end, as fast as they are taken;
- `paced`: a token twenty times a second without end, each in a write of its own and with its time;
- `silent`: one token, and then nothing;
- `loading`: nothing at all.
"""

from __future__ import annotations

import asyncio
import json
import time
from itertools import cycle
from typing import Any, cast

import uvloop

from tests.benchmarks.commands import Command, answer_commands

RATE = 20
# The paced streams' writes are spread over as many moments of each period.
SLOTS = 50
FLAT_PIECE = 64 * 1024
WORDS = (" the", " sky", " is", " blue", ",", " because", " sunlight", " is scattered", ".", "\n\n")

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    b"Date: Tue, 04 Aug 2026 10:00:00 GMT\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LINE = (
    '{"model":"mistral:latest","created_at":"2026-08-04T10:00:00.123456789Z",'
    '"message":{"role":"assistant","content":%s},"done":false}\n'
)
# What answers every other question: version, what is loaded, and that the model can call tools.
ELSE = b'{"version":"0.12.0","models":[],"capabilities":["completion","tools"],"model_info":{}}'
# Microseconds of the monotonic clock, which all processes of a machine share.
STAMP = b" @%012d"


def chunk(line: bytes) -> bytes:
    """Return the line as Go's net/http writes it when it is flushed: an HTTP chunk of its own."""
    return b"%x\r\n%b\r\n" % (len(line), line)


def _flat_piece() -> tuple[bytes, int]:
    """Return about `FLAT_PIECE` bytes of tokens, and how many there are."""
    piece, tokens = b"", 0
    for word in cycle(WORDS):
        if len(piece) >= FLAT_PIECE:
            break
        piece += chunk((LINE % json.dumps(word)).encode())
        tokens += 1
    return piece, tokens


PIECE, PIECE_TOKENS = _flat_piece()
# Made from the bytes of a real line, so that nothing but the time differs.
_STAMPED = chunk((LINE % '"@@"').encode().replace(b"@@", STAMP % 0))
BEFORE, AFTER = _STAMPED.split(STAMP % 0)


def stamped() -> bytes:
    """Return a token that says when it is sent."""
    return BEFORE + STAMP % (time.monotonic_ns() // 1000) + AFTER


class Source:
    """What all connections share."""

    def __init__(self) -> None:
        self.open: set[SourceProtocol] = set()
        self.sent = 0
        self.accepted = 0
        self.closes: list[float] = []
        self.slots: list[set[SourceProtocol]] = [set() for _ in range(SLOTS)]

    async def pace(self) -> None:
        """Send each paced stream its tokens."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for slot in cycle(self.slots):
            due += 1 / RATE / SLOTS
            if (delay := due - loop.time()) > 0:
                await asyncio.sleep(delay)
            for stream in slot:
                stream.transport.write(stamped())
            self.sent += len(slot)

    async def stats(self) -> dict[str, Any]:
        """Tell what has been sent, to how many."""
        return {
            "open": len(self.open),
            "sent": self.sent,
            "accepted": self.accepted,
            "cpu": time.process_time(),
        }

    async def hang_up(self) -> dict[str, Any]:
        """Close every connection with a chat."""
        for stream in tuple(self.open):
            stream.transport.abort()
        return {}

    async def closed(self) -> dict[str, Any]:
        """Tell when connections with a chat were closed, since this was last asked."""
        times, self.closes = self.closes, []
        return {"times": times}


class SourceProtocol(asyncio.Protocol):
    """One connection; only its first request may be a chat."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._received = b""
        self._flat = False
        self._paused = False
        self._slot: set[SourceProtocol] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if len(body) < length:
            return
        self._received = body[length:]
        if head.startswith(b"POST /api/chat"):
            self._chat(json.loads(body[:length])["model"])
        else:
            text = ELSE
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(text), text)
            )

    def _chat(self, model: str) -> None:
        source = self._source
        source.open.add(self)
        source.accepted += 1
        if model == "loading":
            return
        self.transport.write(HEAD + stamped())
        source.sent += 1
        if model == "flat":
            self._flat = True
            self.resume_writing()
        elif model == "paced":
            self._slot = source.slots[source.accepted % SLOTS]
            self._slot.add(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        # A transport that is lost takes what it is given, and never asks for a pause.
        while self._flat and not self._paused and not self.transport.is_closing():
            self.transport.write(PIECE)
            self._source.sent += PIECE_TOKENS

    def connection_lost(self, error: Exception | None) -> None:
        self._flat = False
        if self._slot is not None:
            self._slot.discard(self)
        if self in self._source.open:
            self._source.open.remove(self)
            self._source.closes.append(time.monotonic())


async def main() -> None:
    loop = asyncio.get_running_loop()
    source = Source()
    server = await loop.create_server(lambda: SourceProtocol(source), "127.0.0.1", 0, backlog=4096)
    pacing = asyncio.create_task(source.pace())
    port = server.sockets[0].getsockname()[1]
    commands: dict[str, Command] = {
        "stats": source.stats,
        "closed": source.closed,
        "hang_up": source.hang_up,
    }
    await answer_commands(commands, {"port": port})
    pacing.cancel()


if __name__ == "__main__":
    uvloop.run(main())
