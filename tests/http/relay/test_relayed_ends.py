"""However an answer of Ollama's ends, or its reader leaves, it is told as it was."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import ollama
import openai
import pytest

from dripline.testing import Fault, Pace, Phase, Script
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.support.event_loop_lag import event_loop_lag
from tests.support.raw_http import RawResponse, raw_exchange
from tests.support.scripted_server import Say, ScriptedServer
from tests.support.stack import stack, user
from tests.support.tcp_server import TcpServer

CHAT = {"model": "story", "messages": user("Hi")}
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n"

LINES = (
    '{"model":"m","message":{"role":"assistant","content":"Gr\u00fc\\u00df\\n"},"done":false}\n'
    '{"model":"m","message":{"role":"assistant","content":"e"},"done":false,"logprob":-1.5e-7}\n'
).encode()
OPENAI_EVENTS = (
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Gr\u00fc"}}]}\n\n'
    'data: {"id":"c","choices":[{"index":0,"delta":{"content":"e"}}]}\n\n'
).encode()
ANTHROPIC_EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","usage":{}}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Hi"}}\n\n'
)
RESPONSES_EVENTS = (
    b'event: response.created\ndata: {"type":"response.created","response":{"id":"r"}}\n\n'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"a",'
    b'"item_id":"i","output_index":0,"content_index":0,"sequence_number":2}\n\n'
)


class Cutting(TcpServer):
    """Answers with the start of a body, and then breaks off."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.head, self.body, self.then = b"", b"", "FIN"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        # All of the request: closing before that would be a reset.
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
        # A chunk that is not complete, so that the cut is inside of it.
        chunk = b"%x\r\n%b" % (len(self.body) + 9, self.body) if self.body else b""
        writer.write(self.head + chunk)
        await writer.drain()
        if self.then == "silence":
            await reader.read()


@asynccontextmanager
async def cutting(**settings: float) -> AsyncIterator[tuple[Cutting, str]]:
    async with (
        Cutting() as upstream,
        serve(Settings(port=0, ollama=upstream.url, **settings)) as dripline,  # type: ignore[arg-type]
    ):
        yield upstream, dripline.url


async def cut_at(upstream: Cutting, url: str, path: str, kind: str, body: bytes) -> RawResponse:
    upstream.head, upstream.body = HEAD.format(kind).encode(), body
    answer = await raw_exchange(url, "POST", path, {"model": "m"})
    assert answer.status == 200
    assert answer.end != "complete"
    assert answer.body.startswith(body)
    return answer


async def test_lines_cut_at_every_byte() -> None:
    """Every line of the answer is JSON, the last has Ollama's `error`, and the body is cut."""
    async with cutting() as (upstream, url):
        for at in range(len(LINES)):
            answer = await cut_at(upstream, url, "/api/chat", NDJSON, LINES[:at])
            *whole, last = answer.body.decode().splitlines()
            assert len(whole) == LINES[:at].count(b"\n") or whole[-1] + "\n" in LINES.decode()
            assert not any("error" in json.loads(line) for line in whole)
            assert "Ollama closed the connection" in json.loads(last)["error"]


async def test_the_ollama_package_at_every_cut() -> None:
    """It raises its own error, with dripline's words, wherever the connection breaks."""
    async with cutting() as (upstream, url):
        for at in range(0, len(LINES), 3):
            upstream.head, upstream.body = HEAD.format(NDJSON).encode(), LINES[:at]
            async with ollama.AsyncClient(url) as client:
                with pytest.raises(ollama.ResponseError, match="Ollama closed the connection"):
                    async for _ in await client.chat("m", user("Hi"), stream=True):
                        pass


def error_of(answer: RawResponse) -> tuple[str, dict[str, object]]:
    """The last event's name and data, as a reader of server-sent events has them."""
    text = answer.body.decode()
    assert text.endswith("\n\n")
    *_, block = text.strip("\n").split("\n\n")
    name, data = "", []
    for line in block.split("\n"):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.strip()
        if field == "data":
            data.append(value.removeprefix(" "))
    return name, json.loads("\n".join(data))


@pytest.mark.parametrize(
    ("path", "events", "name"),
    [
        ("/v1/completions", OPENAI_EVENTS, ""),
        ("/ollama/v1/chat/completions", OPENAI_EVENTS, ""),
        ("/v1/responses", RESPONSES_EVENTS, "error"),
        ("/v1/messages", ANTHROPIC_EVENTS, "error"),
    ],
)
async def test_events_cut_at_every_byte(path: str, events: bytes, name: str) -> None:
    """The last event is an error in that API's form; no reader gets half an event before it."""
    async with cutting() as (upstream, url):
        for at in range(len(events)):
            answer = await cut_at(upstream, url, path, EVENTS, events[:at])
            event, data = error_of(answer)
            assert event == name, events[:at]
            error = data["error"]
            assert isinstance(error, dict), events[:at]
            assert "Ollama closed the connection" in error["message"]
            if name:
                assert data["type"] == "error"
            for block in answer.body.decode().split("\n\n")[:-2]:
                assert f"{block}\n\n" in events.decode()


