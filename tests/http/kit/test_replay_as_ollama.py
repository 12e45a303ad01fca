"""A recording of Ollama's own bytes is a model of the fake Ollama."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import ollama
import openai
import orjson
import pytest

from dripline import RunFailed
from dripline.clock import VirtualClock
from dripline.recordings.exchange import Request
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.splits import every_byte
from dripline.recordings.view import is_whole
from dripline.testing import (
    Call,
    Ending,
    FakeOllama,
    Fault,
    FaultKind,
    Pace,
    Replay,
    Reply,
    Script,
    in_rounds,
)
from dripline.testing.fake_ollama.retold import retold
from tests.support.recordings import CHAT, exchange_of, recording_of
from tests.support.stack import stack

TOKENS = ["Es", " wär", " ✓", " emal"]


def ollama_recording(lines: list[bytes], **how: Any) -> Recording:
    """A recording of one stream of Ollama's."""
    return recording_of(lines, request=CHAT, content_type="application/x-ndjson", **how)


async def record(path: Path, script: Script) -> Recording:
    """What a model says to a plain request."""
    chat = {"model": "story", "messages": [{"role": "user", "content": "Hi"}]}
    async with (
        FakeOllama({"story": script}, clock=VirtualClock()) as fake,
        Recorder(path) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
    ):
        try:
            async with http.post(f"{fake.url}/api/chat", json=chat) as response:
                await response.read()
        except aiohttp.ClientError:
            pass  # what the fault does
    return Recording.load(path)


async def test_the_whole_server_answers_from_it(tmp_path: Path) -> None:
    """The text that comes out of dripline is the text that was recorded."""
    recording = await record(tmp_path / "x.jsonl", Script(Reply(TOKENS, thinking="Hmm")))
    async with stack(Script(Replay(recording), split=every_byte)) as s:
        answer = await s.client.ask("Something else")
    assert (answer.text, answer.thinking) == ("".join(TOKENS), "Hmm")
    request = s.ollama.chats[0]
    assert (request.ended, request.tokens_sent) == (Ending.FINISHED, 5)


