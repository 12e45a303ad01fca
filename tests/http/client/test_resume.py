"""Resuming: whatever happens to the connection, the loop sees each event once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dripline import (
    Backoff,
    ChatClient,
    End,
    EventsDropped,
    RequestRefused,
    RunGone,
    ServerTimeout,
    ServerUnreachable,
    StreamTruncated,
    TextMessage,
    TransportError,
)
from dripline.testing import Fault, Pace, Script
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.resuming import AT_ONCE, SHORT, TOOL, WORDS, read
from tests.support.scripted_server import Say, ScriptedServer, answer, frames, stream, texts
from tests.support.stack import Stack, stack
from tests.support.wait_log import WaitLog

END = '{"type":"end","data":{"status":"completed"}}'


@asynccontextmanager
async def proxied(
    script: Script, backoff: Backoff = AT_ONCE, **settings: object
) -> AsyncIterator[tuple[Stack, CuttingProxy, ChatClient]]:
    """Run the stack with a cutting proxy in front, and a client of the proxy."""
    async with (
        stack(script, **settings) as s,
        CuttingProxy(s.url) as proxy,
        ChatClient(proxy.url, backoff=backoff) as client,
    ):
        yield s, proxy, client


async def test_a_live_run_is_resumed() -> None:
    """Cut in the middle of a generation that goes on: what came meanwhile comes first."""
    script = Script(WORDS, pace=Pace(tokens_per_second=1000))
    async with proxied(script) as (s, proxy, client):
        proxy.cuts += [Cut(2000), Cut(2000), Cut(5000)]
        async with client.chat("Hi") as chat:
            events = await read(chat)
        assert chat.reconnects == 3
        assert [e.content for e in events if isinstance(e, TextMessage)] == WORDS
        assert len(s.ollama.chats) == 1


async def test_the_server_is_away_for_a_while() -> None:
    """Refused connections are tried again, after longer and longer waits, until one is taken."""
    async with stack(SHORT) as s, CuttingProxy(s.url) as proxy:

        async def come_back() -> None:
            if len(clock.waits) == 6:
                await proxy.listen()

        clock = WaitLog(come_back)
        drops: list[TransportError] = []
        client = ChatClient(
            proxy.url, backoff=clock.backoff(first=1, longest=10), on_drop=drops.append
        )
        async with client, client.chat("Hi", tools=[TOOL]) as chat:
            first = await anext(chat)
            await proxy.refuse()
            rest = [event async for event in chat]
    assert len([first, *rest]) == 7
    assert clock.waits == [1, 2, 4, 8, 10, 10]
    assert len(drops) == chat.reconnects == 1


async def test_giving_up_after_so_many_attempts() -> None:
    """A server that stays away: what came is kept, and the error says what failed, and why."""
    clock = WaitLog()
    async with (
        proxied(SHORT, clock.backoff(attempts=4)) as (_, proxy, client),
        client.chat("Hi", on_leave="detach") as chat,
    ):
        await anext(chat)
        await proxy.refuse()
        with pytest.raises(StreamTruncated, match=r"is it running.*attempts to attach again: 4"):
            [event async for event in chat]
        with pytest.raises(StreamTruncated) as raised:  # Not an end that looks like one.
            await anext(chat)
    assert isinstance(raised.value.__cause__, ServerUnreachable)
    assert raised.value.last_event_id == chat.last_event_id
    assert len(clock.waits) == 4


async def test_giving_up_after_so_many_seconds() -> None:
    """No attempt is made later than that after the connection was lost."""
    clock = WaitLog()
    async with (
        proxied(SHORT, clock.backoff(first=1, seconds=20)) as (_, proxy, client),
        client.chat("Hi", on_leave="detach") as chat,
    ):
        await proxy.refuse()
        with pytest.raises(StreamTruncated):
            [event async for event in chat]
    assert clock.waits == [1, 2, 4, 8]  # the next one would come at 25


async def test_no_resuming_where_none_is_wanted() -> None:
    """With no attempts allowed, the drop itself is raised."""
    async with proxied(SHORT, Backoff(attempts=0)) as (_, proxy, client):
        proxy.cuts.append(Cut(400))
        async with client.chat("Hi", on_leave="detach") as chat:
            with pytest.raises(StreamTruncated, match="connection closed in the middle"):
                [event async for event in chat]
        assert len(proxy.requests) == 1


async def test_attempts_count_in_a_row() -> None:
    """A connection that brings an event makes the next drop a first one: 30 drops, limit 1."""
    payloads = [*texts(*map(str, range(30))), END]
    says = [
        stream(frames(payload, first=seq), cut=True, X_Run_Id="r")
        for seq, payload in enumerate(payloads, start=1)
    ]
    clock = WaitLog()
    async with ScriptedServer(*says) as server:
        client = ChatClient(server.url, backoff=clock.backoff(first=3, attempts=1))
        async with client, client.chat("Hi") as chat:
            assert len(await read(chat)) == 31
    assert clock.waits == [3] * 30
    positions = [asked.headers.get("last-event-id") for asked in server.asked]
    assert positions == [None, *(b"%d" % n for n in range(1, 31))]


async def test_connections_that_bring_nothing_count() -> None:
    """A server that only ever sends heartbeats and hangs up is given up."""
    clock = WaitLog()
    hello = stream(frames(*texts("a")), cut=True, X_Run_Id="r")
    async with ScriptedServer(hello, stream(b": ping\n", cut=True)) as server:
        client = ChatClient(server.url, backoff=clock.backoff(attempts=5))
        async with client, client.chat("Hi", on_leave="detach") as chat:
            with pytest.raises(StreamTruncated):
                [event async for event in chat]
    assert len(server.asked) == 6


LATER = {
    "503": (answer(503, Retry_After="7"), 8),
    "429": (answer(429, Retry_After="7"), 8),
    "408": (answer(408), 1),
    "425": (answer(425), 1),
    "500": (answer(500), 1),
    "502 from a proxy": (answer(502, b"<html>Bad Gateway</html>", Content_Type="text/html"), 1),
    "a date": (
        answer(
            503,
            Date="Wed, 21 Oct 2026 07:28:00 GMT",
            Retry_After="Wed, 21 Oct 2026 07:28:30 GMT",
        ),
        31,
    ),
    "a date in the past": (answer(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"), 1),
    "nonsense": (answer(503, Retry_After="soon"), 1),
}


@pytest.mark.parametrize(("busy", "wait"), LATER.values(), ids=LATER)
async def test_a_status_that_can_pass(busy: Say, wait: float) -> None:
    """It is asked again, no sooner than `Retry-After` says."""
    clock = WaitLog()
    says = [stream(frames(*texts("a")), X_Run_Id="r"), busy, stream(frames(END, first=2))]
    async with ScriptedServer(*says) as server:
        client = ChatClient(server.url, backoff=clock.backoff(first=0.5))
        async with client, client.chat("Hi") as chat:
            assert len(await read(chat)) == 2
    assert clock.waits == [0.5, wait]


async def test_a_server_that_asks_for_too_much_time() -> None:
    """Where it would take longer than the limit, waiting is no use."""
    clock = WaitLog()
    says = [stream(frames(*texts("a")), X_Run_Id="r"), answer(503, Retry_After="3600")]
    async with ScriptedServer(*says) as server:
        client = ChatClient(server.url, backoff=clock.backoff(seconds=60))
        async with client, client.chat("Hi", on_leave="detach") as chat:
            with pytest.raises(StreamTruncated, match="503"):
                [event async for event in chat]
    assert clock.now < 1


FINAL = {
    "the run is gone": (answer(404), RunGone, "no such run"),
    "401": (answer(401), StreamTruncated, "HTTP 401"),
    "an unknown position": (answer(400), StreamTruncated, "HTTP 400"),
    "dropped, and said from where": (
        answer(410, X_First_Event_Id="40"),
        EventsDropped,
        "events after 1 have been discarded; the first available one is 40",
    ),
    "dropped": (answer(410), EventsDropped, "not known"),
    "nothing comes after it": (answer(204), StreamTruncated, "no events after it"),
}


@pytest.mark.parametrize(("final", "error", "words"), FINAL.values(), ids=FINAL)
async def test_a_status_that_cannot_pass(
    final: Say, error: type[TransportError], words: str
) -> None:
    """It is not asked again; what is raised names what happened."""
    says = [stream(frames(*texts("a")), X_Run_Id="r"), final]
    async with ScriptedServer(*says) as server:
        client = ChatClient(server.url, backoff=AT_ONCE)
        async with client, client.chat("Hi", on_leave="detach") as chat:
            with pytest.raises(error, match=words):
                [event async for event in chat]
    assert len(server.asked) == 2


async def test_the_server_was_restarted() -> None:
    """Another server in the same place does not know the run: that is said at once."""
    script = Script("Never ends", fault=Fault.stall(at_token=1))
    async with proxied(script) as (s, proxy, client):
        async with (
            serve(Settings(port=0, ollama=s.ollama.url)) as restarted,
            client.chat("Hi", on_leave="detach") as chat,
        ):
            await anext(chat)
            proxy.targets = (restarted.url,)
            await proxy.refuse()
            await proxy.listen()
            with pytest.raises(RunGone, match="restarted") as raised:
                [event async for event in chat]
        assert raised.value.run_id == chat.run_id
        assert isinstance(raised.value.__cause__, RequestRefused)


async def test_what_was_dropped_while_away() -> None:
    """The log went on without the reader and dropped what it had yet to get: never a silent gap."""
    async with stack(Script(WORDS), log_bytes=2000) as s, CuttingProxy(s.url) as proxy:

        async def wait_over() -> None:
            request = await s.ollama.wait_for_request()
            await request.wait_ended()
            while not (await s.http.get(f"{s.url}/runs/{chat.run_id}")).ok:
                pass

        clock = WaitLog(wait_over)
        async with ChatClient(proxy.url, backoff=clock.backoff()) as client:
            proxy.cuts.append(Cut(600))
            async with client.chat("Hi") as chat:
                with pytest.raises(EventsDropped) as raised:
                    [event async for event in chat]
            first = int(raised.value.first_event_id)
            assert first > int(raised.value.last_event_id) + 1
            async with client.attach(chat.run_id, after=first - 1) as rest:
                events = [event async for event in rest]
    assert isinstance(events[-1], End)


async def test_silence_is_a_drop() -> None:
    """Nothing for longer than the limit: the stream attaches again."""
    silent = stream(frames(*texts("a")), cut=True, then="silence", X_Run_Id="r")
    async with ScriptedServer(silent, stream(frames(END, first=2))) as server:
        client = ChatClient(server.url, backoff=AT_ONCE, silence_timeout=0.05)
        async with client, client.chat("Hi") as chat:
            assert len(await read(chat)) == 2
            assert chat.reconnects == 1


async def test_endless_silence_is_an_error() -> None:
    """Without resuming it is a `TimeoutError`, and with it the cause of what is raised."""
    silent = stream(frames(*texts("a")), cut=True, then="silence", X_Run_Id="r")
    async with ScriptedServer(silent, stream(b"", cut=True, then="silence")) as server:
        for attempts in (0, 2):
            client = ChatClient(
                server.url, backoff=replace(AT_ONCE, attempts=attempts), silence_timeout=0.05
            )
            async with client, client.attach("r", after=0) as chat:
                with pytest.raises(
                    (ServerTimeout, StreamTruncated), match=r"nothing for 0\.05 s"
                ) as r:
                    [event async for event in chat]
                error = r.value.__cause__ if attempts else r.value
                assert isinstance(error, TimeoutError)


async def test_a_server_that_does_not_name_its_run() -> None:
    """Without the run's id there is no way back."""
    async with ScriptedServer(stream(frames(*texts("a")), cut=True)) as server:
        client = ChatClient(server.url, backoff=AT_ONCE)
        async with client, client.chat("Hi") as chat:
            with pytest.raises(StreamTruncated):
                [event async for event in chat]
    assert len(server.asked) == 1


async def test_a_client_that_is_closed_resumes_nothing() -> None:
    """Its open streams end with an error, and no connection is made again."""
    async with proxied(Script(fault=Fault.stall(at_token=1))) as (_, proxy, client):
        async with client.chat("Hi", on_leave="detach") as chat:
            await anext(chat)
            await client.close()
            with pytest.raises(StreamTruncated, match="client is closed"):
                [event async for event in chat]
        assert len(proxy.requests) == 1