async def test_the_openai_package_at_every_cut() -> None:
    """It raises, and says why."""
    async with (
        cutting() as (upstream, url),
        openai.AsyncOpenAI(base_url=f"{url}/ollama/v1", api_key="any", max_retries=0) as client,
    ):
        for at in range(0, len(OPENAI_EVENTS), 5):
            upstream.head, upstream.body = HEAD.format(EVENTS).encode(), OPENAI_EVENTS[:at]
            chat = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            with pytest.raises(openai.APIError, match="Ollama closed the connection"):
                async for _ in chat:
                    pass
        for at in range(0, len(RESPONSES_EVENTS), 5):
            upstream.body = RESPONSES_EVENTS[:at]
            events = await client.responses.create(model="m", input="Hi", stream=True)
            with pytest.raises(openai.APIError, match="Ollama closed the connection"):
                async for _ in events:
                    pass


async def test_half_of_the_last_word() -> None:
    """Half of `[DONE]` can't become an error: the body is cut, and nothing is added."""
    async with cutting() as (upstream, url):
        body = OPENAI_EVENTS + b"data: [DON"
        answer = await cut_at(upstream, url, "/v1/completions", EVENTS, body)
        assert answer.body == body


@pytest.mark.parametrize("body", [b'{"error":"CUDA out of mem', b'{"error": "x", "b": [1, 2'])
async def test_half_an_error_of_ollamas(body: bytes) -> None:
    """Ollama's own words come before dripline's."""
    async with cutting() as (upstream, url):
        answer = await cut_at(upstream, url, "/api/chat", NDJSON, body)
        assert json.loads(answer.body)["error"] in ("CUDA out of mem", "x")


@pytest.mark.parametrize("line", [b"<html>", b'{"a":"' + b"x" * 100_000, b"[1,2"])
async def test_half_a_line_that_cannot_be_completed(line: bytes) -> None:
    """The error gets a line of its own."""
    async with cutting() as (upstream, url):
        answer = await cut_at(upstream, url, "/api/generate", NDJSON, line)
        assert "Ollama closed" in json.loads(answer.body.splitlines()[-1])["error"]


