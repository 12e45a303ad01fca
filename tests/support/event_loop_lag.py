"""What a busy machine takes from a test: how late the event loop is, while it is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK = 0.005


class EventLoopLag:
    """How much later than asked for the event loop has woken up.

    Attributes:
        total: Seconds, all together, since it was begun.
    """

    def __init__(self) -> None:
        self.total = 0.0

    async def measure(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.total += loop.time() - due


@asynccontextmanager
async def event_loop_lag() -> AsyncIterator[EventLoopLag]:
    """Measure while in the context."""
    lag = EventLoopLag()
    measuring = asyncio.create_task(lag.measure())
    try:
        yield lag
    finally:
        measuring.cancel()
        await asyncio.wait({measuring})
