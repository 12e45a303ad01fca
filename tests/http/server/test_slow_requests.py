"""Requests that never come to their end, and floods of connections, hold nothing up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from dripline.testing import Fault, Script
from tests.support.stack import stack

HEAD = b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def connection(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", b"POST", HEAD, HEAD + b"X-Slow: "])
async def test_slow_headers(sent: bytes) -> None:
    """A connection without a whole header is closed in time, however much of it has come."""
    async with stack(Script("Blue."), idle_time=0.2) as s, connection(s.url) as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""


@pytest.mark.parametrize("length", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_slow_bodies(length: bytes) -> None:
    """A body that does not come is 408, and its connection is closed."""
    async with stack(Script("Blue."), body_time=0.2) as s, connection(s.url) as (reader, writer):
        writer.write(HEAD + length + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"body_too_slow" in await reader.readuntil(b"}}")
        assert not s.ollama.chats


@pytest.mark.parametrize("fill", [b"X-%d: 1\r\n", b"X-%d: " + b"y" * 1000 + b"\r\n"])
async def test_endless_headers(fill: bytes) -> None:
    """They are refused long before they end."""
    async with stack(Script("Blue.")) as s, connection(s.url) as (reader, writer):
        writer.write(HEAD)
        answer = asyncio.ensure_future(reader.readline())
        for number in range(10_000):
            writer.write(fill % number)
            with suppress(ConnectionError):
                await writer.drain()
            if answer.done():
                break
        # What is still on its way when the server closes makes a reset, which may overtake the 400.
        (got,) = await asyncio.gather(answer, return_exceptions=True)
        assert isinstance(got, ConnectionError) or (isinstance(got, bytes) and b" 400 " in got)


async def test_too_large_without_a_length() -> None:
    """A chunked body is counted as it comes."""
    async with stack(Script("Blue."), max_body=100_000) as s, connection(s.url) as (reader, writer):
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            writer.write(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("body", [b"[" + b"{}," * 150_000 + b"{}]", b"[" * 200_001])
async def test_too_many_values(body: bytes) -> None:
    """They are refused before they are read: everybody would wait for that."""
    async with stack(Script("Blue.")) as s:
        headers = {"Content-Type": "application/json"}
        async with s.http.post(f"{s.url}/chat", data=body, headers=headers) as response:
            assert response.status == 413
            assert "200,000 values" in (await response.json())["error"]["message"]


async def test_a_flood_of_idle_connections() -> None:
    """A new chat is answered while hundreds of connections say nothing."""
    async with stack(Script("Blue.")) as s:
        port = int(s.url.rpartition(":")[2])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        try:
            assert (await s.client.ask("Hi")).text == "Blue."
        finally:
            for _, writer in idle:
                writer.transport.abort()


async def test_a_burst_of_chats() -> None:
    """The limit of runs holds when all come at once: the others get 503 and when to come again."""
    async with stack(Script(["a"], fault=Fault.stall(at_token=0)), max_runs=5) as s:
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        responses = await asyncio.gather(
            *[s.http.post(f"{s.url}/chat", json=body) for _ in range(60)]
        )
        refused = [response for response in responses if response.status == 503]
        assert len(refused) == 55
        assert all("Retry-After" in response.headers for response in refused)
        await s.ollama.wait_for_request(5)
        assert len(s.ollama.chats) == 5
        for response in responses:
            response.close()
