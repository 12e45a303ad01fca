"""Every way that Ollama can fail is its own code, and never an answer."""

from __future__ import annotations

import aiohttp
import pytest

from dripline import ChatClient, End, Error, ErrorCode, RunFailed, Start, TextMessage
from dripline.recordings.splits import SplitPlan, every_byte, whole
from dripline.testing import FakeOllama, Fault, Script
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.support.stack import stack, user

TOKENS = ["One", " two", " three"]
# What orjson reads, and cannot write.
DEEP = b"[" * 300 + b"]" * 300

FAILURES: dict[str, tuple[Fault, ErrorCode, str]] = {
    "400": (Fault.status(400, "invalid options"), ErrorCode.OLLAMA_REFUSED, "invalid options"),
    "403": (Fault.status(403), ErrorCode.OLLAMA_REFUSED, "403"),
    "404": (Fault.status(404), ErrorCode.MODEL_NOT_FOUND, "ollama pull story"),
    "500": (Fault.status(500, "out of memory"), ErrorCode.OLLAMA_FAILED, "out of memory"),
    "503": (Fault.status(503), ErrorCode.OLLAMA_BUSY, "busy"),
    "error line at once": (Fault.error("boom"), ErrorCode.OLLAMA_FAILED, "boom"),
    "error line": (Fault.error("boom", at_token=2), ErrorCode.OLLAMA_ERROR, "boom"),
    "cut at once": (Fault.cut(), ErrorCode.UPSTREAM_CUT, "closed the connection"),
    "cut": (Fault.cut(at_token=2), ErrorCode.UPSTREAM_CUT, "closed the connection"),
    "reset at once": (Fault.reset(), ErrorCode.UPSTREAM_RESET, "reset"),
    "reset": (Fault.reset(at_token=2), ErrorCode.UPSTREAM_RESET, "reset"),
    "no done at once": (Fault.truncated(), ErrorCode.UPSTREAM_TRUNCATED, "before its end"),
    "no done": (Fault.truncated(at_token=2), ErrorCode.UPSTREAM_TRUNCATED, "before its end"),
    "stall at once": (Fault.stall(), ErrorCode.UPSTREAM_STALLED, "--stall-timeout"),
    "stall": (Fault.stall(at_token=2), ErrorCode.UPSTREAM_STALLED, "--stall-timeout"),
    "HTML": (Fault.garbage(at_token=2), ErrorCode.UPSTREAM_GARBAGE, "not JSON"),
    "half a line": (Fault.garbage(b'{"mess', at_token=2), ErrorCode.UPSTREAM_GARBAGE, "not JSON"),
    "a list": (Fault.garbage(b"[1]", at_token=2), ErrorCode.UPSTREAM_GARBAGE, "no chat chunk"),
    "a bad message": (
        Fault.garbage(b'{"message": "hi"}', at_token=2),
        ErrorCode.UPSTREAM_GARBAGE,
        "no chat chunk",
    ),
    "deep arguments": (
        Fault.garbage(
            b'{"message": {"tool_calls": [{"function": {"name": "f", "arguments": {"a": %b}}}]}}'
            % DEEP,
            at_token=2,
        ),
        ErrorCode.UPSTREAM_GARBAGE,
        "nested too deep",
    ),
    "a deep error": (
        Fault.garbage(b'{"error": %b}' % DEEP, at_token=2),
        ErrorCode.UPSTREAM_GARBAGE,
        "nested too deep",
    ),
    "invalid UTF-8": (
        Fault.garbage(b'{"message": {"content": "\xff"}}', at_token=2),
        ErrorCode.UPSTREAM_GARBAGE,
        "not JSON",
    ),
    "long line": (
        Fault.long_line(20_000, at_token=2),
        ErrorCode.UPSTREAM_LINE_TOO_LONG,
        "10,000 bytes",
    ),
}


@pytest.mark.parametrize(("fault", "code", "words"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("split", [whole, every_byte], ids=str)
async def test_a_failure_has_its_code(
    fault: Fault, code: ErrorCode, words: str, split: SplitPlan
) -> None:
    """What came before it is kept; then one `error`, one failed `end`, and the client raises."""
    script = Script(TOKENS, fault=fault, split=split)
    events = []
    async with stack(script, stall_timeout=1.0, loading_after=60.0, max_upstream_line=10_000) as s:
        with pytest.raises(RunFailed, match=words) as raised:
            async with s.client.chat("Hi") as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 - what came before the raise counts
        await s.ollama.chats[-1].wait_closed()
    start, *texts, error, end = events
    assert isinstance(start, Start)
    assert texts == [TextMessage(token) for token in TOKENS[: fault.at_token]]
    assert isinstance(error, Error)
    assert error.code == code
    assert error.retryable == code.retryable == raised.value.retryable
    assert isinstance(end, End)
    assert end.status == "failed"


async def test_no_ollama() -> None:
    """Nothing listens at the address: the message says how to start it."""
    async with stack(Script()) as s:
        await s.ollama.close()
        with pytest.raises(RunFailed, match="ollama serve") as raised:
            await s.client.ask("Hi")
    assert raised.value.code == ErrorCode.OLLAMA_UNREACHABLE


async def test_a_missing_model() -> None:
    """The message has the line that gets the model."""
    async with stack(Script()) as s:
        with pytest.raises(RunFailed, match="`ollama pull none`") as raised:
            await s.client.ask("Hi", model="none")
    assert raised.value.code == ErrorCode.MODEL_NOT_FOUND


async def test_what_the_model_cannot_do() -> None:
    """Ollama's own words reach the person."""
    async with stack(Script()) as s:
        with pytest.raises(RunFailed, match="does not support thinking") as raised:
            await s.client.ask("Hi", think=True)
    assert raised.value.code == ErrorCode.OLLAMA_REFUSED


async def test_the_password_in_ollamas_address_is_never_told() -> None:
    """It goes to Ollama alone: in no event, no answer about health or models."""
    async with FakeOllama({"story": Script("Blue.")}) as ollama:
        address = ollama.url.replace("//", "//user:hunter2@")
        async with (
            serve(Settings(port=0, ollama=address, model="story")) as server,
            ChatClient(server.url) as client,
            aiohttp.ClientSession() as http,
        ):
            assert (await client.ask("Hi")).text == "Blue."
            assert ollama.chats[0].headers["Authorization"].startswith("Basic ")
            await ollama.close()
            asked = [
                http.post(f"{server.url}/chat", json={"messages": user("Hi")}),
                http.get(f"{server.url}/health"),
                http.get(f"{server.url}/models"),
            ]
            for request in asked:
                async with request as response:
                    told = await response.text()
                assert "No Ollama answers at http://127.0.0.1:" in told
                assert "hunter2" not in told
