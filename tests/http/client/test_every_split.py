"""The client and the server, over real sockets, at every split of every recorded stream."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from dripline import ChatClient, DriplineError, Event
from dripline.events import Start, from_json
from dripline.http.backoff import Backoff
from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.splits import SplitPlan, two_way_splits, usual_splits
from dripline.sse import EventDecoder
from dripline.testing import Replay, Script
from tests.support.recorded import recorded
from tests.support.stack import Stack, stack

CHATS = recorded("chat")
OLLAMAS = recorded("ollama")


def every_split(recording: Recording) -> Iterator[SplitPlan]:
    """Every two-way split, and what finds the faults that two pieces cannot show."""
    yield from usual_splits
    yield from two_way_splits(len(recording.body))


async def read(client: ChatClient) -> tuple[list[Event], str]:
    """What the client says of one chat: its events, and what it raised."""
    events: list[Event] = []
    try:
        async with client.chat("Hi", model="m") as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 (what came before the raise counts)
    except DriplineError as error:
        return events, repr(error)
    return events, ""


@pytest.mark.parametrize("name", CHATS)
async def test_the_client(name: str) -> None:
    """Events and errors are those of the recording, whatever the pieces on the socket."""
    recording = CHATS[name]
    found = (from_json(event.data) for event in EventDecoder().feed(recording.body))
    expected = [event for event in found if event]
    errors = set()
    for plan in every_split(recording):
        async with (
            ReplayServer(recording, split=plan, speed=math.inf) as server,
            ChatClient(server.url, backoff=Backoff(attempts=0)) as client,
        ):
            events, error = await read(client)
        assert events == expected, str(plan)
        errors.add(error)
    assert len(errors) == 1


def essence(events: list[Event]) -> list[Event | str]:
    """The events without ids and figures that differ in every run."""
    return [
        type(event).__name__ if isinstance(event, Start) else getattr(event, "status", event)
        for event in events
    ]


@pytest.mark.parametrize("name", OLLAMAS)
async def test_the_server(name: str) -> None:
    """What a reader gets does not depend on the pieces in which Ollama's bytes came."""
    recording = OLLAMAS[name]
    # A recording that calls tools calls them whenever it is asked: twice is as good as nine times.
    async with stack({"m": Script(Replay(recording))}, max_tool_rounds=1) as s:
        expected = await answer(s)
        for plan in every_split(recording):
            s.ollama.models["m"] = Script(Replay(recording.split(plan)))
            events, error = await answer(s)
            assert (events, error) == expected, str(plan)
    assert bool(expected[1]) == (
        recording.ending is not ExchangeEnding.EOF or "error" in name or "trunc" in name
    )


async def answer(s: Stack) -> tuple[list[Event | str], str]:
    events, error = await read(s.client)
    return essence(events), error
