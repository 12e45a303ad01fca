"""`--openai`: models of OpenAI-compatible servers answer chats beside Ollama's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from dripline import ChatClient, End, Error, Event, RunFailed, TextMessage, Thinking, ToolCall
from dripline.testing import Call, Ending, FakeOllama, Fault, Pace, Reply, Script
from dripline_server import BadSetting, Settings, serve
from dripline_server.agents import openai_model
from dripline_server.settings import load
from tests.support.free_port import free_port
from tests.support.tcp_server import TcpServer
from tests.support.usual_ollama import move_usual_ollama

TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
LAST = b"data: " + orjson.dumps({"choices": [], "usage": USAGE}) + b"\n\ndata: [DONE]\n\n"
STREAM = b": ping\n\n" + chunk(role="assistant", content=None) + chunk(content="A é")
STREAM += chunk(content="🙂.") + chunk("stop") + LAST


class OddServer(TcpServer):
    """A server with the model `odd`, which answers exactly these bytes, in pieces."""

    def __init__(self, answer: bytes, *, piece: int = 0) -> None:
        super().__init__(self._serve)
        self.bodies: list[Any] = []
        self.heads: list[bytes] = []
        self._told = answer
        self._piece = piece or max(1, len(answer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if head.startswith(b"GET "):
            writer.write(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b'{"data":[{"id":"odd"}]}'
            )
            return
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        self.bodies.append(orjson.loads(await reader.readexactly(length)))
        for at in range(0, len(self._told), self._piece):
            writer.write(self._told[at : at + self._piece])
            await writer.drain()


@asynccontextmanager
async def served(*urls: str, **settings: Any) -> AsyncIterator[ChatClient]:
    """Yield a client of a server with the models of these servers."""
    options = Settings(port=0, openai=tuple(f"{url}/v1" for url in urls), **settings)
    async with serve(options) as server, ChatClient(server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def no_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    """None at the usual address."""
    move_usual_ollama(monkeypatch)


async def events(client: ChatClient, model: str, **fields: Any) -> list[Event]:
    """Return what a client reads between `start` and the end, or a failed run's error."""
    async with client.chat("hello", model=model, **fields) as stream:
        try:
            read = [event async for event in stream]
        except RunFailed:
            assert stream.answer.error
            return [TextMessage(stream.answer.text), stream.answer.error]
    return read[1:]


async def odd(answer: bytes, piece: int = 0, **fields: Any) -> list[Event]:
    """Return what comes of a stream of these bytes."""
    async with OddServer(answer, piece=piece) as server, served(server.url) as client:
        return await events(client, "odd", **fields)


def joined(read: list[Event], kind: type[TextMessage | Thinking] = TextMessage) -> str:
    """The whole text, however it was split."""
    return "".join(event.content for event in read if isinstance(event, kind))


async def test_beside_ollama() -> None:
    """Both lists show both, and each answers for its own; an agent goes before a namesake."""

    async def mine(chat: object) -> str:
        return "agent"

    both = {"far": Script("Far."), "twice": Script("Far."), "mine": Script("Far.")}
    async with (
        FakeOllama({"near": Script("Near."), "twice": Script("Near.")}) as ollama,
        FakeOllama(both) as other,
    ):
        settings = Settings(port=0, ollama=ollama.url, openai=(f"{other.url}/v1",))
        async with (
            serve(settings, agents={"mine": mine}) as server,
            ChatClient(server.url) as client,
        ):
            said = {name: (await client.ask("Hi", model=name)).text for name in ("far", "near")}
            names = [model.name for model in await client.models()]
            twice = await client.ask("Hi", model="twice:latest")
            own = await client.ask("Hi", model="mine")
    assert said == {"far": "Far.", "near": "Near."}
    assert sorted(names) == ["far:latest", "mine", "near:latest", "twice:latest"]
    assert (twice.text, own.text) == ("Far.", "agent")


async def test_every_byte() -> None:
    """A stream that arrives byte by byte is the same answer, with its tokens and its reason."""
    for piece in (1, 7, 0):
        *read, end = await odd(HEAD + STREAM, piece)
        assert joined(read) == "A é🙂."
        assert isinstance(end, End)
        assert (end.status, end.reason) == ("completed", "stop")
        assert (end.usage.prompt_tokens, end.usage.completion_tokens) == (3, 5)


async def test_cut_at_every_byte() -> None:
    """Wherever a stream ends early, the run fails, with the text of the events before that."""
    whole = STREAM.index(b"[DONE]\n") + len(b"[DONE]\n")
    texts = set()
    async with OddServer(b"") as server, served(server.url) as client:
        for at in range(whole):
            server._told, server._piece = HEAD + STREAM[:at], len(HEAD) + at
            text, error = await events(client, "odd")
            assert isinstance(error, Error)
            assert (error.code, error.retryable) == ("upstream_truncated", True), at
            assert isinstance(text, TextMessage)
            texts.add(text.content)
    assert texts == {"", "A é", "A é🙂."}


SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"
ERROR = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
FAILURES: dict[str, tuple[bytes, str, str, str]] = {
    "cut": (SIZED + STREAM, "completed", "", ""),
    "cut in the middle": (SIZED + chunk(content="A"), "upstream_cut", "A", "closed in the middle"),
    "no [DONE]": (HEAD + chunk(content="A") + chunk("stop"), "upstream_truncated", "A", "[DONE]"),
    "no finish_reason": (
        HEAD + chunk(content="A") + LAST, "upstream_truncated", "A", "finish_reason"
    ),
    "error": (HEAD + chunk(content="A") + ERROR, "upstream_error", "A", "out of memory."),
    "error as a body": (
        HEAD + b'{"error": "no slot"}', "upstream_error", "", "reported an error: no slot."
    ),
    "aborted": (HEAD + chunk(content="A") + chunk("abort") + LAST, "upstream_error", "A", "abort"),
    "no JSON": (HEAD + b"data: {oops\n\n", "upstream_garbage", "", "not a JSON object"),
    "a page": (HEAD + b"<html><title>Hi</title>", "upstream_garbage", "", "a web page ('Hi')"),
    "a whole answer": (HEAD + b'{"choices": []}', "upstream_garbage", "", "sent JSON instead of"),
    "no HTTP": (b"hello\r\n\r\n", "upstream_garbage", "", "not HTTP"),
    "401": (
        b'HTTP/1.1 401 No\r\n\r\n{"error":{"message":"no key"}}', "upstream_refused", "",
        "no key. If it needs a key, set OPENAI_API_KEY",
    ),
    "404": (
        b'HTTP/1.1 404 No\r\n\r\n{"error":{"message":"The model `odd` does not exist"}}',
        "model_not_found", "", "does not exist.",
    ),
    "429": (b'HTTP/1.1 429 No\r\n\r\n{"error":{"message":"slow"}}', "upstream_busy", "", "slow."),
    "400": (b'HTTP/1.1 400 No\r\n\r\n{"detail":"odd"}', "upstream_refused", "", "(400)"),
    "500": (b"HTTP/1.1 500 No\r\n\r\noops", "upstream_failed", "", "failed (500): oops."),
    "redirect": (
        b"HTTP/1.1 302 No\r\nLocation: http://elsewhere/\r\n\r\n", "upstream_refused", "",
        "redirects (302) to http://elsewhere/",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
async def test_failures(name: str) -> None:
    """Each has a code, words that help, and the text before it, also byte by byte."""
    answer, code, text, words = FAILURES[name]
    for piece in (0, 1):
        read = await odd(answer, piece)
        if code == "completed":
            assert isinstance(read[-1], End)
            continue
        error = read[-1]
        assert isinstance(error, Error)
        assert (error.code, joined(read)) == (code, text)
        assert words in error.message


async def test_calls_in_pieces() -> None:
    """Tool calls are put together, whatever index they have, or none."""
    parts: list[dict[str, Any]] = [
        {"index": 0, "id": "a", "function": {"name": "book", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"seat"'}},
        {"index": 1, "id": "b", "function": {"name": "book", "arguments": "{}"}},
        {"index": 0, "function": {"arguments": ": 4}"}},
        {"index": 1, "id": "c", "function": {"name": "book", "arguments": '{"seat": 5}'}},
        {"function": {"name": "book", "arguments": '{"seat"'}},
        {"function": {"arguments": ": 6}"}},
        {"function": {"name": "book", "arguments": "{no"}},
    ]
    stream = (
        HEAD + b"".join(chunk(tool_calls=[part]) for part in parts) + chunk("tool_calls") + LAST
    )
    calls = [event for event in await odd(stream, 5, tools=[TOOL]) if isinstance(event, ToolCall)]
    found = sorted((str(call.arguments), call.unreadable) for call in calls)
    assert found == [
        ("{'seat': 4}", ""), ("{'seat': 5}", ""), ("{'seat': 6}", ""), ("{}", ""), ("{}", "{no"),
    ]  # fmt: skip
    assert len({call.id for call in calls}) == 5


async def test_thinking() -> None:
    """It comes under each name that servers give it, and in tags."""
    ways = [
        chunk(reasoning="Hm.") + chunk(content="Yes."),
        chunk(reasoning_content="Hm.") + chunk(content="Yes."),
        chunk(content="<thi") + chunk(content="nk>Hm.</think>Yes."),
        chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}])
        + chunk(content=[{"type": "text", "text": "Yes."}]),
    ]
    for way in ways:
        read = await odd(HEAD + way + chunk("length") + LAST)
        assert (joined(read, Thinking), joined(read)) == ("Hm.", "Yes.")
        assert isinstance(read[-1], End)
        assert read[-1].reason == "length"


async def test_what_is_asked() -> None:
    """The request is in OpenAI's form; the key goes to its own server alone."""
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "look", "images": ["/9j/4AA="]},
        {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "book", "arguments": {"seat": 4}}},
            {"function": {"name": "look", "arguments": {}}},
        ]},
        {"role": "tool", "content": "seen", "tool_name": "look"},
        {"role": "tool", "content": "booked"},
    ]  # fmt: skip
    schema = {"type": "object"}
    async with OddServer(HEAD + STREAM) as first, OddServer(HEAD + STREAM) as second:
        keys = ("", "sk-1")
        async with served(second.url, first.url, openai_api_keys=keys) as client:
            options = {"num_predict": 9, "top_k": 3}
            fields: dict[str, Any] = {
                "tools": [TOOL],
                "options": options,
                "format": schema,
                "think": False,
            }
            async with client.chat(messages, model="odd", **fields) as stream:
                async for _ in stream:
                    pass
    (asked,) = second.bodies
    told = asked.pop("messages")
    assert asked == {
        "model": "odd", "stream": True, "stream_options": {"include_usage": True},
        "max_tokens": 9, "top_k": 3, "tools": [TOOL], "reasoning_effort": "none",
        "response_format": {
            "type": "json_schema", "json_schema": {"name": "answer", "schema": schema}
        },
    }  # fmt: skip
    assert told[0]["content"][1]["image_url"]["url"] == "data:image/jpeg;base64,/9j/4AA="
    book, look = told[1]["tool_calls"]
    assert (book["function"]["arguments"], look["type"]) == ('{"seat":4}', "function")
    assert [told[2]["tool_call_id"], told[3]["tool_call_id"]] == [look["id"], book["id"]]
    assert all(b"Bearer sk-1" in head for head in first.heads)
    assert not any(b"sk-1" in head for head in second.heads)


