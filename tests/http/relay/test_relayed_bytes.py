"""Ollama's own API through dripline: every byte as Ollama said it, in both directions."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import httpx
import ollama
import openai
import pytest

from dripline.testing import Pace, Reply, Script
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.support.ollama_answers import RealAnswer, load
from tests.support.programs import ROOT
from tests.support.raw_http import raw_exchange
from tests.support.scripted_server import Say, ScriptedServer
from tests.support.stack import Stack, stack, user
from tests.support.tcp_server import TcpServer

ANSWERS = [
    answer
    for name in ("ollama-answers-0.33.jsonl", "ollama-refusals-0.33.jsonl")
    for answer in load(ROOT / "tests/data" / name)
]
# Here dripline answers by itself; Ollama's own answer is below /ollama.
OWN = ("/v1/chat/completions", "/v1/models")
# What dripline checks by itself.
OURS = {"Origin", "Host"}


def as_sent(real: RealAnswer) -> Say:
    """The bytes of a real answer; a body without a length comes in chunks of its lines."""
    body, chunked = real.answer.encode(), False
    lines = [f"HTTP/1.1 {real.status} As It Was"]
    for name, value in real.answer_headers:
        chunked = chunked or name == "Transfer-Encoding"
        sized = name == "Content-Length" and real.method != "HEAD"
        lines.append(f"{name}: {len(body) if sized else value}")
    head = "\r\n".join([*lines, "Connection: close", "\r\n"]).encode()
    if chunked:
        pieces = [piece + b"\n" for piece in body.split(b"\n") if piece]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return Say(head + body)


async def test_every_answer_of_a_real_ollama() -> None:
    """Status, reason, headers in their order, and body: as if dripline were not there."""
    says = [as_sent(real) for real in ANSWERS if not OURS.intersection(real.headers)]
    async with (
        ScriptedServer(*[say for say in says for _ in range(2)]) as server,
        serve(Settings(port=0, ollama=server.url)) as dripline,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        for real in ANSWERS:
            if OURS.intersection(real.headers):
                continue
            relayed_as_is = real.path.startswith(("/api/", "/v1/"))
            below = "/ollama" if real.path.startswith(OWN) or not relayed_as_is else ""
            found = []
            for url in (server.url, dripline.url + below):
                async with http.request(
                    real.method,
                    url + real.path,
                    data=real.body,
                    headers=real.headers,
                    allow_redirects=False,
                ) as response:
                    headers = [
                        pair
                        for pair in response.raw_headers
                        if pair[0] not in (b"X-Run-Id", b"Connection")
                    ]
                    body = await response.read()
                    found.append((response.status, response.reason, headers, body))
            assert found[0] == found[1], real.name
            direct, relayed = server.asked[-2:]
            assert (relayed.method, relayed.path) == (direct.method, direct.path)
            assert relayed.body == direct.body, real.name
            passed = {**direct.headers, "host": relayed.headers["host"], "connection": b"close"}
            assert relayed.headers == passed, real.name


PATHS = [
    "/api/tags?a=%2F&b=%C3%BC&&c",
    "/api/tags?",
    "/api/a%20b/%2e/c;d=e/%ff",
    "/api//double///slashes/",
    "/api/new/endpoint?x=+%2B",
    "/v1/%7Efuture",
    "/ollama/anything/at/all?q",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_addresses_are_not_touched(method: str, path: str) -> None:
    """Percent-encoding, query and slashes reach Ollama as they were sent, with any method."""
    async with (
        ScriptedServer(
            Say(b"HTTP/1.1 299 Odd  Reason\r\nX-a: \xff\xfe\r\nx-A: 2\r\n\r\nyes")
        ) as up,
        serve(Settings(port=0, ollama=up.url)) as dripline,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(dripline.url[17:]))
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert up.asked[0].method == method
    assert up.asked[0].path == path.removeprefix("/ollama")
    assert head.startswith(b"HTTP/1.1 299 Odd  Reason\r\nX-a: \xff\xfe\r\nx-A: 2\r\n")


@asynccontextmanager
async def writing(*writes: bytes) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Run dripline before a server that makes these writes, and yield the address.

    The event lets it make all but the first.
    """
    go_on = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await reader.readuntil(b"\r\n\r\n")
        for at, data in enumerate(writes):
            writer.write(data)
            await writer.drain()
            if at == 0:
                await go_on.wait()

    async with (
        TcpServer(answer) as server,
        serve(Settings(port=0, ollama=server.url)) as dripline,
    ):
        yield dripline.url, go_on


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_chunks_stay_chunks() -> None:
    """Chunks that come together go out as they are; half a chunk goes out at once."""
    first = HEAD + b"1\r\na\r\n2;x=y\r\nbc\r\n6\r\ndef"
    async with writing(first, b"ghi\r\n0\r\nTrailer: x\r\n\r\n") as (url, go_on):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url[17:]))
        writer.write(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(21) == b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n"
        go_on.set()
        assert await reader.readexactly(13) == b"3\r\nghi\r\n0\r\n\r\n"
        # The connection goes on.
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()


async def test_a_compressed_body_stays_compressed() -> None:
    """What a client asks for, Ollama is asked for; nothing is unpacked."""
    body = b"\x1f\x8b not really"
    say = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
    async with (
        ScriptedServer(Say(say % (len(body), body))) as up,
        serve(Settings(port=0, ollama=up.url)) as dripline,
        aiohttp.ClientSession(auto_decompress=False) as http,
    ):
        async with http.get(f"{dripline.url}/api/tags") as response:
            assert await response.read() == body
            assert response.headers["Content-Encoding"] == "gzip"
        assert b"gzip" in up.asked[0].headers["accept-encoding"]


async def test_http_1_0() -> None:
    """An old client gets a body without chunks, whose end is the connection's."""
    async with (
        ScriptedServer(Say(HEAD + b"2\r\nHi\r\n0\r\n\r\n")) as up,
        serve(Settings(port=0, ollama=up.url)) as dripline,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(dripline.url[17:]))
        writer.write(b"GET /api/x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b"Transfer-Encoding" not in answer
    assert answer.endswith(b"\r\n\r\nHi")


@pytest.fixture
async def models() -> AsyncIterator[Stack]:
    """A model that answers, one that thinks, and one that embeds."""
    scripts = {
        "story": Script("Once upon a time.", capabilities=["completion", "tools"]),
        "thinker": Script(Reply("Blue.", thinking="Hm.")),
        "vectors": Script(capabilities=["embedding"]),
    }
    async with stack(scripts) as s:
        yield s


async def test_the_ollama_package(models: Stack) -> None:
    """List, chat, generate, embed, show, copy and delete, and its error."""
    async with ollama.AsyncClient(models.url) as client:
        assert {model.model for model in (await client.list()).models} == {
            "story:latest",
            "thinker:latest",
            "vectors:latest",
        }
        chunks = [c async for c in await client.chat("story", user("Hi"), stream=True)]
        assert "".join(c.message.content or "" for c in chunks) == "Once upon a time."
        assert chunks[-1].done
        whole = await client.generate("thinker", "Hi")
        assert (whole.response, whole.thinking) == ("Blue.", "Hm.")
        assert len((await client.embed("vectors", ["a", "b"])).embeddings) == 2
        assert "tools" in ((await client.show("story")).capabilities or [])
        await client.copy("story", "other")
        await client.delete("other")
        with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as refused:
            await client.chat("nope", user("Hi"))
        assert refused.value.status_code == 404


@pytest.mark.parametrize("base", ["/v1", "/ollama/v1"])
async def test_the_openai_package(models: Stack, base: str) -> None:
    """Dripline's own chat completions, Ollama's, and what Ollama alone has."""
    async with openai.AsyncOpenAI(base_url=f"{models.url}{base}", api_key="any") as client:
        chat = await client.chat.completions.create(
            model="story", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in chat]
        assert "".join(words) == "Once upon a time."
        responses = await client.responses.create(model="story", input="Hi")
        assert responses.output_text == "Once upon a time."
        vectors = await client.embeddings.create(model="vectors", input=["a", "b"])
        assert len(vectors.data) == 2
        completion = await client.completions.create(model="story", prompt="Hi")
        assert completion.choices[0].text == "Once upon a time."
        with pytest.raises(openai.NotFoundError, match="not found"):
            await client.embeddings.create(model="nope", input="a")


async def test_the_demo() -> None:
    """Where no Ollama is, the demo model answers at Ollama's address too."""
    settings = Settings(port=0)
    async with serve(settings) as dripline, httpx.AsyncClient() as http:
        if not dripline.state.demo:
            pytest.skip("an Ollama runs on this machine")
        assert (await http.get(f"{dripline.url}/api/tags")).json()["models"]
        body = {"model": "demo", "prompt": "Hi", "stream": False}
        assert (await http.post(f"{dripline.url}/api/generate", json=body)).json()["done"]


async def test_what_a_heartbeat_needs(models: Stack) -> None:
    """The `ollama` command asks HEAD / before anything else; others look for Ollama's words."""
    for method, path, body in (
        ("HEAD", "/", b""),
        ("GET", "/ollama/", b"Ollama is running"),
        ("GET", "/ollama", b"Ollama is running"),
        ("HEAD", "/ollama/", b""),
    ):
        answer = await raw_exchange(models.url, method, path)
        assert (answer.status, answer.body) == (200, body)


async def test_backpressure() -> None:
    """A slow reader holds Ollama back, and not the server's memory; and all of it comes."""
    size, sent = 24 * 2**20, 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while sent < size:
            writer.write(b"10000\r\n%b\r\n" % (b"x" * 2**16))
            await writer.drain()
            sent += 2**16
        writer.write(b"0\r\n\r\n")

    async with (
        TcpServer(answer) as server,
        serve(Settings(port=0, ollama=server.url)) as dripline,
        aiohttp.ClientSession() as http,
        http.get(f"{dripline.url}/api/x") as response,
    ):
        before = -1
        while sent > before:  # until the sender stands still
            before = sent
            await asyncio.sleep(0.1)
        assert sent < size // 2
        assert len(await response.read()) == size


async def test_a_paced_stream_is_not_held_back() -> None:
    """Each token goes out before the next one comes."""
    script = Script(["a", "b", "c"], pace=Pace(tokens_per_second=20))
    async with stack(script) as s:
        body = {"model": "story", "messages": user("Hi")}
        answer = await raw_exchange(s.url, "POST", "/api/chat", body)
        assert len(answer.chunks) == 4
