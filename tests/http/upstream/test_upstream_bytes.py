"""Upstream answers in inconvenient pieces, from a raw server."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from dripline.http.response_body import Body, BodyBroken
from dripline_server.upstream.ollama import Ollama
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


def chunks(data: bytes, size: int) -> bytes:
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return b"".join(map(chunk, pieces)) + chunk(b"")


LONG = b"".join(b"%d," % n for n in range(1_000_000))
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
# Each with what is sent and what it says.
FRAMINGS = {
    "in chunks": (HEAD + chunks(LONG, 5000), LONG),
    "in chunks of a byte": (HEAD + chunks(LONG[:200_000], 1), LONG[:200_000]),
    "with a length": (OK + b"Content-Length: %d\r\n\r\n" % len(LONG) + LONG, LONG),
    "to the connection's end": (OK + b"\r\n" + LONG, LONG),
    "compressed": (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(LONG), LONG),
}


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_more_than_is_held_comes_whole(framing: str) -> None:
    """However the body is sent, when nobody reads it for a while."""
    sent, body = FRAMINGS[framing]

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    async with raw_server(answer) as url, aiohttp.ClientSession() as http:
        response = await http.get(url)
        reader = Body(response)
        assert response.connection
        assert response.connection.transport
        while response.connection.transport.is_reading():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
        assert b"".join([piece async for piece in reader]) == body
        response.close()


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
