"""A server whose answers cost it nothing: what whole clients read. A process of its own.

`POST .../chat` answers as dripline does, `POST .../v1/chat/completions` as OpenAI does. The path
begins with how many tokens there are, and how many of them come a second (0: all at once).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import uvloop

from dripline.sse import encode_event
from tests.benchmarks.commands import answer_commands
from tests.benchmarks.source import WORDS, chunk

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Run-Id: measured\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def words(tokens: int) -> list[str]:
    """Return the text of an answer, in its tokens."""
    return [WORDS[nth % len(WORDS)] for nth in range(tokens)]


def dripline_frames(tokens: int) -> list[bytes]:
    """Return an answer as `POST /chat` streams it."""
    start = {"agent": "ollama", "run_id": "measured", "model": "mistral:latest"}
    events: list[tuple[str, dict[str, Any]]] = [("start", start)]
    events += [("text_message", {"content": word}) for word in words(tokens)]
    events.append(("end", {"status": "completed", "reason": "stop", "usage": {}}))
    return [
        encode_event(_json({"type": type_, "data": data}), id=str(seq))
        for seq, (type_, data) in enumerate(events, 1)
    ]


def openai_frames(tokens: int) -> list[bytes]:
    """Return the same answer as OpenAI's API streams it."""
    frames = []
    for word in [*words(tokens), ""]:
        last = not word
        choice = {
            "index": 0,
            "delta": {} if last else {"content": word},
            "finish_reason": "stop" if last else None,
        }
        record = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000}
        frames.append(
            encode_event(_json({**record, "model": "mistral:latest", "choices": [choice]}))
        )
    return [*frames, encode_event("[DONE]")]


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, separators=(",", ":"))


class SourceProtocol(asyncio.Protocol):
    """One connection: each request is answered with one stream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none of asyncio's
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if not separator or len(body) < length:
            return
        self._received = body[length:]
        path = head.split(b" ", 2)[1].decode()
        tokens, rate = map(int, path.split("/")[1:3])
        frames = openai_frames(tokens) if "completions" in path else dripline_frames(tokens)
        chunks = [*map(chunk, frames), b"0\r\n\r\n"]
        self._transport.write(HEAD)
        if rate:
            self._send_next(chunks, 0, 1 / rate)
        else:
            self._transport.write(b"".join(chunks))

    def _send_next(self, chunks: Sequence[bytes], at: int, pause: float) -> None:
        if at < len(chunks) and not self._transport.is_closing():
            self._transport.write(chunks[at])
            asyncio.get_running_loop().call_later(pause, self._send_next, chunks, at + 1, pause)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(SourceProtocol, "127.0.0.1", 0)
    await answer_commands({}, {"port": server.sockets[0].getsockname()[1]})


if __name__ == "__main__":
    uvloop.run(main())
