"""The recorder around aiohttp sessions: what the network brought, whatever the code does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from dripline.errors import ServerTimeout
from dripline.http.event_source import EventSource
from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import ExchangeEnding, Recording, load_parts
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.splits import every_byte
from dripline.recordings.writer import RecordingWriter
from dripline.testing import FakeOllama, Fault, Pace, Script
from tests.support.recordings import recording_of
from tests.support.scripted_server import ScriptedServer, stream
from tests.support.tcp_server import TcpServer

CHAT = {"model": "story", "messages": [{"role": "user", "content": "Grüezi"}]}
TOKENS = ["Es", " wär", " ✓", " emal"]


@asynccontextmanager
async def recorded(
    path: Path, script: Script, **session: Any
) -> AsyncIterator[tuple[FakeOllama, aiohttp.ClientSession]]:
    """A session with a recorder, and what it talks to."""
    async with (
        FakeOllama({"story": script}) as ollama,
        Recorder(path) as recorder,
        aiohttp.ClientSession(ollama.url, middlewares=[recorder], **session) as http,
    ):
        yield ollama, http


async def _read(response: aiohttp.ClientResponse) -> bytes:
    return await response.read()


async def _lines(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([line async for line in response.content])


async def _pieces(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([piece async for piece in Body(response)])


async def _chunked(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([piece async for piece in response.content.iter_chunked(7)])


@pytest.mark.parametrize("read", [_read, _lines, _pieces, _chunked])
async def test_an_ollama_stream(
    tmp_path: Path, read: Callable[[aiohttp.ClientResponse], Awaitable[bytes]]
) -> None:
    """The code gets what it would get anyhow; the file gets every piece as it was read."""
    path = tmp_path / "x.jsonl"
    async with recorded(path, Script(TOKENS, split=every_byte)) as (ollama, http):
        async with http.post("/api/chat", json=CHAT, headers={"Authorization": "x"}) as response:
            body = await read(response)
        url = ollama.url
    recording = Recording.load(path)
    assert recording.body == body
    lines = [orjson.loads(line) for line in body.splitlines()]
    assert [line["message"]["content"] for line in lines] == [*TOKENS, ""]
    assert {len(piece) for piece in recording.chunks} == {1}
    assert recording.ending is ExchangeEnding.EOF
    assert recording.request.method == "POST"
    assert recording.request.url == f"{url}/api/chat"
    assert orjson.loads(recording.request.body) == CHAT
    assert ("Authorization", "REDACTED") in recording.request.headers
    assert recording.response
    assert recording.response.status == 200
    assert recording.response.header("content-type") == "application/x-ndjson"


ENDINGS: dict[str, tuple[Script, ExchangeEnding]] = {
    "cut": (Script(TOKENS, fault=Fault.cut(at_token=2)), ExchangeEnding.CUT),
    "reset": (Script(TOKENS, fault=Fault.reset(at_token=2)), ExchangeEnding.RESET),
    "stall": (Script(TOKENS, fault=Fault.stall(at_token=2)), ExchangeEnding.TIMEOUT),
    "cut at once": (Script(TOKENS, fault=Fault.cut()), ExchangeEnding.CUT),
    "reset at once": (Script(TOKENS, fault=Fault.reset()), ExchangeEnding.RESET),
    "stall at once": (Script(TOKENS, fault=Fault.stall()), ExchangeEnding.TIMEOUT),
}


@pytest.mark.parametrize(("script", "ending"), ENDINGS.values(), ids=ENDINGS)
async def test_how_it_ended(tmp_path: Path, script: Script, ending: ExchangeEnding) -> None:
    """The code meets the same failure as without a recorder, and the file tells which it was."""
    path = tmp_path / "x.jsonl"
    timeout = aiohttp.ClientTimeout(sock_read=0.3)

    async def read(http: aiohttp.ClientSession, ollama: FakeOllama) -> tuple[bytes, object]:
        came = b""
        try:
            async with http.post(f"{ollama.url}/api/chat", json=CHAT) as response:
                async for piece in Body(response):
                    came += piece
        except BodyBroken as error:
            return came, error.how
        except (aiohttp.ClientError, TimeoutError) as error:
            return came, type(error)
        return came, None

    async with recorded(path, script, timeout=timeout) as (ollama, http):
        with_recorder = await read(http, ollama)
        async with aiohttp.ClientSession(timeout=timeout) as plain:
            without = await read(plain, ollama)
    recording = Recording.load(path)
    assert recording.ending is ending
    assert with_recorder[1] == without[1]
    assert recording.body == with_recorder[0]
    assert recording.body.count(b"\n") == without[0].count(b"\n")
    assert (recording.response is None) == (script.fault is not None and not script.fault.at_token)


async def test_silence_that_an_event_source_ends(tmp_path: Path) -> None:
    """Its own time-out is the recording's ending."""
    path = tmp_path / "x.jsonl"
    async with (
        ScriptedServer(stream(b"data: a\n\n", cut=True, then="silence")) as server,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
        EventSource(server.url, session=http, reconnect=False, silence_timeout=0.05) as source,
    ):
        with pytest.raises(ServerTimeout):
            [event async for event in source]
    recording = Recording.load(path)
    assert recording.ending is ExchangeEnding.TIMEOUT
    assert recording.body == b"data: a\n\n"


