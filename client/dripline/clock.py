"""Clocks that can be injected: the real one, and a virtual one for tests that never waits."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits; pass another clock to code whose timing you want to control."""

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
    """A clock that advances only when somebody sleeps, so that sleeping needs no time.

    Use it for one stream at a time, because the sleeps of several would add up.

    Attributes:
        now: The total of all sleeps, in seconds.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        """Start at the time of day `start_ns`, in nanoseconds since 1970."""
        self.now: float = 0.0
        self._start_ns = start_ns

    def time_ns(self) -> int:
        """Return the time of day in nanoseconds since 1970, UTC."""
        return self._start_ns + round(self.now * 1e9)

    def monotonic(self) -> float:
        """Return the total of all sleeps, in seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Advance the clock and let other tasks run; `math.inf` waits until cancelled."""
        if math.isinf(seconds):
            await forever()
        self.now += max(seconds, 0.0)
        await asyncio.sleep(0)


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