async def test_the_ollama_package_reads_it(tmp_path: Path) -> None:
    """Byte for byte Ollama's answer; what the model can do is what it did."""
    recording = await record(tmp_path / "x.jsonl", Script(TOKENS))
    async with (
        FakeOllama({"story": Script(Replay(recording))}) as fake,
        ollama.AsyncClient(fake.url) as client,
    ):
        messages = [{"role": "user", "content": "Hi"}]
        chunks = [c async for c in await client.chat("story", messages, stream=True)]
        with pytest.raises(ollama.ResponseError, match="stream: true"):
            await client.chat("story", messages)
    assert [chunk.message.content for chunk in chunks] == [*TOKENS, ""]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.cut(at_token=2), "upstream_cut"),
        (Fault.reset(at_token=2), "upstream_reset"),
        (Fault.reset(), "upstream_reset"),
        (Fault.error("boom", at_token=2), "ollama_error"),
        (Fault.truncated(at_token=2), "upstream_truncated"),
        (Fault.status(503), "ollama_busy"),
        (Fault.garbage(at_token=2), "upstream_garbage"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
async def test_it_fails_as_the_real_one_did(tmp_path: Path, fault: Fault, code: str) -> None:
    """A recorded failure is the same failure for the server."""
    recording = await record(tmp_path / "x.jsonl", Script(TOKENS, fault=fault))
    async with stack(Script(Replay(recording))) as s:
        with pytest.raises(RunFailed) as raised:
            await s.client.ask("Hi")
    assert raised.value.code == code


async def test_a_recorded_silence_is_a_silence() -> None:
    """After what came, until the client leaves."""
    line = b'{"message":{"content":"a"}}\n'
    recording = ollama_recording([line], ending=ExchangeEnding.TIMEOUT)
    async with stack(Script(Replay(recording)), stall_timeout=0.3) as s:
        with pytest.raises(RunFailed) as raised:
            await s.client.ask("Hi")
        assert await s.ollama.chats[0].wait_ended() is Ending.CLIENT_LEFT
    assert raised.value.code == "upstream_stalled"
    assert s.ollama.chats[0].tokens_sent == 1


async def test_the_pace_is_the_recorded_one(tmp_path: Path) -> None:
    """At the speed that is asked for; without one, no time passes."""
    recording = ollama_recording([b"{}\n", b"{}\n"], gap=60.0)
    clock = VirtualClock()
    models = {"slow": Script(Replay(recording, speed=2)), "fast": Script(Replay(recording))}
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    async with FakeOllama(models, clock=clock) as fake, aiohttp.ClientSession() as http:
        for model, seconds in (("fast", 0), ("slow", 90)):
            began = clock.now
            async with http.post(f"{fake.url}/api/chat", json={"model": model, **chat}) as response:
                await response.read()
            assert clock.now - began == pytest.approx(seconds)


async def test_capabilities_are_what_the_recording_shows(tmp_path: Path) -> None:
    """Thinking and tool calls need them."""
    thinking = await record(tmp_path / "1.jsonl", Script(Reply("a", thinking="b"), Pace()))
    assert Script(Replay(thinking)).all_capabilities == ["completion", "thinking"]
    calls = recording_of([b'{"message":{"content":"","tool_calls":[]}}\n'])
    assert Script(Replay(calls)).all_capabilities == ["completion", "tools"]
    assert Script(Replay(calls), capabilities=["completion"]).can("tools") is False


def test_what_a_replay_does_not_take() -> None:
    """A fault of its own, and a speed that is none."""
    recording = recording_of([b"{}"])
    with pytest.raises(ValueError, match="takes no fault"):
        Script(Replay(recording), fault=Fault.cut())
    with pytest.raises(ValueError, match="speed"):
        Replay(recording, speed=0)


def conversation(*texts: str, stream: bool = True) -> Recording:
    """A recording of chats of Ollama's, answered with these texts."""
    kind = "application/x-ndjson" if stream else "application/json"
    found = [
        exchange_of(
            [b'{"message":{"content":"%b"},"done":true}\n' % text.encode()],
            request=replace(CHAT, body=b'{"n":%d}' % number),
            content_type=kind,
        )
        for number, text in enumerate(texts)
    ]
    return Recording(tuple(found))


async def said(fake: FakeOllama, *roles: str, stream: bool = True, n: int = 0) -> str:
    """What the model says in a conversation with messages of these roles."""
    body = {
        "model": "m",
        "messages": [{"role": role, "content": "x"} for role in roles or ("user",)],
        "stream": stream,
        "options": {"seed": n},
    }
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{fake.url}/api/chat", json=body) as response,
    ):
        answer = orjson.loads(await response.read())
    if response.status != 200:
        return f"{response.status} {answer['error']}"
    text: str = answer["message"]["content"]
    return text


async def test_every_exchange_is_played() -> None:
    """Each once, in order; then the request is refused, and the fake tells of it."""
    async with FakeOllama({"m": Script(Replay(conversation("a", "b")))}) as fake:
        assert [await said(fake), await said(fake)] == ["a", "b"]
        refusal = await said(fake)
        assert refusal.startswith("404 unexpected request: POST /api/chat\n")
        assert "the recording has it twice, and it has come more often" in refusal
        assert len(fake.unexpected) == 1


async def test_one_exchange_answers_always() -> None:
    """As any other reply of a script does."""
    async with FakeOllama({"m": Script(Replay(conversation("a")))}) as fake:
        assert [await said(fake) for _ in range(3)] == ["a", "a", "a"]


async def test_streams_and_whole_answers() -> None:
    """A request gets what it asks for, from a recording of both."""
    both = conversation("a", "b").followed_by(conversation("c", "d", stream=False))
    async with FakeOllama({"m": Script(Replay(both))}) as fake:
        ways = (False, True, True, False)
        assert [await said(fake, stream=way) for way in ways] == ["c", "a", "b", "d"]
        fake.models["m"] = Script(Replay(conversation("a", stream=False)))
        assert "recording of a whole answer: ask with stream: false" in await said(fake)


