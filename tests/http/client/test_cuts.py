"""Connections cut at any byte, on one server and on several: nothing is lost or comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dripline import ChatClient, End, Event, ServerUnreachable, Start, TextMessage, Usage
from dripline.testing import Pace, Script
from dripline_server.app import serve
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.redis_server import redis_server
from tests.support.resuming import AT_ONCE, SHORT, TOOL, WORDS, read
from tests.support.stack import Stack, stack


@pytest.fixture(scope="module", params=["memory", "redis"])
def run_log(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "memory":
        yield "memory"
    else:
        with redis_server() as redis:
            yield redis.url


@asynccontextmanager
async def cut_off(script: Script, run_log: str) -> AsyncIterator[tuple[Stack, CuttingProxy]]:
    """Run the stack behind a cutting proxy; on Redis it is two servers, which take turns."""
    async with stack(script, run_log=run_log) as s, AsyncExitStack() as others:
        urls = [s.url]
        if run_log != "memory":
            twin = await others.enter_async_context(serve(s.server.state.settings))
            urls.append(twin.url)
        yield s, await others.enter_async_context(CuttingProxy(*urls))


def comparable(events: Sequence[Event]) -> list[Event]:
    """Leave out what differs from one run to the next."""
    known: list[Event] = []
    for event in events:
        match event:
            case Start():
                known.append(replace(event, run_id=""))
            case End(status, reason):
                known.append(End(status, reason, Usage()))
            case _:
                known.append(event)
    return known


@pytest.mark.timeout(600)
async def test_a_chat_is_cut_at_every_byte(run_log: str) -> None:
    """Cut, resumed, compared: the text and the ids are exact, and nothing comes twice.

    Where the cut is inside the headers nobody knows the run's id: that is raised, and the chat is
    not sent again. Even offsets end in FIN, odd ones in RST.
    """
    async with cut_off(SHORT, run_log) as (s, proxy):
        async with s.client.chat("Hi", tools=[TOOL]) as whole:
            expected = comparable(await read(whole))
        raised = resumed = 0
        for offset in count():
            cut = Cut(offset, "RST" if offset % 2 else "FIN")
            proxy.cuts.append(cut)
            before = len(proxy.requests)
            async with ChatClient(proxy.url, backoff=AT_ONCE) as client:
                try:
                    async with client.chat("Hi", tools=[TOOL]) as chat:
                        assert comparable(await read(chat)) == expected
                        assert chat.answer.run_id == chat.run_id
                except ServerUnreachable:
                    assert resumed == 0
                    raised += 1
                else:
                    resumed += chat.reconnects
            asked = [request.split()[0] for request in proxy.requests[before:]]
            assert asked in (["POST"], ["POST", "GET"])
            if cut not in proxy.done:
                break
    assert raised > 100
    assert resumed > 400


@pytest.mark.timeout(600)
async def test_an_attached_stream_is_cut_at_every_byte() -> None:
    """The same for a connection that resumes: with its headers cut, too, nothing is lost.

    Even offsets end in RST, odd ones in FIN.
    """
    async with cut_off(SHORT, "memory") as (s, proxy):
        async with s.client.chat("Hi", tools=[TOOL]) as whole:
            expected = await read(whole)
        for offset in count():
            cut = Cut(offset, "FIN" if offset % 2 else "RST")
            # The first connection brings no event, so that the second one has them all to bring.
            proxy.cuts += [Cut(300), cut]
            async with (
                ChatClient(proxy.url, backoff=AT_ONCE) as client,
                client.attach(whole.run_id) as attached,
            ):
                assert await read(attached) == expected
            if cut not in proxy.done:
                break
        assert offset > 600


CUT = st.builds(Cut, st.integers(0, 3000), st.sampled_from(["FIN", "RST"]))


def test_any_series_of_cuts(run_log: str) -> None:
    """A long answer arrives exactly, wherever and however often the connection is cut."""
    with asyncio.Runner() as runner:
        running = AsyncExitStack()
        # It comes live, while the cuts are going on.
        script = Script(WORDS, pace=Pace(tokens_per_second=20_000))
        _, proxy = runner.run(running.enter_async_context(cut_off(script, run_log)))

        @given(st.lists(CUT, max_size=30))
        @settings(max_examples=30, deadline=None)
        def follow(cuts: list[Cut]) -> None:
            runner.run(follow_through(cuts))

        async def follow_through(cuts: list[Cut]) -> None:
            proxy.cuts.clear()
            # The first connection brings the headers, so that the run is known.
            proxy.cuts += [Cut(500), *cuts]
            before = len(proxy.requests)
            async with ChatClient(proxy.url, backoff=AT_ONCE) as client, client.chat("Hi") as chat:
                events = await read(chat)
            assert [e.content for e in events if isinstance(e, TextMessage)] == WORDS
            assert len(events) == len(WORDS) + 2
            assert proxy.requests[before:].count("POST /chat") == 1
            assert 1 <= chat.reconnects <= len(cuts) + 1

        follow()
        runner.run(running.aclose())