async def test_a_stall() -> None:
    """Silence in the middle ends with an error line that says so, and a cut body."""
    async with cutting(stall_timeout=0.2) as (upstream, url):
        upstream.then = "silence"
        answer = await cut_at(upstream, url, "/api/chat", NDJSON, LINES[:30])
        assert "sent nothing for 0.2 s" in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n",
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_a_document_that_is_cut(head: bytes) -> None:
    """A single JSON document has no place for an error: the body is cut."""
    async with (
        ScriptedServer(Say(b"HTTP/1.1 200 OK\r\n" + head + b'{"a"')) as upstream,
        serve(Settings(port=0, ollama=upstream.url)) as dripline,
        httpx.AsyncClient() as http,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(f"{dripline.url}/api/tags")


async def test_http_1_0_is_reset() -> None:
    """Where only the connection's end ends the body, it is a reset."""
    async with (
        ScriptedServer(Say((HEAD.format(NDJSON) + "5\r\nHi").encode())) as upstream,
        serve(Settings(port=0, ollama=upstream.url)) as dripline,
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(dripline.url[17:]))
        writer.write(b"GET /api/x HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.transport.abort()


FORMS: dict[str, Callable[[dict[str, object]], object]] = {
    "/api/chat": lambda body: body["error"],
    "/ollama/api/new": lambda body: body["error"],
    "/v1/completions": lambda body: body["error"]["message"],  # type: ignore[index]
    "/v1/messages": lambda body: body["type"] == "error" and body["error"]["message"],  # type: ignore[index]
}


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    ("say", "status", "words"),
    [
        (None, 503, "No Ollama answers at"),
        (Say(b"HTTP/1.1 20"), 502, "Ollama closed the connection"),
        (Say(b"", "RST"), 502, "was reset"),
        (Say(b"220 smtp\r\n"), 502, "does not speak HTTP"),
        (Say(b"", "silence"), 504, "Ollama sent nothing for"),
    ],
)
async def test_before_the_answer(path: str, say: Say | None, status: int, words: str) -> None:
    """A status of a gateway, in the form of the API that was asked."""
    async with ScriptedServer(say or Say(b"")) as upstream:
        url = upstream.url
        if say is None:
            await upstream.refuse()
        async with (
            serve(Settings(port=0, ollama=url, stall_timeout=0.2)) as dripline,
            httpx.AsyncClient() as http,
        ):
            answer = await http.post(f"{dripline.url}{path}", json={"model": "m"})
    assert answer.status_code == status
    assert words in str(FORMS[path](answer.json()))


async def test_what_ollama_ends_by_itself_stays_so() -> None:
    """An error line of Ollama's, and an answer without `done` that it ends well, are its own."""
    for fault in (Fault.error("CUDA", at_token=2), Fault.truncated(at_token=2)):
        async with stack(Script("Once upon a time", fault=fault)) as s:
            answer = await raw_exchange(s.url, "POST", "/api/chat", CHAT)
        assert answer.end == "complete"
        assert answer.lines[-1] == b'{"error":"CUDA"}\n' or b'"done":false' in answer.lines[-1]


PHASES: dict[str, tuple[Script, Phase]] = {
    "loading": (Script(pace=Pace(cold_load=math.inf)), Phase.LOADING),
    "before the first token": (Script(pace=Pace(first_token=math.inf)), Phase.EVALUATING),
    "mid-answer": (Script("word " * 10_000, pace=Pace(tokens_per_second=50)), Phase.ANSWERING),
    "silent": (Script(["Once", " upon"], fault=Fault.stall(at_token=2)), Phase.STALLED),
}


@pytest.mark.parametrize(("script", "phase"), PHASES.values(), ids=PHASES)
@pytest.mark.parametrize("path", ["/api/chat", "/ollama/v1/chat/completions"])
async def test_leaving_closes_ollamas_socket(script: Script, phase: Phase, path: str) -> None:
    """Within milliseconds, whatever Ollama is doing; what the machine takes is left out."""
    async with stack(script) as s, event_loop_lag() as lag:
        body = json.dumps({**CHAT, "stream": True}).encode()
        _, writer = await asyncio.open_connection("127.0.0.1", int(s.url[17:]))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        request = await s.ollama.wait_for_request()
        await request.wait_phase(phase)
        left, late = asyncio.get_running_loop().time(), lag.total
        writer.transport.abort()
        await request.wait_closed()
        assert request.closed_at is not None
        assert request.closed_at - left - (lag.total - late) < 0.1


async def test_leaving_in_the_middle_of_an_upload() -> None:
    """Ollama's connection is closed, with the upload that nobody ends."""
    closed = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"half")
        assert writer.get_extra_info("peername")
        half.set()
        await reader.read()
        closed.set()

    half = asyncio.Event()
    async with TcpServer(take) as upstream, serve(Settings(port=0, ollama=upstream.url)) as d:
        _, writer = await asyncio.open_connection("127.0.0.1", int(d.url[17:]))
        writer.write(
            b"POST /api/embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
        )
        await half.wait()
        writer.transport.abort()
        await closed.wait()


async def test_a_reader_that_is_stuck_is_cut_off() -> None:
    """One that reads nothing is disconnected, and Ollama with it."""
    left = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD.format(NDJSON).encode())
        try:
            while True:
                writer.write(b"10000\r\n%b\r\n" % (b"x" * 2**16))
                await writer.drain()
        finally:
            left.set()

    async with TcpServer(answer) as upstream:
        settings = Settings(port=0, ollama=upstream.url, reader_timeout=0.2)
        async with serve(settings) as dripline:
            _, writer = await asyncio.open_connection("127.0.0.1", int(dripline.url[17:]), limit=1)
            writer.write(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await left.wait()
            writer.transport.abort()


async def test_a_shutdown() -> None:
    """Open answers end with an error line that says so, and new ones are refused."""
    script = Script("word " * 10_000, pace=Pace(tokens_per_second=50))
    async with stack(script) as s:
        asking = asyncio.create_task(raw_exchange(s.url, "POST", "/api/chat", CHAT))
        await (await s.ollama.wait_for_request()).wait_phase(Phase.ANSWERING)
        assert s.server.state.runs.active == 1
        await s.server.state.runs.close()
        answer = await asking
        assert answer.end == "FIN"
        assert "server shut down" in json.loads(answer.lines[-1])["error"]
        refused = await raw_exchange(s.url, "POST", "/api/chat", CHAT)
        assert refused.status == 503
        assert "shutting down" in json.loads(refused.body)["error"]
        assert (await raw_exchange(s.url, "GET", "/api/tags")).status == 200
