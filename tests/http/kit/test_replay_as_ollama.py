"""A recording of Ollama's own bytes is a model of the fake Ollama."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import ollama
import pytest

from dripline import RunFailed
from dripline.clock import VirtualClock
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.splits import every_byte
from dripline.testing import (
    Ending,
    FakeOllama,
    Fault,
    Pace,
    Replay,
    Reply,
    Script,
)
from tests.support.recordings import recording_of
from tests.support.stack import stack

TOKENS = ["Es", " wär", " ✓", " emal"]


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
    recording = recording_of([b'{"message":{"content":"a"}}\n'], ending=ExchangeEnding.TIMEOUT)
    async with stack(Script(Replay(recording)), stall_timeout=0.3) as s:
        with pytest.raises(RunFailed) as raised:
            await s.client.ask("Hi")
        assert await s.ollama.chats[0].wait_ended() is Ending.CLIENT_LEFT
    assert raised.value.code == "upstream_stalled"
    assert s.ollama.chats[0].tokens_sent == 1


async def test_the_pace_is_the_recorded_one(tmp_path: Path) -> None:
    """At the speed that is asked for; without one, no time passes."""
    recording = recording_of([b"{}\n", b"{}\n"], gap=60.0)
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
