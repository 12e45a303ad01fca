"""Trying again: after longer and longer waits, random ones, and not for ever."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dripline.clock import Clock, SystemClock
from dripline.errors import (
    DriplineError,
    RequestRefused,
    ServerTimeout,
    ServerUnreachable,
    StreamTruncated,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How to come back after a connection was lost or refused.

    The waits double from `first` to `longest`. Each is shortened by up to a half, at random, so
    that the clients of a server that was away do not all come back in the same moment.

    Attributes:
        first: Seconds before the first attempt, at the most.
        longest: Seconds before any attempt, at the most; a server can ask for more.
        attempts: How many in a row may fail; 0: the first loss is final.
        seconds: How long there may be no connection; no attempt is made later than that.
        clock: What it waits with; tests bring their own.
        draw: Gives a number from 0 to 1; the same.

    Raises:
        ValueError: A number is negative; names it.
    """

    first: float = 0.2
    longest: float = 10.0
    attempts: float = 10
    seconds: float = 60.0
    clock: Clock = field(default_factory=SystemClock)
    draw: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        for name in ("first", "longest", "attempts", "seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")

    def delay(self, failures: int) -> float:
        """Return the seconds before the next attempt, after so many that failed."""
        # 2.0 ** 1024 overflows; long before that, `longest` is reached.
        delay = min(self.longest, self.first * 2.0 ** min(failures, 1000))
        return delay * (1 - self.draw() / 2)


class Attempts:
    """The attempts that have been made in a row, and the wait for the next."""

    def __init__(self, backoff: Backoff) -> None:
        self.made: int = 0
        self._backoff = backoff
        self._clock = backoff.clock
        self._since: float | None = None
        self._due: float | None = None

    async def wait(self, at_least: float = 0.0) -> bool:
        """Wait for the next attempt's turn; returns False at once where there is to be none.

        Safe to cancel: the next call waits for what is left.

        Args:
            at_least: Seconds that the server asked for; the backoff comes on top.
        """
        if self._due is None:
            now = self._clock.monotonic()
            due = now + at_least + self._backoff.delay(self.made)
            if self._since is None:
                self._since = now
            if self.made >= self._backoff.attempts or due - self._since > self._backoff.seconds:
                return False
            self._due = due
        await self._clock.sleep(max(0.0, self._due - self._clock.monotonic()))
        self._due = None
        self.made += 1
        return True

    def connected(self) -> None:
        """Hear that there is a connection: the time without one is over."""
        self._since = None

    def succeeded(self) -> None:
        """Hear that an attempt brought what it was made for: the next one is a first one again."""
        self.made = 0


def may_pass(error: DriplineError) -> bool:
    """Return whether the same request can succeed later."""
    match error:
        case RequestRefused():
            return error.retryable
        case ServerUnreachable() | ServerTimeout() | StreamTruncated():
            return True
        case _:
            return False
