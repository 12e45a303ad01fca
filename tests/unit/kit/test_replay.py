"""Replay in process: exact pieces, injected time, the recorded ending."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dripline.clock import VirtualClock
from dripline.http.response_body import BodyBroken
from dripline.recordings.recording import ExchangeEnding
from dripline.recordings.replay import replay
from dripline.recordings.splits import (
    SplitPlan,
    as_recorded,
    every_byte,
    inside_characters,
    seeded,
    whole,
)
from tests.support.recordings import exchange_of, recording_of


@pytest.mark.parametrize("split", [as_recorded, whole, every_byte, inside_characters, seeded(1)])
async def test_the_pieces_are_those_of_the_split(split: SplitPlan) -> None:
    """Every byte comes, cut as asked."""
    pieces = ["Grü".encode()[:3], "üße\r".encode()[1:], b"\n\n"]
    recording = recording_of(pieces)
    came = [piece async for piece in replay(recording, split=split, speed=math.inf)]
    assert came == split(pieces)


@pytest.mark.parametrize(("speed", "times"), [(1, [60, 120]), (10, [6, 12]), (math.inf, [0, 0])])
async def test_a_minute_takes_no_time(speed: float, times: list[float]) -> None:
    """Pieces come at their recorded times by the clock that is injected."""
    clock = VirtualClock()
    recording = recording_of([b"a", b"b"], gap=60.0)
    came = [clock.now async for _ in replay(recording, speed=speed, clock=clock)]
    assert came == pytest.approx(times)


async def test_what_the_reader_takes_does_not_slow_the_pace() -> None:
    """Each piece has its own deadline."""
    clock, came = VirtualClock(), []
    async for _ in replay(recording_of([b"a", b"b", b"c", b"d"]), clock=clock):
        came.append(clock.now)
        clock.now += 1.5 if len(came) == 1 else 0.25
    assert came == [1.0, 2.5, 3.0, 4.0]


async def test_a_part_that_began_late_replays_from_its_own_start() -> None:
    """The second exchange of a file does not wait for the first one's time."""
    late = exchange_of([b"a"], gap=60.0)
    clock = VirtualClock()
    async for _ in replay(replace(late, started=20.0), clock=clock):
        assert clock.now == 40.0


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        (ExchangeEnding.EOF, None),
        (ExchangeEnding.CUT, "cut"),
        (ExchangeEnding.RESET, "reset"),
        (ExchangeEnding.TIMEOUT, "timeout"),
        (ExchangeEnding.CANCELLED, "cut"),
        (ExchangeEnding.UNFINISHED, "cut"),
    ],
)
async def test_the_ending_is_the_recorded_one(ending: ExchangeEnding, how: str | None) -> None:
    """After the last byte, and only an EOF is one."""
    came = bytearray()

    async def read() -> None:
        async for piece in replay(recording_of([b"a", b"b"], ending=ending), speed=math.inf):
            came.extend(piece)

    if how:
        with pytest.raises(BodyBroken) as raised:
            await read()
        assert raised.value.how == how
    else:
        await read()
    assert came == b"ab"


@pytest.mark.parametrize(
    "last",
    [
        b'id: 9\ndata: {"type":"end","data":{"status":"completed"}}\n\n',
        b"data: [DONE]\n\n",
        b'{"message":{"content":""},"done":true}\n',
    ],
)
async def test_a_reader_that_left_after_the_last_word_had_it_all(last: bytes) -> None:
    """Its replay is complete; one that left a byte before is cut."""
    recording = recording_of([b": ping\n", last], ending=ExchangeEnding.CANCELLED)
    came = [piece async for piece in replay(recording, speed=math.inf)]
    assert b"".join(came) == recording.body
    left_before = recording_of([last[:-2]], ending=ExchangeEnding.CANCELLED)
    with pytest.raises(BodyBroken, match="closed in the middle"):
        async for _ in replay(left_before, speed=math.inf):
            pass


@pytest.mark.parametrize("speed", [0, -1, math.nan])
async def test_a_speed_that_is_none(speed: float) -> None:
    """Is refused."""
    with pytest.raises(ValueError, match="speed must be above 0"):
        await anext(replay(recording_of([b"a"]), speed=speed))
