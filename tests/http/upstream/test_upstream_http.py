"""The HTTP client of the stream reads as aiohttp's does, whatever comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from dripline.http.response_body import Body, BodyBroken
from dripline_server.upstream.address import OllamaAddress
from dripline_server.upstream.http_client import MAX_HEAD, HttpAnswer, HttpClient, NotHttp
from tests.support.scripted_server import Say, ScriptedServer
from tests.support.tcp_server import TcpServer

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b'{"a": 1}'

ANSWERS: dict[str, tuple[Say, int, bytes, str]] = {
    "a length": (Say(OK + b"Content-Length: 5\r\n\r\nHello"), 200, b"Hello", ""),
    "no body": (Say(OK + b"Content-Length: 0\r\n\r\n"), 200, b"", ""),
    "chunks": (Say(CHUNKED + b"3\r\nHel\r\n2\r\nlo\r\n0\r\n\r\n"), 200, b"Hello", ""),
    "an extension": (Say(CHUNKED + b"5;a=b\r\nHello\r\n0\r\n\r\n"), 200, b"Hello", ""),
    "no length": (Say(OK + b"\r\nHello"), 200, b"Hello", ""),
    "a status": (Say(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"), 503, b"busy", ""),
    "cut in a chunk": (Say(CHUNKED + b"5\r\nHel"), 200, b"Hel", "cut"),
    "cut after a chunk": (Say(CHUNKED + b"3\r\nHel\r\n"), 200, b"Hel", "cut"),
    "cut in a length": (Say(OK + b"Content-Length: 5\r\n\r\nHel"), 200, b"Hel", "cut"),
    "reset": (Say(CHUNKED + b"3\r\nHel\r\n", "RST"), 200, b"Hel", "reset"),
    "silence": (Say(CHUNKED + b"3\r\nHel\r\n", "silence"), 200, b"Hel", "timeout"),
    "kept open": (Say(CHUNKED + b"3\r\nHel\r\n0\r\n\r\n", "silence"), 200, b"Hel", ""),
}
HEADLESS: dict[str, tuple[Say, str]] = {
    "cut": (Say(b"HTTP/1.1 200"), "cut"),
    "nothing": (Say(b""), "cut"),
    "reset": (Say(b"HTTP/1.1 200", "RST"), "reset"),
    "silence": (Say(b"HTTP/1.1 200", "silence"), "timeout"),
    "no HTTP": (Say(b"220 mail.example ESMTP\r\n"), "not HTTP"),
    "endless": (Say(OK + b"A: b\r\n" * (MAX_HEAD // 4)), "not HTTP"),
}


async def own(url: str) -> HttpAnswer:
    return await HttpClient(OllamaAddress(url)).send("POST", "/api/chat", BODY, stall_timeout=0.3)


async def read_all(answer: HttpAnswer) -> tuple[int, bytes, str]:
    """Return the status, the body, and how it broke."""
    body = b""

    def add(piece: bytes) -> bool:
        nonlocal body
        body += piece
        return True

    try:
        assert await answer.deliver(add)
    except BodyBroken as error:
        return answer.status, body, error.how
    finally:
        await answer.close()
    return answer.status, body, ""


async def read_all_by_aiohttp(response: aiohttp.ClientResponse) -> tuple[bytes, str]:
    """Return the body, and how it broke."""
    body = b""
    try:
        async for piece in Body(response):
            body += piece
    except BodyBroken as error:
        return body, error.how
    return body, ""


@pytest.mark.parametrize(("say", "status", "body", "how"), ANSWERS.values(), ids=ANSWERS)
async def test_both_clients_read_alike(say: Say, status: int, body: bytes, how: str) -> None:
    """Status, body to its last byte, and ending are the same from this client and aiohttp's."""
    timeout = aiohttp.ClientTimeout(sock_read=0.3)
    async with ScriptedServer(say) as server, aiohttp.ClientSession(timeout=timeout) as http:
        assert await read_all(await own(server.url)) == (status, body, how)
        async with http.post(server.url, data=BODY) as response:
            assert (response.status, *await read_all_by_aiohttp(response)) == (status, body, how)
        assert [asked.body for asked in server.asked] == [BODY, BODY]
        assert server.asked[0].headers["content-type"] == b"application/json"


@pytest.mark.parametrize(("say", "how"), HEADLESS.values(), ids=HEADLESS)
async def test_an_answer_without_a_head_is_none(say: Say, how: str) -> None:
    async with ScriptedServer(say) as server:
        with pytest.raises((BodyBroken, NotHttp)) as raised:
            await own(server.url)
        assert (raised.value.how if isinstance(raised.value, BodyBroken) else "not HTTP") == how


def server_of(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> TcpServer:
    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY)
        await answer(writer)

    return TcpServer(serve_one)


async def test_what_nobody_reads_waits_in_the_sender() -> None:
    """A slow reader holds Ollama back, and not the server's memory; and all of it comes."""
    size, sent = 16 * 2**20, 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"\r\n")
        while sent < size:
            writer.write(b"x" * 2**16)
            await writer.drain()
            sent += 2**16

    async with server_of(answer) as server:
        reading = await own(server.url)
        before = -1
        while sent > before:  # until the sender stands still
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size
        assert len((await read_all(reading))[1]) == size


async def test_cancelling_closes_the_connection_before_the_head_too() -> None:
    """Stopping frees Ollama at once while it loads a model."""
    asked, closed = asyncio.Event(), asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY)
        asked.set()
        await reader.read()
        closed.set()

    async with TcpServer(serve_one) as server:
        waiting = asyncio.create_task(own(server.url))
        await asked.wait()
        waiting.cancel()
        await closed.wait()
        assert waiting.cancelled()


@pytest.mark.parametrize("seed", range(10))
async def test_what_is_refused_is_not_lost(seed: int) -> None:
    """Every byte is handed on once and in order, wherever the taker wants no more for a while."""
    draw = random.Random(seed)
    body = draw.randbytes(3000)
    got = bytearray()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(body))
        sent = 0
        while sent < len(body):
            size = draw.randrange(1, 200)
            writer.write(body[sent : sent + size])
            sent += size
            await asyncio.sleep(0)

    def deliver_now(piece: bytes) -> bool:
        got.extend(piece)
        return draw.random() < 0.5

    async with server_of(answer) as server:
        reading = await own(server.url)
        while not await reading.deliver(deliver_now):
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
        await reading.close()
    assert bytes(got) == body


async def test_a_fault_of_the_taker_is_raised() -> None:
    """Also where the body ends with the piece."""

    def deliver_now(piece: bytes) -> bool:
        raise ValueError(piece)

    async with ScriptedServer(Say(OK + b"Content-Length: 2\r\n\r\nHi")) as server:
        reading = await own(server.url)
        with pytest.raises(ValueError, match="Hi"):
            await reading.deliver(deliver_now)
        await reading.close()