async def test_a_match_of_ones_own() -> None:
    """Such as by a field of the body."""

    def same_seed(recorded: Request, came: Request) -> bool:
        wanted: bool = (
            orjson.loads(recorded.body)["n"] == orjson.loads(came.body)["options"]["seed"]
        )
        return wanted

    replay = Replay(conversation("a", "b", "c"), match=same_seed)
    async with FakeOllama({"m": Script(replay)}) as fake:
        assert [await said(fake, n=n) for n in (2, 0)] == ["c", "a"]
        assert (await said(fake, n=7)).startswith("404 unexpected request")


async def test_rounds_of_a_recording() -> None:
    """Each exchange is a round; by where the conversation is, so that it can be asked again."""
    replies = in_rounds("before", Replay(conversation("a", "b")), "after")
    async with FakeOllama({"m": Script(replies, capabilities=["completion", "tools"])}) as fake:
        for _ in range(2):
            roles = ["user"]
            for expected in ("before", "a", "b", "after", "after"):
                found = await said(fake, *roles, stream=expected in ("a", "b"))
                assert found == expected
                roles += ["assistant", "tool"]


def test_a_recording_of_nothing() -> None:
    """Cannot be what a model says."""
    with pytest.raises(ValueError, match="the recording holds no exchange"):
        Replay(Recording())
    wrong: Any = "url"
    with pytest.raises(ValueError, match="match must be"):
        Replay(conversation("a"), match=wrong)


HI = [{"role": "user", "content": "Hi"}]
LOOK = {"name": "look", "description": "Looks", "parameters": {"type": "object"}}
OPENAI_TOOL = {"type": "function", "function": LOOK}
ASKED: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": HI, "tools": [OPENAI_TOOL]},
    "/api/generate": {"prompt": "Hi"},
    "/v1/chat/completions": {"messages": HI, "tools": [OPENAI_TOOL]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi", "tools": [{"type": "function", **LOOK}]},
    "/v1/messages": {
        "messages": HI,
        "max_tokens": 100,
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    },
}
WITHOUT_TOOLS = ("/api/generate", "/v1/completions")
ALL = ["completion", "tools", "thinking"]
WITHOUT_REASON = ("/v1/responses",)
WITHOUT_THINKING = ("/v1/completions",)


async def recorded_at(path: str, script: Script, file: Path, *, stream: bool) -> Recording:
    """A recording of what a model says at an endpoint."""
    asked = {"model": "m", **ASKED[path], "stream": stream}
    async with (
        FakeOllama({"m": script}, clock=VirtualClock()) as fake,
        Recorder(file, overwrite=True) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
    ):
        try:
            async with http.post(f"{fake.url}{path}", json=asked) as response:
                await response.read()
        except aiohttp.ClientError:
            pass  # what the fault does
    return Recording.load(file)


def heard(recording: Recording) -> tuple[str, str, list[tuple[str, Any]], str]:
    """Text, thinking, calls and reason of a recorded answer."""
    reply = retold(recording.exchange, 1).reply
    calls = [(call.name, call.arguments) for call in reply.tool_calls]
    return "".join(reply.text), "".join(reply.thinking), calls, reply.done_reason


