"""Each fault of the fake Ollama, as it shows on the wire and in the fake's own record."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import uvloop

from dripline.recordings.splits import every_byte
from dripline.testing import (
    Ending,
    FakeOllama,
    Fault,
    Phase,
    ReceivedChat,
    ReceivedRequest,
    Script,
)
from tests.support.raw_http import End, RawResponse, raw_exchange, texts

CHAT = {"model": "story", "messages": [{"role": "user", "content": "Hi"}]}
TOKENS = ["Once", " upon", " a time"]
BUSY = "server busy, please try again.  maximum pending requests exceeded"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a fault leads to.

    Attributes:
        status: The HTTP status; 0 where nothing comes.
        tokens: How many tokens come before it.
        last: What the line after them begins with; None where there is none.
        end: How the response ends.
        ended: What the fake says about it.
    """

    status: int
    tokens: int
    last: bytes | None
    end: End
    ended: Ending = Ending.FAULTED


STREAMS: dict[str, tuple[Fault, Seen]] = {
    "404": (
        Fault.status(404),
        Seen(404, 0, b'{"error":"model \'story\' not found"}', "complete"),
    ),
    "500": (Fault.status(500, "boom"), Seen(500, 0, b'{"error":"boom"}', "complete")),
    "503": (Fault.status(503), Seen(503, 0, b'{"error":"' + BUSY.encode(), "complete")),
    "error at once": (Fault.error("boom"), Seen(500, 0, b'{"error":"boom"}', "complete")),
    "error": (
        Fault.error("boom", at_token=2),
        Seen(200, 2, b'{"error":"boom"}\n', "complete"),
    ),
    "cut at once": (Fault.cut(), Seen(0, 0, None, "FIN")),
    "cut": (Fault.cut(at_token=2), Seen(200, 2, None, "FIN")),
    "truncated at once": (Fault.truncated(), Seen(200, 0, None, "complete")),
    "truncated": (Fault.truncated(at_token=2), Seen(200, 2, None, "complete")),
    "reset at once": (Fault.reset(), Seen(0, 0, None, "RST")),
    "reset": (Fault.reset(at_token=2), Seen(200, 2, None, "RST")),
    "garbage at once": (
        Fault.garbage(b"<html>"),
        Seen(200, 0, b"<html>\n", "complete", Ending.FINISHED),
    ),
    "garbage": (
        Fault.garbage(b'{"model":"st', at_token=2),
        Seen(200, 2, b'{"model":"st\n', "complete", Ending.FINISHED),
    ),
    "long line": (
        Fault.long_line(70_000, at_token=2),
        Seen(200, 2, b'{"model":"story"', "complete", Ending.FINISHED),
    ),
    "cut after the last token": (Fault.cut(at_token=3), Seen(200, 3, None, "FIN")),
    "cut beyond the last token": (Fault.cut(at_token=99), Seen(200, 3, None, "FIN")),
}


