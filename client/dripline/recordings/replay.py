"""Replay a recorded stream in process, with any way of splitting it and at any speed."""

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

# Two line ends in a row. The group is atomic, so that CRLF counts as one line end and never as two.
BLANK_LINE = re.compile(rb"(?>\r\n|\r|\n){2}")


def check_speed(speed: float) -> None:
    """Check the speed of a replay.

    Raises:
        ValueError: It is not above 0.
    """
    if not speed > 0:
        raise ValueError(f"speed must be above 0 (math.inf: without pauses), not {speed}")


class Timing:
    """Waits for the recorded times of an exchange.

    Args:
        exchange: The exchange. Its request counts as sent when this object is created.
        speed: 1 is the recorded speed, 10 is ten times as fast, `math.inf` does not wait.
        clock: The clock to wait with.

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

        It waits for an absolute time, so that work in between does not add up to a delay.
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
    """Yield the body in the same way as `dripline.http.response_body.Body` when it was recorded.

    Safe to cancel and to close early.

    Args:
        recording: A recording of one exchange, or an exchange.
        split: How to split the body; a piece is yielded at the recorded time of its last byte.
        speed: 1 is the recorded speed, 10 is ten times as fast, `math.inf` does not wait.
        clock: The clock to wait with; a `VirtualClock` does not wait at all.

    Raises:
        BodyBroken: The recorded body broke off; see `ending_to_replay`. A recorded timeout is
            raised at its recorded time.
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
    """Return how a replay ends: as recorded, if that is known.

    Many clients close the connection after a stream's last event, so such a stream counts as
    complete. If the client left earlier, the rest is unknown, and the replay ends with a cut:
    a regular end would wrongly say that the answer is complete.
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
    """Return the rest of a recorded event stream after an event, as the answer to a new request.

    Args:
        exchange: The exchange.
        last_event_id: The id of the last event that was received.

    Returns:
        The exchange, or None if the stream has no such event.
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
    """Return the offset after the block that sets the id; None if no block does."""
    decoder = EventDecoder(max_event_size=len(body) + 1)
    start = 0
    for blank_line in BLANK_LINE.finditer(body):
        decoder.feed(body[start : blank_line.end()])
        start = blank_line.end()
        if decoder.last_event_id == last_event_id:
            return start
    return None
