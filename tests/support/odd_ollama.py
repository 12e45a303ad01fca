"""An Ollama that answers exactly the bytes it is told to, over raw sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from tests.support.tcp_server import TcpServer


class OddOllama(TcpServer):
    """Answers each path with its bytes, whatever is asked; one request a connection.

    Args:
        chat: What `/api/chat` gets.
        capabilities: Those of every model.
        pieces: How many bytes go into each write of that; 0: all of them.

    Attributes:
        bodies: What `/api/chat` was asked.
    """

    def __init__(
        self,
        chat: bytes,
        *,
        capabilities: tuple[str, ...] = ("completion", "tools"),
        piece: int = 0,
    ) -> None:
        super().__init__(self._answer)
        self.bodies: list[Any] = []
        self._chat = chat
        self._piece = piece
        self._others = {
            b"/api/version": json_answer({"version": "0.33.0"}),
            b"/api/tags": json_answer({"models": []}),
            b"/api/ps": json_answer({"models": []}),
            b"/api/show": json_answer({"capabilities": capabilities, "model_info": {}}),
        }

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1]
        length = next(
            (
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ),
            0,
        )
        body = await reader.readexactly(length)
        if path != b"/api/chat":
            writer.write(self._others[path])
            return
        self.bodies.append(orjson.loads(body))
        step = self._piece or len(self._chat)
        for at in range(0, len(self._chat), step):
            writer.write(self._chat[at : at + step])
            await writer.drain()


def http_answer(
    body: bytes, *, status: int = 200, kind: str = "application/x-ndjson", more: str = ""
) -> bytes:
    """A response with its length."""
    head = f"HTTP/1.1 {status} Odd\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def json_answer(body: Mapping[str, object], status: int = 200) -> bytes:
    """A response of one JSON object."""
    return http_answer(orjson.dumps(body), status=status, kind="application/json; charset=utf-8")


def lines(*messages: Mapping[str, object], done: Mapping[str, object] | None = None) -> bytes:
    """A stream of chunks with these messages, and its end."""
    chunks = [
        {"model": "m", "message": {"role": "assistant", **m}, "done": False} for m in messages
    ]
    last = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    return http_answer(b"\n".join(map(orjson.dumps, [*chunks, {**last, **(done or {})}])) + b"\n")


def texts(*contents: str) -> bytes:
    """A stream of pieces of text."""
    return lines(*({"content": content} for content in contents))