async def test_nothing_listens(tmp_path: Path) -> None:
    """That there was no connection is a recording too."""
    async with (
        Recorder(tmp_path / "x.jsonl") as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
    ):
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get("http://127.0.0.1:1/")
    recording = Recording.load(tmp_path / "x.jsonl")
    assert (recording.ending, recording.response) == (ExchangeEnding.UNREACHABLE, None)


@pytest.mark.parametrize("how", ["response", "session", "recorder", "task"])
async def test_leaving_in_the_middle_is_cancelled(tmp_path: Path, how: str) -> None:
    """Whoever closes; and what was recorded so far stays, at once, while the file is open."""
    path = tmp_path / "x.jsonl"
    script = Script(TOKENS, fault=Fault.stall(at_token=2))
    async with (
        FakeOllama({"story": script}) as ollama,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
    ):
        response = await http.post(f"{ollama.url}/api/chat", json=CHAT)
        body = response.content.iter_any()
        came = b""
        while came.count(b"\n") < 2:
            came += await anext(body)
        match how:
            case "response":
                response.close()
            case "session":
                await http.close()
            case "recorder":
                await recorder.close()
            case "task":
                reader = asyncio.create_task(_in_context(response))
                await asyncio.sleep(0)
                reader.cancel()
                await asyncio.wait({reader})
                assert reader.cancelled()
        if how == "recorder":
            with pytest.raises(aiohttp.ClientConnectionError):
                await anext(body)
        response.close()
        await ollama.chats[0].wait_closed()
        await settled(recorder)
        assert Recording.load(path).ending is ExchangeEnding.CANCELLED
    recording = Recording.load(path)
    assert recording.ending is ExchangeEnding.CANCELLED
    assert recording.body == came


async def settled(recorder: Recorder) -> None:
    """Wait until the recorder has taken all that there is to come."""
    if recorder._tasks:
        await asyncio.wait(recorder._tasks)


async def _in_context(response: aiohttp.ClientResponse) -> None:
    async with response:
        await response.read()


async def test_leaving_while_the_model_loads(tmp_path: Path) -> None:
    """A request that is cancelled before its response."""
    path = tmp_path / "x.jsonl"
    async with recorded(path, Script(pace=Pace(cold_load=1e9))) as (ollama, http):
        task = asyncio.create_task(http.post("/api/chat", json=CHAT))
        await ollama.wait_for_request()
        task.cancel()
        await asyncio.wait({task})
    recording = Recording.load(path)
    assert (recording.ending, recording.response) == (ExchangeEnding.CANCELLED, None)


async def test_times_are_the_networks_although_the_code_is_slow(tmp_path: Path) -> None:
    """The recorder reads on while the code is busy with the first line."""
    path = tmp_path / "x.jsonl"
    async with (
        FakeOllama({"story": Script(TOKENS)}) as ollama,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
        http.post(f"{ollama.url}/api/chat", json=CHAT) as response,
    ):
        await settled(recorder)
        assert Recording.load(path).ending is ExchangeEnding.EOF
        first = await response.content.readline()
        rest = await response.content.read()
    recording = Recording.load(path)
    assert len(recording.pieces) > 1
    assert recording.body == first + rest


async def test_a_reader_that_is_far_behind_holds_the_server_back(tmp_path: Path) -> None:
    """No more than a little is held in memory; all of it comes in the end."""
    path, size, line = tmp_path / "x.jsonl", 64 * 1024 * 1024, b"x" * 65536
    sent = 0

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < size:
            await response.write(line)
            sent += len(line)
        return response

    async with (
        serving(endless) as url,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
        http.get(url) as response,
    ):
        before = -1
        while before != path.stat().st_size:  # until nothing moves
            before = path.stat().st_size
            await asyncio.sleep(0.2)
        assert before < 4 * 1024 * 1024
        assert sent < size
        total = 0
        async for piece in response.content.iter_any():
            total += len(piece)
    assert total == size
    assert Recording.load(path).ending is ExchangeEnding.EOF


