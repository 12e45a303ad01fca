"""The requests that a replay server received, with their answers and how these ended."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from multidict import CIMultiDict

from dripline.clock import Clock
from dripline.recordings.exchange import Exchange, Request
from dripline.recordings.matching import address
from dripline.recordings.view import is_whole


class ReplayEnding(StrEnum):
    """How a replayed answer ended."""

    FINISHED = "finished"  # all of it was sent
    CLIENT_LEFT = "client left"  # the client closed the connection before the end
    BROKEN = "broken"  # the recorded cut or reset was repeated
    UNEXPECTED = "unexpected"  # the recording has no answer to the request
    SERVER_CLOSED = "server closed"  # the replay server was closed before the end


class ReplayedRequest:
    """A request, and the state of its answer. All times are in seconds on a monotonic clock.

    Attributes:
        request: The request, including its secrets.
        started_at: When the request arrived.
        exchange: The recorded exchange that answers it; None if it was not recorded.
        status: The HTTP status that was sent; None before that.
        ended: How the answer ended; None before that.
        ended_at: When the answer ended; None before that.
        pieces_sent: How many pieces of the body have been sent.
    """

    def __init__(self, request: Request, clock: Clock) -> None:
        self.request: Request = request
        self.exchange: Exchange | None = None
        self.status: int | None = None
        self.started_at: float = clock.monotonic()
        self.ended: ReplayEnding | None = None
        self.ended_at: float | None = None
        self.pieces_sent: int = 0
        self._clock = clock
        self._done = asyncio.Event()

    def __repr__(self) -> str:
        return f"<{address(self.request)}: {self.verdict}>"

    @property
    def method(self) -> str:
        """For example "POST"."""
        return self.request.method

    @property
    def path(self) -> str:
        """For example "/api/chat"."""
        return self.request.path

    @property
    def headers(self) -> CIMultiDict[str]:
        """The headers; their names are case-insensitive."""
        return CIMultiDict(self.request.headers)

    @property
    def seconds(self) -> float:
        """How many seconds the request was open, or has been open until now."""
        until = self._clock.monotonic() if self.ended_at is None else self.ended_at
        return until - self.started_at

    @property
    def got_whole_answer(self) -> bool:
        """Whether the answer was a success and was sent to its end."""
        if self.ended is not ReplayEnding.FINISHED or (self.status or 0) >= 400:
            return False
        return self.exchange is None or is_whole(self.exchange)

    @property
    def verdict(self) -> str:
        """What the client did, as words for the message of a failing test."""
        so_far = f"after {_pieces(self.pieces_sent)} and {self.seconds:.3f} s"
        match self.ended:
            case None:
                return f"still reading {so_far}"
            case ReplayEnding.FINISHED if not self.got_whole_answer:
                return f"got {self._half_answer()} {so_far}"
            case ReplayEnding.FINISHED:
                return f"got the whole answer {so_far}"
            case ReplayEnding.CLIENT_LEFT:
                return f"left {so_far}"
            case ReplayEnding.BROKEN:
                return f"met the {self.exchange.ending if self.exchange else 'cut'} {so_far}"
            case ReplayEnding.UNEXPECTED:
                return "was not in the recording"
            case ReplayEnding.SERVER_CLOSED:
                return f"was still reading when the server closed, {so_far}"

    def _half_answer(self) -> str:
        if self.status and self.status >= 400:
            return f"HTTP {self.status}"
        return "an answer without its last word"

    async def wait_ended(self) -> ReplayEnding:
        """Wait until its answer has ended, and return how. Safe to cancel."""
        while self.ended is None:
            await self._done.wait()
        return self.ended

    # Used by the replay server:

    def end(self, how: ReplayEnding) -> None:
        """Note how the answer ended; later calls do nothing."""
        if self.ended is None:
            self.ended = how
            self.ended_at = self._clock.monotonic()
            self._done.set()


def _pieces(number: int) -> str:
    return f"{number} piece" if number == 1 else f"{number} pieces"
