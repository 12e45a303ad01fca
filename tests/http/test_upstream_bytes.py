"""Upstream answers in inconvenient pieces, from a raw server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from dripline.response_body import Body, BodyBroken
from dripline_server.ollama import Ollama
from tests.support.tcp_server import TcpServer

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def raw_server(answer: Answer) -> AsyncIterator[str]:
    """A server that answers every request by writing what `answer` writes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(writer)

    async with TcpServer(serve) as server:
        yield server.url


async def test_a_version_in_two_pieces_is_a_version() -> None:
    """A healthy Ollama is not taken for an absent one because of how its bytes come."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for data in (HEAD, chunk(b'{"ver'), chunk(b'sion":"0.9.1"}'), b"0\r\n\r\n"):
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.02)  # the pieces must be read apart

    async with raw_server(answer) as url:
        upstream = Ollama(url, stall_timeout=5, max_line=1000)
        try:
            assert await upstream.version() == "0.9.1"
        finally:
            await upstream.close()


async def test_what_came_before_a_stall_is_not_lost_on_a_busy_reader() -> None:
    """Bytes that arrived while the reader was busy come before the time-out is told."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(b"a"))
        await gate.wait()
        writer.write(chunk(b"b"))
        await over.wait()

    gate, over = asyncio.Event(), asyncio.Event()
    got: list[bytes] = []
    timeout = aiohttp.ClientTimeout(total=None, sock_read=0.2)
    async with raw_server(answer) as url, aiohttp.ClientSession(timeout=timeout) as http:
        response = await http.get(url)
        with pytest.raises(BodyBroken, match="too long"):
            async for piece in Body(response):
                got.append(piece)
                gate.set()
                # Busy until the time-out has struck.
                while got == [b"a"] and response.content.exception() is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        response.close()
        over.set()
    assert b"".join(got) == b"ab"
