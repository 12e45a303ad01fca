"""Attach, stop, leave and cancel: the client's side of detach, reattach and stop."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dripline import (
    Backoff,
    ChatClient,
    ChatStream,
    End,
    EventsDropped,
    RequestError,
    RequestRefused,
    RunFailed,
    RunGone,
    Start,
    TextMessage,
)
from dripline.chat import run_stream
from dripline.testing import Ending, Fault, Pace, Phase, Script
from tests.support.cutting_proxy import CuttingProxy
from tests.support.scripted_server import Say, ScriptedServer, answer, frames, stream, texts
from tests.support.stack import Stack, stack

STALLS = Script(["One", " two"], fault=Fault.stall(at_token=2))
THREE = Script(["One", " two", " three"])


async def text_of(events: ChatStream) -> str:
    """Read a stream to its end."""
    return "".join([event.content async for event in events if isinstance(event, TextMessage)])


async def test_attach_reads_from_the_start_or_after_an_event() -> None:
    """A run that is over is read again, whole or in part; ids go on where they were."""
    async with stack(THREE) as s:
        async with s.client.chat("Hi") as chat:
            whole = [event async for event in chat]
        async with s.client.attach(chat.run_id) as again:
            assert [event async for event in again] == whole
            assert again.last_event_id == chat.last_event_id == "5"
        for after in (2, "2"):
            async with s.client.attach(chat.run_id, after=after) as rest:
                assert rest.run_id == chat.run_id
                assert rest.last_event_id == "2"
                assert await text_of(rest) == " two three"
                assert rest.answer.text == " two three"


async def test_attach_after_the_last_event_has_no_events() -> None:
    """Nothing is left, and nothing was lost."""
    async with stack(THREE) as s:
        answered = await s.client.ask("Hi")
        async with s.client.attach(answered.run_id, after=5) as rest:
            assert [event async for event in rest] == []
            await rest.stop()


async def test_attach_follows_a_run_that_goes_on() -> None:
    """A second reader sees what the first saw, and then the same as it."""
    async with (
        stack(STALLS) as s,
        s.client.chat("Hi") as first,
        s.client.attach(first.run_id) as second,
    ):
        for _ in range(3):
            assert await anext(first) == await anext(second)
        await first.stop()
        assert [event async for event in first] == [event async for event in second]


async def test_a_failure_is_a_failure_for_whoever_attaches_late() -> None:
    """Also where only the `end` is left to read, the `error` having come before."""
    async with stack(Script(["One"], fault=Fault.error("boom", at_token=1))) as s:
        with pytest.raises(RunFailed, match="boom"):
            async with s.client.chat("Hi") as chat:
                await text_of(chat)
        error_id = int(chat.last_event_id) - 1
        async with s.client.attach(chat.run_id, after=error_id) as rest:
            assert isinstance(await anext(rest), End)
            for _ in range(2):
                with pytest.raises(RunFailed):
                    await anext(rest)


REFUSED: dict[str, tuple[str, object, type[Exception], str]] = {
    "no such run": ("none", 0, RunGone, "no such run"),
    "a position to come": ("", 99, RequestRefused, "not reached 99"),
    "no id": ("", -1, ValueError, "after must be"),
    "no number": ("", "five", ValueError, "after must be"),
    "an unusual digit": ("", "\u0665", ValueError, "after must be"),
    "no run": ("..", 0, ValueError, "run_id must be"),
    "a path": ("../../health", 0, RunGone, "no such run"),
}


@pytest.mark.parametrize(("run_id", "after", "error", "words"), REFUSED.values(), ids=REFUSED)
async def test_attach_where_it_cannot(
    run_id: str, after: str | int, error: type[Exception], words: str
) -> None:
    """It raises at once, and says which of the two is wrong."""
    async with stack(THREE) as s:
        known = (await s.client.ask("Hi")).run_id
        with pytest.raises(error, match=words):
            async with s.client.attach(run_id or known, after=after):
                pass


async def test_attach_to_what_has_been_dropped() -> None:
    """The error says from where on it can be had."""
    async with stack(Script(["word"] * 200), log_bytes=1000) as s:
        answered = await s.client.ask("Hi")
        with pytest.raises(EventsDropped) as raised:
            async with s.client.attach(answered.run_id):
                pass
        first = int(raised.value.first_event_id)
        async with s.client.attach(answered.run_id, after=first - 1) as rest:
            assert await text_of(rest)


async def test_stop_ends_the_stream_and_the_model() -> None:
    """The stream goes on to `end` "cancelled"; stopping again does nothing."""
    async with stack(STALLS) as s, s.client.chat("Hi") as chat:
        request = await s.ollama.wait_for_request()
        await request.wait_phase(Phase.STALLED)
        await chat.stop()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        await chat.stop()
        events = [event async for event in chat]
        await chat.stop()
    assert isinstance(events[-1], End)
    assert events[-1].status == "cancelled"


async def test_stop_by_another_task() -> None:
    """The usual case: a button is pressed while a task waits for the next token."""
    async with stack(STALLS) as s, s.client.chat("Hi") as chat:
        reading = asyncio.create_task(text_of(chat))
        await (await s.ollama.wait_for_request()).wait_phase(Phase.STALLED)
        await chat.stop()
        assert await reading == "One two"
    assert chat.answer.end
    assert chat.answer.end.status == "cancelled"


async def test_stop_with_nothing_but_the_id() -> None:
    """`client.stop(run_id)`: does nothing to a run that is over, and says where there is none."""
    async with stack(STALLS) as s:
        async with s.client.chat("Hi", on_leave="detach") as chat:
            await s.ollama.wait_for_request()
        await s.client.stop(chat.run_id)
        assert await (await s.ollama.wait_for_request()).wait_ended() is Ending.CLIENT_LEFT
        await s.client.stop(chat.run_id)
        with pytest.raises(RunGone):
            await s.client.stop("none")


async def leave_by_break(s: Stack, chat: ChatStream) -> None:
    async with chat:
        async for _ in chat:
            await s.ollama.wait_for_request()
            break


async def leave_by_exception(s: Stack, chat: ChatStream) -> None:
    with suppress(ZeroDivisionError):
        async with chat:
            await s.ollama.wait_for_request()
            raise ZeroDivisionError


async def leave_unread(s: Stack, chat: ChatStream) -> None:
    async with chat:
        await s.ollama.wait_for_request()


async def leave_by_cancellation(s: Stack, chat: ChatStream) -> None:
    async def read() -> None:
        async with chat:
            await text_of(chat)

    reading = asyncio.create_task(read())
    await (await s.ollama.wait_for_request()).wait_phase(Phase.STALLED)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def leave_by_timeout(s: Stack, chat: ChatStream) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), chat:
            await text_of(chat)


WAYS_OUT = [
    leave_by_break,
    leave_by_exception,
    leave_unread,
    leave_by_cancellation,
    leave_by_timeout,
]


@pytest.mark.parametrize("leave", WAYS_OUT)
async def test_leaving_stops_the_run(leave: Callable[..., object]) -> None:
    """Whichever way out is taken, Ollama's socket is closed: no grace time is waited for."""
    async with stack(STALLS, grace=10_000) as s:
        await leave(s, chat := s.client.chat("Hi"))  # type: ignore[misc]
        async with s.client.attach(chat.run_id) as again:
            assert [event async for event in again][-1].status == "cancelled"  # type: ignore[union-attr]
        for request in s.ollama.chats:  # none, where time was up before Ollama was asked
            assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_leaving_can_detach_instead() -> None:
    """The run goes on without a reader, and can be read to its end later."""
    async with stack(STALLS, grace=10_000) as s:
        async with s.client.chat("Hi", on_leave="detach") as chat:
            assert isinstance(await anext(chat), Start)
        request = await s.ollama.wait_for_request()
        await request.wait_phase(Phase.STALLED)
        async with s.client.attach(chat.run_id, after=chat.last_event_id) as again:
            assert await anext(again) == TextMessage("One")
        # Whoever only attached does not stop it, unless that was asked for.
        assert request.ended is None
        async with s.client.attach(chat.run_id, on_leave="stop"):
            pass
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_leaving_at_the_end_stops_nothing() -> None:
    """Nor is anything asked of the server again."""
    async with stack(THREE) as s, CuttingProxy(s.url) as proxy:
        async with ChatClient(proxy.url) as client, client.chat("Hi") as chat:
            await text_of(chat)
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("on_disconnect", ["stop", "continue"])
async def test_a_request_can_say_what_a_disconnect_does(on_disconnect: str) -> None:
    """With "stop": at once; with "continue": not even when the server's grace time is over."""
    grace = 10_000 if on_disconnect == "stop" else 0
    async with stack(Script(["a"] * 50, pace=Pace(tokens_per_second=500)), grace=grace) as s:
        fields = {"on_disconnect": on_disconnect}
        async with s.client.chat("Hi", on_leave="detach", **fields) as chat:  # type: ignore[arg-type]
            await anext(chat)
            await s.ollama.wait_for_request()
        expected = Ending.CLIENT_LEFT if on_disconnect == "stop" else Ending.FINISHED
        assert await (await s.ollama.wait_for_request()).wait_ended() is expected


