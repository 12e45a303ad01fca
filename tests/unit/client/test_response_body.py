"""How long a body is waited for; the loop's time goes on when it is told to."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from dripline.http.response_body import MAX_PIECES, Body, BodyBroken

SILENCE = 10.0
# Twice as many bytes are taken.
LIMIT = 2**16


class LoopTime:
    """The running loop's clock and timers.

    Attributes:
        started: How many timers were started.
        running: How many of them have not ended.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started = 0
        self._now = 0.0
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        monkeypatch.setattr(self._loop, "time", lambda: self._now)
        monkeypatch.setattr(self._loop, "call_later", self._call_later)

    @property
    def running(self) -> int:
        return len([timer for timer in self._timers if not timer.cancelled()])

    def _call_later(self, delay: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        self.started += 1
        timer = asyncio.TimerHandle(self._now + delay, callback, args, self._loop)
        self._timers.append(timer)
        return timer

    async def go_on(self, seconds: float) -> None:
        """Let time pass, from when all tasks wait until they do again."""
        await _all_wait()
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer.when() <= end]:
            first = min(due)
            self._timers.remove(first)
            self._now = first.when()
            if not first.cancelled():
                first._run()
        self._now = end
        await _all_wait()


async def _all_wait() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class Connected(BaseProtocol):
    """A connection that brings nothing by itself."""

    @property
    def connected(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    return LoopTime(monkeypatch)


@pytest.fixture
async def content(time: LoopTime) -> aiohttp.StreamReader:
    loop = asyncio.get_running_loop()
    return aiohttp.StreamReader(Connected(loop), LIMIT, loop=loop)


@pytest.fixture
async def body(content: aiohttp.StreamReader) -> Body:
    response = SimpleNamespace(content=content, connection=None)
    return Body(cast("aiohttp.ClientResponse", response), SILENCE)


async def test_the_time_counts_anew_with_each_piece(
    time: LoopTime, content: aiohttp.StreamReader, body: Body
) -> None:
    """Pieces that come in time keep the connection; the silence after them ends it."""
    for _ in range(5):
        piece = asyncio.ensure_future(body.read())
        await time.go_on(SILENCE * 0.7)
        content.feed_data(b"a")
        assert await piece == b"a"
    piece = asyncio.ensure_future(body.read())
    await time.go_on(SILENCE * 0.9)
    assert not piece.done()
    await time.go_on(SILENCE * 0.2)
    with pytest.raises(BodyBroken, match="too long"):
        await piece
    with pytest.raises(BodyBroken, match="too long"):
        await body.read()


async def test_a_piece_costs_no_timer(
    time: LoopTime, content: aiohttp.StreamReader, body: Body
) -> None:
    """One runs for the whole connection."""
    for _ in range(100):
        piece = asyncio.ensure_future(body.read())
        await time.go_on(SILENCE / 1000)
        content.feed_data(b"a")
        assert await piece == b"a"
    assert time.started == 1


async def test_who_does_not_wait_is_not_kept_waiting(
    time: LoopTime, content: aiohttp.StreamReader, body: Body
) -> None:
    """Time in which nobody reads is no silence, and no timer runs on for it."""
    for _ in range(2):
        content.feed_data(b"a")
        assert await body.read() == b"a"
        await time.go_on(SILENCE * 5)
    assert time.started == 2
    piece = asyncio.ensure_future(body.read())
    await time.go_on(SILENCE * 0.9)
    content.feed_data(b"b")
    assert await piece == b"b"


async def test_no_timer_is_left_behind(
    time: LoopTime, content: aiohttp.StreamReader, body: Body
) -> None:
    """Closing ends it."""
    content.feed_data(b"a")
    await body.read()
    assert time.running == 1
    body.close()
    assert time.running == 0


async def test_all_that_came_is_read_before_an_error_is_told(
    content: aiohttp.StreamReader, body: Body
) -> None:
    """And the error is told each time."""
    content.feed_data(b"a")
    content.set_exception(aiohttp.ClientPayloadError())
    assert await body.read() == b"a"
    for _ in range(2):
        with pytest.raises(BodyBroken, match="closed in the middle"):
            await body.read()


@pytest.mark.parametrize("piece", [b"a", b"a" * 1000], ids=["by their number", "by their bytes"])
async def test_what_is_not_read_is_bounded(
    content: aiohttp.StreamReader, body: Body, piece: bytes
) -> None:
    """A read makes room for all that is to come."""
    for _ in range(3):
        sent = 0
        while not content._protocol._reading_paused:
            content.feed_data(piece)
            sent += 1
        assert sent == min(MAX_PIECES, 2 * LIMIT // len(piece) + 1)
        assert await body.read() == piece * sent
        assert not content._protocol._reading_paused


async def test_one_task_reads(content: aiohttp.StreamReader, body: Body) -> None:
    """Another one is told so, and the first one loses nothing."""
    first = asyncio.ensure_future(body.read())
    await _all_wait()
    with pytest.raises(RuntimeError, match="another task"):
        await body.read()
    content.feed_data(b"a")
    assert await first == b"a"


async def test_a_read_that_is_cancelled_loses_nothing(
    content: aiohttp.StreamReader, body: Body
) -> None:
    """Also where its piece has come already."""
    first = asyncio.ensure_future(body.read())
    await _all_wait()
    content.feed_data(b"a")
    first.cancel()
    content.feed_data(b"b")
    await _all_wait()
    assert first.cancelled()
    assert await body.read() == b"ab"