async def exchange(script: Script, **fields: object) -> tuple[RawResponse, ReceivedRequest]:
    """Chat with a script, and return what came and what the fake says about it."""
    async with FakeOllama({"story": script}) as ollama:
        response = await raw_exchange(ollama.url, "POST", "/api/chat", CHAT | fields)
        await ollama.requests[-1].wait_ended()
        return response, ollama.requests[-1]


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize(("fault", "seen"), STREAMS.values(), ids=STREAMS.keys())
def test_a_stream_fails_as_scripted(
    fault: Fault, seen: Seen, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """One row for each fault: status, tokens before it, what comes then, and how it ends."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        response, received = runner.run(exchange(Script(TOKENS, fault=fault)))
    assert (response.status, response.end) == (seen.status, seen.end)
    assert texts(response.lines[: seen.tokens]) == TOKENS[: seen.tokens]
    after = response.lines[seen.tokens :]
    assert after[0].startswith(seen.last) if seen.last else not after
    assert received.fault is fault
    assert received.ended is seen.ended
    assert received.status == (seen.status or None)
    assert received.tokens_sent == (len(TOKENS) if seen.ended is Ending.FINISHED else seen.tokens)


@pytest.mark.parametrize(
    "fault", [Fault.garbage(b"<html>", at_token=1), Fault.long_line(70_000, at_token=1)]
)
async def test_an_answer_goes_on_after_a_wrong_line(fault: Fault) -> None:
    """Garbage and long lines come in between; every token and `done` are there all the same."""
    response, _ = await exchange(Script(TOKENS, fault=fault))
    wrong = response.lines.pop(1)
    lines = [line for line in response.lines if line != wrong]
    assert texts(lines) == [*TOKENS, ""]
    assert json.loads(lines[-1])["done"] is True


async def test_a_long_line_is_as_long_as_scripted() -> None:
    """The line is a right chunk whose content has the size that was asked for."""
    response, _ = await exchange(Script(TOKENS, fault=Fault.long_line(70_000)))
    assert len(texts(response.lines)[0]) == 70_000


WHOLE: dict[str, tuple[Fault, int, End, bytes]] = {
    "error": (Fault.error("boom", at_token=2), 500, "complete", b'{"error":"boom"}'),
    "cut": (Fault.cut(at_token=2), 0, "FIN", b""),
    "reset": (Fault.reset(at_token=2), 0, "RST", b""),
    "garbage": (Fault.garbage(b"<html>", at_token=2), 200, "complete", b"<html>"),
}


@pytest.mark.parametrize(("fault", "status", "end", "body"), WHOLE.values(), ids=WHOLE.keys())
async def test_without_streaming_the_fault_comes_instead(
    fault: Fault, status: int, end: End, body: bytes
) -> None:
    """What would be sent at the end is replaced by what the fault leaves of it."""
    response, received = await exchange(Script(TOKENS, fault=fault), stream=False)
    assert (response.status, response.end, response.body) == (status, end, body)
    assert (received.ended, received.fault, received.tokens_sent) == (Ending.FAULTED, fault, 0)


async def test_without_streaming_a_truncated_answer_is_not_done() -> None:
    """The body is whole JSON with the text so far, and says that it is not the end."""
    fault = Fault.truncated(at_token=2)
    response, received = await exchange(Script(TOKENS, fault=fault), stream=False)
    answer = json.loads(response.body)
    assert (answer["message"]["content"], answer["done"]) == ("Once upon", False)
    assert received.ended is Ending.FAULTED


async def test_without_streaming_a_long_line_is_a_long_answer() -> None:
    """The one object becomes as large as the fault says."""
    fault = Fault.long_line(70_000, at_token=2)
    response, received = await exchange(Script(TOKENS, fault=fault), stream=False)
    assert json.loads(response.body)["message"]["content"] == f"Once upon{'x' * 70_000} a time"
    assert received.ended is Ending.FINISHED


@pytest.mark.parametrize("at_token", [0, 2])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_stall_lasts_until_the_client_leaves(at_token: int, stream: bool) -> None:
    """A stalled answer keeps its connection and says nothing; what ends it is the client."""
    script = Script(TOKENS, fault=Fault.stall(at_token=at_token))
    async with FakeOllama({"story": script}) as ollama:
        body = CHAT | {"stream": stream}
        client = asyncio.create_task(raw_exchange(ollama.url, "POST", "/api/chat", body))
        request = await ollama.wait_for_request()
        await request.wait_phase(Phase.STALLED)
        assert request.ended is None
        assert request.tokens_sent == (at_token if stream else 0)
        assert request.status == (200 if stream and at_token else None)
        client.cancel()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        with pytest.raises(asyncio.CancelledError):
            await client


async def test_a_fault_strikes_as_often_as_scripted() -> None:
    """With `times` the first chats fail, and the next ones go through."""
    script = Script(TOKENS, fault=Fault.status(503, times=2))
    async with FakeOllama({"story": script}) as ollama:
        statuses = [
            (await raw_exchange(ollama.url, "POST", "/api/chat", CHAT)).status for _ in range(4)
        ]
        assert statuses == [503, 503, 200, 200]
        assert [chat.fault is None for chat in ollama.chats] == [False, False, True, True]


async def test_only_answers_count_for_times() -> None:
    """Loading a model, and a request that is refused, do not use a fault up."""
    async with FakeOllama({"story": Script(TOKENS, fault=Fault.status(503, times=1))}) as ollama:
        load = await raw_exchange(ollama.url, "POST", "/api/chat", CHAT | {"messages": []})
        refused = await raw_exchange(ollama.url, "POST", "/api/chat", CHAT | {"think": True})
        struck = await raw_exchange(ollama.url, "POST", "/api/chat", CHAT)
    assert (load.status, refused.status, struck.status) == (200, 400, 503)


async def test_a_fault_meets_split_bytes() -> None:
    """A cut comes between two lines, however the lines are split."""
    script = Script(TOKENS, split=every_byte, fault=Fault.cut(at_token=2))
    response, received = await exchange(script)
    assert texts(response.lines) == TOKENS[:2]
    assert (response.end, received.tokens_sent) == ("FIN", 2)


async def test_a_script_that_raises_is_a_clear_500(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in a script's function reaches the client as an error, and the log in full."""

    def reply(_: ReceivedChat) -> str:
        raise KeyError("no such answer")

    with caplog.at_level(logging.ERROR):
        response, received = await exchange(Script(reply))
    assert response.status == 500
    assert json.loads(response.body) == {"error": "the script failed: KeyError('no such answer')"}
    assert "no such answer" in caplog.text
    assert received.ended is Ending.FINISHED