@pytest.mark.parametrize("recorded", ASKED)
async def test_what_was_recorded_at_one_endpoint_is_said_at_another(
    tmp_path: Path, recorded: str
) -> None:
    """In the other's own form: text, thinking, calls and why it ended, streamed or whole."""
    file = tmp_path / "x.jsonl"
    replies = (
        Reply(["Once", " upon"], thinking=["Hm", ", so"]),
        Reply(tool_calls=[Call("look", {"at": 1}), Call("look", {"at": [2]})]),
        Reply("And then", done_reason="length"),
    )
    for reply, recorded_stream in itertools.product(replies, (True, False)):
        script = Script(reply, capabilities=ALL)
        tape = await recorded_at(recorded, script, file, stream=recorded_stream)
        text, thinking, calls, reason = heard(tape)
        assert text == "".join(reply.text)
        for asked, stream in itertools.product(ASKED, (True, False)):
            if asked == recorded:
                continue
            again = Script(Replay(tape), capabilities=ALL)
            found = await recorded_at(asked, again, file, stream=stream)
            expected = (
                text,
                "" if asked in WITHOUT_THINKING else thinking,
                [] if asked in WITHOUT_TOOLS else calls,
                "stop" if asked in WITHOUT_REASON else reason,
            )
            assert heard(found) == expected, (recorded_stream, asked, stream)


@pytest.mark.parametrize(
    ("fault", "ending", "words"),
    [
        (Fault.cut(at_token=2), ExchangeEnding.CUT, b""),
        (Fault.reset(at_token=2), ExchangeEnding.RESET, b""),
        (Fault.truncated(at_token=2), ExchangeEnding.EOF, b""),
        (Fault.error("out of memory", at_token=2), ExchangeEnding.EOF, b"out of memory"),
        (Fault.status(503), ExchangeEnding.EOF, b"server busy"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else "",
)
@pytest.mark.parametrize("asked", ["/api/generate", "/v1/chat/completions", "/v1/messages"])
async def test_what_failed_at_one_endpoint_fails_at_another(
    tmp_path: Path, asked: str, fault: Fault, ending: ExchangeEnding, words: bytes
) -> None:
    """A half answer is never retold as a whole one."""
    file = tmp_path / "x.jsonl"
    script = Script(["a", "b", "c"], fault=fault, capabilities=ALL)
    tape = await recorded_at("/api/chat", script, file, stream=True)
    script = Script(Replay(tape), capabilities=ALL)
    again = await recorded_at(asked, script, file, stream=True)
    assert again.ending is ending
    if asked == "/api/generate" or fault.kind is FaultKind.STATUS:
        assert words in again.body  # Ollama's other endpoints leave out an error in the stream
    assert not is_whole(again.exchange) or b"error" in again.body


async def test_the_times_are_kept_at_another_endpoint() -> None:
    """At the speed that is asked for: two lines and the end, each two seconds later."""
    lines = [b'{"message":{"content":"a"},"done":false}\n', b'{"message":{},"done":true}\n']
    tape = ollama_recording(lines, gap=2.0)
    clock = VirtualClock()
    async with (
        FakeOllama({"m": Script(Replay(tape, speed=2))}, clock=clock) as fake,
        aiohttp.ClientSession() as http,
    ):
        began = clock.now
        asked = {"model": "m", "messages": HI, "stream": True}
        async with http.post(f"{fake.url}/v1/chat/completions", json=asked) as response:
            await response.read()
    assert clock.now - began == pytest.approx(3.0)


async def test_what_has_no_answer_of_a_model_is_not_retold() -> None:
    """It is an error that names the recorded endpoint."""
    tape = recording_of(
        [b'{"embeddings":[]}'],
        request=Request("POST", "http://x/api/embed"),
        content_type="application/json",
    )
    async with FakeOllama({"m": Script(Replay(tape))}) as fake:
        assert "a recording of /api/embed" in await said(fake)


async def test_the_answers_among_other_requests_are_found() -> None:
    """A client that first asks for the models leaves a recording of more than answers."""
    tags = exchange_of([b'{"models":[]}'], request=Request("GET", "http://x/api/tags"))
    both = Recording((tags,)).followed_by(conversation("a"))
    script = Script(Replay(both))
    async with (
        FakeOllama({"m": script}) as fake,
        openai.AsyncOpenAI(base_url=f"{fake.url}/v1", api_key="x") as client,
    ):
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}]
        )
    assert answer.choices[0].message.content == "a"
