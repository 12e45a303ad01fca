"""Retry with exponential backoff, random jitter and a limit."""

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
    """How to reconnect after a connection was lost or refused.

    The delays double from `first` to `longest`. Each is shortened by up to a half, at random.
    Without that, all clients of a restarted server would reconnect at the same moment.

    Attributes:
        first: The longest delay before the first attempt, in seconds.
        longest: The longest delay before any attempt, in seconds; a server may ask for more.
        attempts: How many attempts in a row may fail. With 0, the first loss is final.
        seconds: Give up if there was no connection for this long; no later attempt is made.
        clock: The clock for the delays; tests can pass their own.
        draw: Returns a random number from 0 to 1; tests can pass their own.

    Raises:
        ValueError: A number is negative; the message names it.
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
        """Return the seconds to wait after this many failed attempts."""
        # The bound is needed because 2.0 ** 1024 overflows; `longest` is reached long before.
        delay = min(self.longest, self.first * 2.0 ** min(failures, 1000))
        return delay * (1 - self.draw() / 2)


class Attempts:
    """Counts the attempts that failed in a row, and waits before the next one."""

    def __init__(self, backoff: Backoff) -> None:
        self.made: int = 0
        self._backoff = backoff
        self._clock = backoff.clock
        self._since: float | None = None
        self._due: float | None = None

    async def wait(self, at_least: float = 0.0) -> bool:
        """Wait until the next attempt is due; return False at once if there must be none.

        Safe to cancel: the next call waits for the rest of the delay.

        Args:
            at_least: Seconds that the server asked for; the backoff's delay is added.
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
        """Call this when there is a connection; it ends the time without one."""
        self._since = None

    def succeeded(self) -> None:
        """Call this when an attempt succeeded; it resets the number of attempts to 0."""
        self.made = 0


def may_pass(error: DriplineError) -> bool:
    """Return whether the error is temporary, so that the same request can succeed later."""
    match error:
        case RequestRefused():
            return error.retryable
        case ServerUnreachable() | ServerTimeout() | StreamTruncated():
            return True
        case _:
            return False