@asynccontextmanager
async def serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """Run a server of one handler."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("decompresses", [True, False])
async def test_a_compressed_body_fits_its_headers(tmp_path: Path, decompresses: bool) -> None:
    """The pieces are what the code reads, and the headers tell what the pieces are."""
    path = tmp_path / "x.jsonl"

    async def compressed(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(text="Grüezi" * 100)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with (
        serving(compressed) as url,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder], auto_decompress=decompresses) as http,
        http.get(url) as response,
    ):
        body = await response.read()
    recording = Recording.load(path)
    assert recording.response
    assert recording.body == body
    assert (body == "Grüezi".encode() * 100) is decompresses
    assert bool(recording.response.header("Content-Encoding")) is not decompresses
    length = recording.response.header("Content-Length")
    assert length == ("" if decompresses else str(len(body)))


LAST_WORDS = {
    "OpenAI's chat": b"data: [DONE]\n\n",
    "OpenAI's responses": b'event: x\ndata: {"type":"response.completed"}\n\n',
    "Anthropic's": b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    "Ollama's": b'{"done":true}\n',
    "dripline's": b'id: 9\ndata: {"type":"end","data":{}}\n\n',
}


@pytest.mark.parametrize("length", [0, 100_000])
@pytest.mark.parametrize("last", [*LAST_WORDS.values(), b"data: more\n\n"], ids=[*LAST_WORDS, ""])
async def test_leaving_after_the_last_word(tmp_path: Path, last: bytes, length: int) -> None:
    """Is an end like any other, whoever closes first; leaving before it is not."""
    before = (b"{}\n" if last.startswith(b"{") else b"data: x\n\n") * length
    path = tmp_path / "x.jsonl"
    done = asyncio.Event()

    async def open_ended(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(before)
        for byte in last:
            await response.write(bytes((byte,)))
        await done.wait()
        return response

    async with (
        serving(open_ended) as url,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
    ):
        async with http.get(url) as response:
            came = b""
            async for piece in response.content.iter_any():
                came += piece
                if len(came) == len(before + last):
                    break
        await settled(recorder)
        done.set()
    recording = Recording.load(path)
    said_its_end = last in LAST_WORDS.values()
    assert recording.ending is (ExchangeEnding.EOF if said_its_end else ExchangeEnding.CANCELLED)


async def test_redirects_and_bodies_that_are_streams(tmp_path: Path) -> None:
    """Each exchange is a part; a body from an iterator is sent and recorded."""
    path = tmp_path / "x.jsonl"

    async def redirecting(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/":
            return web.Response(status=307, headers={"Location": "/next"})
        return web.Response(body=await request.read())

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with (
        serving(redirecting) as url,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
    ):
        async with http.post(url, data=b"again") as response:
            assert await response.read() == b"again"
        async with http.post(f"{url}next", data=pieces()) as response:
            assert await response.read() == b"one two"
    parts = load_parts(path)
    assert list(parts) == ["1", "2", "3"]
    assert [part.response.status for part in parts.values() if part.response] == [307, 200, 200]
    assert [part.request.body for part in parts.values()] == [b"again", b"again", b"one two"]


async def test_a_header_that_is_not_utf8(tmp_path: Path) -> None:
    """It is text in the file all the same."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Odd: Z\xfcri\r\nContent-Length: 2\r\n\r\nHi")
        await writer.drain()

    async with (
        TcpServer(answer) as server,
        Recorder(tmp_path / "x.jsonl") as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
        http.get(server.url) as response,
    ):
        assert await response.read() == b"Hi"
    recorded_response = Recording.load(tmp_path / "x.jsonl").response
    assert recorded_response
    assert recorded_response.header("x-odd") == "Z\ufffdri"


async def test_around_an_event_source(tmp_path: Path) -> None:
    """Each connection is a part; the second asks for what the first left, and gets 204."""
    path = tmp_path / "x.jsonl"
    stream = recording_of([b"retry: 0\n\nid: 7\ndata: a\n\n"])
    async with (
        ReplayServer(stream, speed=math.inf) as server,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
        EventSource(server.url, session=http) as source,
    ):
        assert [event.data async for event in source] == ["a"]
    first, second = load_parts(path).values()
    assert first.body == stream.body
    assert first.ending is ExchangeEnding.EOF
    assert ("Last-Event-ID", "7") in second.request.headers
    assert second.response
    assert second.response.status == 204


async def test_a_disk_that_is_full_fails_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code is told: what it reads is not being recorded any more."""
    with RecordingWriter(tmp_path / "x.jsonl") as writer:

        def full(_: bytes) -> None:
            raise OSError(28, "No space left on device")

        async with (
            FakeOllama({"story": Script(TOKENS)}) as ollama,
            Recorder(writer) as recorder,
            aiohttp.ClientSession(middlewares=[recorder]) as http,
        ):
            async with http.get(f"{ollama.url}/api/tags") as response:
                await response.read()
            async with http.post(f"{ollama.url}/api/chat", json=CHAT) as response:
                monkeypatch.setattr(writer, "_write", full)
                with pytest.raises(OSError, match="No space"):
                    await response.read()
            monkeypatch.undo()


async def test_after_closing_it_says_so(tmp_path: Path) -> None:
    """A request through a closed recorder is a mistake, not a hole in the file."""
    async with recorded(tmp_path / "x.jsonl", Script(TOKENS)) as (_, http):
        middleware = http._middlewares[0]
        assert isinstance(middleware, Recorder)
        await middleware.close()
        with pytest.raises(ValueError, match=r"x\.jsonl is closed"):
            await http.get("/api/tags")