async def test_cancelling_again_still_stops_the_run() -> None:
    """A second and a third cancellation, while the server is being told, lose nothing."""
    hello = stream(frames(*texts("a")), cut=True, then="silence", X_Run_Id="r")
    async with ScriptedServer(hello, answer(202, then="silence")) as server:
        held = asyncio.Event()

        async def read() -> None:
            async with ChatClient(server.url) as client, client.chat("Hi") as chat:
                await anext(chat)
                held.set()
                await anext(chat)

        reading = asyncio.create_task(read())
        await held.wait()
        reading.cancel()
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert [(asked.method, asked.path) for asked in server.asked] == [
            ("POST", "/chat"),
            ("DELETE", "/runs/r"),
        ]


UNSTOPPABLE = {
    # What the server does, how long leaving may take, and what the warning says.
    "silent": (Say(b"", "silence"), 0.05, "no answer within 0.05 s"),
    "refusing": (answer(503), 60, "HTTP 503"),
    "resetting": (Say(b"", "RST"), 60, "is it running"),
}


@pytest.mark.parametrize(("says", "limit", "words"), UNSTOPPABLE.values(), ids=UNSTOPPABLE)
async def test_leaving_a_server_that_cannot_be_told(
    says: Say,
    limit: float,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Leaving takes no longer than its limit and raises nothing; a warning says that it goes on."""
    monkeypatch.setattr(run_stream, "LEAVE_TIMEOUT", limit)
    hello = stream(frames(*texts("a")), cut=True, then="silence", X_Run_Id="run-1234567890")
    async with ScriptedServer(hello, says) as server, ChatClient(server.url) as client:
        with caplog.at_level(logging.WARNING):
            async with client.chat("Hi") as chat:
                await anext(chat)
    assert words in caplog.text
    assert "run-1234" in caplog.text
    assert "run-12345" not in caplog.text  # Knowing the whole id is the right to read the run.


async def test_stopping_a_run_that_is_gone() -> None:
    """What the server does not know any more has been stopped: reading on says that it is gone."""
    hello = stream(frames(*texts("a")), cut=True, X_Run_Id="r")
    async with (
        ScriptedServer(hello, answer(404)) as server,
        ChatClient(server.url) as client,
        client.chat("Hi") as chat,
    ):
        await chat.stop()
        with pytest.raises(RunGone):
            [event async for event in chat]


async def test_stopping_a_run_without_a_name() -> None:
    """A server that does not name its runs can be read, but not told to stop."""
    async with ScriptedServer(stream(frames(*texts("a")), then="silence")) as server:
        async with ChatClient(server.url) as client, client.chat("Hi") as chat:
            with pytest.raises(RequestError, match="not named the run"):
                await chat.stop()
        assert len(server.asked) == 1


def test_cancelled_steps_lose_nothing() -> None:
    """A loop that gives up waiting, does something else, and waits again gets every event once."""
    tokens = [f"{n} " for n in range(40)]
    with asyncio.Runner() as runner:
        running = AsyncExitStack()
        script = Script(tokens, pace=Pace(tokens_per_second=5000))
        s = runner.run(running.enter_async_context(stack(script)))

        @given(st.lists(st.integers(0, 12), max_size=40))
        @settings(max_examples=50, deadline=None)
        def follow(patience: list[int]) -> None:
            runner.run(follow_impatiently(patience))

        async def follow_impatiently(patience: list[int]) -> None:
            events = []
            turns = iter(patience)
            async with s.client.chat("Hi") as chat:
                while True:
                    step = asyncio.ensure_future(anext(chat, None))
                    if (patient_for := next(turns, None)) is not None:
                        for _ in range(patient_for):
                            await asyncio.sleep(0)
                        step.cancel()
                    try:
                        event = await step
                    except asyncio.CancelledError:
                        continue
                    if event is None:
                        break
                    events.append(event)
            assert [e.content for e in events if isinstance(e, TextMessage)] == tokens
            assert isinstance(events[-1], End)
            assert chat.reconnects == 0

        follow()
        runner.run(running.aclose())


async def test_a_cancelled_resumption_goes_on() -> None:
    """Also while it waits to attach again: the next step waits for what is left of the time."""
    clock = _StuckClock()
    says = [
        stream(frames(*texts("a")), cut=True, X_Run_Id="r"),
        stream(frames(*texts("b"), first=2)),
    ]
    async with ScriptedServer(*says) as server:
        client = ChatClient(server.url, backoff=Backoff(first=8, clock=clock, draw=lambda: 0.0))
        async with client, client.chat("Hi", on_leave="detach") as chat:
            await anext(chat)
            for passed in (3, 4, 1):
                step = asyncio.ensure_future(anext(chat))
                await clock.wait_asked()
                step.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await step
                clock.now += passed
            clock.stuck = False
            assert await anext(chat) == TextMessage("b")
    assert clock.waits == [8, 5, 1, 0]


class _StuckClock:
    """A clock whose waits last until they are cancelled."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stuck = True
        self.waits: list[float] = []
        self._asked = asyncio.Event()

    def time_ns(self) -> int:
        raise NotImplementedError

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._asked.set()
        if self.stuck:
            await asyncio.sleep(math.inf)

    async def wait_asked(self) -> None:
        """Wait until somebody sleeps."""
        await self._asked.wait()
        self._asked.clear()


async def test_a_stream_is_used_inside_its_context_and_entered_once() -> None:
    """A chat is never sent twice by mistake, and misuse does not look like an end."""
    async with stack(THREE) as s:
        chat = s.client.chat("Hi")
        with pytest.raises(RuntimeError, match="async with"):
            await anext(chat)
        async with chat:
            await anext(chat)
            await s.ollama.wait_for_request()
        with pytest.raises(RuntimeError, match="entered only once"):
            await chat.__aenter__()
        with pytest.raises(RuntimeError, match="async with"):
            [event async for event in chat]
        assert len(s.ollama.chats) == 1
