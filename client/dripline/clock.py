"""Time, so that it can be injected: the real one, and one in which nobody waits."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Protocol


class Clock(Protocol):
    """What paced things ask the time of, and wait with."""

    def time_ns(self) -> int:
        """Return the time of day in nanoseconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some point; they never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; `math.inf` waits until cancelled. Safe to cancel."""
        ...


class SystemClock:
    """The machine's clock."""

    def time_ns(self) -> int:
        """Return the time of day in nanoseconds since 1970, UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds since some point; they never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass; `math.inf` waits until cancelled. Safe to cancel."""
        await (forever() if math.isinf(seconds) else asyncio.sleep(seconds))


class VirtualClock:
    """A clock that only sleeping moves: a minute of pace passes at once.

    It is meant for one stream at a time: the sleeps of several add up.

    Attributes:
        now: Seconds that have been slept.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        """Start at the time of day `start_ns`, in nanoseconds since 1970."""
        self.now: float = 0.0
        self._start_ns = start_ns

    def time_ns(self) -> int:
        """Return the time of day in nanoseconds since 1970, UTC."""
        return self._start_ns + round(self.now * 1e9)

    def monotonic(self) -> float:
        """Return the seconds that have been slept."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move the clock and let other tasks run; `math.inf` waits until cancelled."""
        if math.isinf(seconds):
            await forever()
        self.now += max(seconds, 0.0)
        await asyncio.sleep(0)


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