async def test_the_fakes_own_api() -> None:
    """Thinking, calls, faults and a stop, all through the real wire of Ollama's `/v1`."""
    models = {
        "thinker": Script(Reply("Blue.", thinking="Hm.")),
        "caller": Script(
            Reply(tool_calls=[Call("book", {"seat": 4})]), capabilities=["completion", "tools"]
        ),
        "cut": Script("one two three", fault=Fault.cut(at_token=2)),
        "reset": Script("one two three", fault=Fault.reset(at_token=2)),
        "slow": Script("word " * 1000, Pace(tokens_per_second=100)),
        "silent": Script("one two", fault=Fault.stall(at_token=1)),
    }
    async with FakeOllama(models) as fake, served(fake.url, stall_timeout=0.3) as client:
        read = await events(client, "thinker:latest")
        assert (joined(read, Thinking), joined(read)) == ("Hm.", "Blue.")
        read = await events(client, "caller:latest", tools=[TOOL])
        calls = [event for event in read if isinstance(event, ToolCall)]
        assert [(call.name, call.arguments) for call in calls] == [("book", {"seat": 4})]
        for name, code in [("cut", "cut"), ("reset", "reset"), ("silent", "stalled")]:
            error = (await events(client, f"{name}:latest"))[-1]
            assert isinstance(error, Error)
            assert error.code == f"upstream_{code}"
        async with client.chat("go", model="slow:latest") as stream:
            async for event in stream:
                if isinstance(event, TextMessage):
                    break
        async with asyncio.timeout(5):
            while (last := fake.requests[-1]).ended is None:  # noqa: ASYNC110 (another server's socket)
                await asyncio.sleep(0.01)
        assert last.ended is Ending.CLIENT_LEFT


async def test_a_server_that_is_away() -> None:
    """It is named, is asked again when it is back, and is ill health meanwhile."""
    port = free_port()
    async with served(f"http://127.0.0.1:{port}") as client:
        assert await client.models() == []
        with pytest.raises(Exception, match="No server answers at http"):
            await client.ask("Hi", model="story")
        async with FakeOllama({"story": Script("Here.")}, port=port):
            assert [model.name for model in await client.models()] == ["story:latest"]
            assert (await client.ask("Hi")).text == "Here."  # the one model is the default
        error = (await events(client, "story:latest"))[-1]
        assert isinstance(error, Error)
        assert (error.code, error.retryable) == ("upstream_unreachable", True)


async def test_one_model_as_an_agent() -> None:
    """`openai_model` is an agent under a name of one's own."""
    async with FakeOllama({"far": Script("Far.")}) as fake:
        agents = {"mine": openai_model(f"{fake.url}/v1", "far")}
        async with (
            serve(Settings(port=0), agents=agents) as server,
            ChatClient(server.url) as client,
        ):
            assert (await client.ask("Hi", model="mine")).text == "Far."
            (model,) = await client.models()
            assert model.description == f"far at {fake.url}/v1."


def test_the_options() -> None:
    """Addresses get their `/v1`; what is none is refused, and no key is shown."""
    given = load({"openai": ["http://box:1", "https://far/api/v1/"]}, {"OPENAI_API_KEY": "a,,c"})
    assert given.openai == ("http://box:1/v1", "https://far/api/v1")
    assert given.openai_api_keys == ("a", "", "c")
    assert "api_keys" not in repr(given)
    for bad in ("box:1", "ftp://box", "http://box/v1?key=1"):
        with pytest.raises(BadSetting, match="--openai: "):
            load({"openai": [bad]}, {})
    with pytest.raises(BadSetting, match="OPENAI_API_KEY: must be ASCII"):
        load({}, {"OPENAI_API_KEY": "sk é"})
