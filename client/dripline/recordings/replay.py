"""A recorded stream again, in process: in its own pieces or others, in its own time or another."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import accumulate
from typing import Literal

from dripline.clock import Clock, SystemClock
from dripline.http.response_body import BodyBroken, Break
from dripline.recordings.exchange import Exchange, ExchangeEnding, Piece
from dripline.recordings.last_word import says_its_end
from dripline.recordings.recording import Recording, exchange_in
from dripline.recordings.splits import SplitPlan, as_recorded
from dripline.sse import EventDecoder

# Where a blank line may end. Atomic: CRLF is one line end, never two.
BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n){2}")


def check_speed(speed: float) -> None:
    """Check a speed.

    Raises:
        ValueError: It is not above 0.
    """
    if not speed > 0:
        raise ValueError(f"speed must be above 0 (math.inf: without pauses), not {speed}")


class Timing:
    """Waits for the times of an exchange.

    Args:
        exchange: The exchange; its request is sent when this is made.
        speed: 1 as recorded, 10 ten times as fast, `math.inf` without waiting.
        clock: What to wait with.

    Raises:
        ValueError: `speed` is not above 0.
    """

    def __init__(self, exchange: Exchange, speed: float, clock: Clock | None = None) -> None:
        check_speed(speed)
        self._speed = speed
        self._clock = clock or SystemClock()
        self._zero = exchange.started
        self._began = self._clock.monotonic()

    async def wait(self, at: float) -> None:
        """Wait until a time of the recording. Safe to cancel.

        From deadline to deadline, so that what is done in between does not slow the pace.
        """
        if math.isfinite(self._speed):
            due = self._began + (at - self._zero) / self._speed
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))


async def replay(
    recording: Recording | Exchange,
    *,
    split: SplitPlan = as_recorded,
    speed: float = 1.0,
    clock: Clock | None = None,
) -> AsyncGenerator[bytes]:
    """Yield the body as `dripline.http.response_body.Body` did when it was recorded.

    Safe to cancel and to close early.

    Args:
        recording: What to replay: a recording of one exchange, or one of its exchanges.
        split: How to cut it; a piece comes when its last byte came.
        speed: 1 as recorded, 10 ten times as fast, `math.inf` without waiting.
        clock: What to wait with; with a `VirtualClock` a minute takes no time.

    Raises:
        BodyBroken: The recorded body did not come to its end, see `ending_to_replay`. A recorded
            time-out is raised after its recorded time.
        ValueError: `speed` is not above 0, or the recording has several exchanges.
    """
    exchange = exchange_in(recording)
    timing = Timing(exchange, speed, clock)
    for piece in exchange.split(split).pieces:
        await timing.wait(piece.at)
        yield piece.data
    if exchange.ended is not None:
        await timing.wait(exchange.ended)
    match ending_to_replay(exchange):
        case "eof":
            return
        case broken:
            raise BodyBroken(broken)


def ending_to_replay(exchange: Exchange) -> Literal["eof"] | Break:
    """Return how a replay ends: as recorded, where that is known.

    Many clients leave as soon as the stream has said that it is over; then that was its end. What
    would have come after anything else that they left is not known: a cut says so.
    """
    match exchange.ending:
        case ExchangeEnding.EOF:
            return "eof"
        case ExchangeEnding.RESET:
            return "reset"
        case ExchangeEnding.TIMEOUT:
            return "timeout"
        case ExchangeEnding.CANCELLED if says_its_end(exchange.body):
            return "eof"
        case _:
            return "cut"


def resumed(exchange: Exchange, last_event_id: str) -> Exchange | None:
    """Return what is left of a recorded event stream after an event, as if it were asked for then.

    Args:
        exchange: The exchange.
        last_event_id: The id of the last event that came.

    Returns:
        None where the stream has no such event.
    """
    offset = _offset_after(exchange.body, last_event_id)
    if offset is None or exchange.response is None:
        return None
    pieces, now = [], exchange.response.at
    for piece, end in zip(exchange.pieces, accumulate(map(len, exchange.chunks)), strict=True):
        if end > offset:
            pieces.append(Piece(piece.at, piece.data[max(0, offset - end + len(piece.data)) :]))
        else:
            now = piece.at
    response = replace(exchange.response, at=now)
    return replace(exchange, started=now, response=response, pieces=tuple(pieces))


def _offset_after(body: bytes, last_event_id: str) -> int | None:
    """Return where the block ends that sets the id; None where none does."""
    decoder = EventDecoder(max_event_size=len(body) + 1)
    start = 0
    for blank_line in BLANK_LINE.finditer(body):
        decoder.feed(body[start : blank_line.end()])
        start = blank_line.end()
        if decoder.last_event_id == last_event_id:
            return start
    return None
