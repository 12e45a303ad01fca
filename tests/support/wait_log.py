"""Back-offs of minutes that take no time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from dripline import Backoff
from dripline.clock import VirtualClock


class WaitLog(VirtualClock):
    """A virtual clock that keeps each wait.

    Args:
        on_wait: Awaited in each wait, after its time has passed.

    Attributes:
        waits: In seconds.
    """

    def __init__(self, on_wait: Callable[[], Awaitable[None]] | None = None) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._on_wait = on_wait

    def backoff(self, **options: Any) -> Backoff:
        """A back-off by this clock, without chance: every wait is at its longest."""
        return Backoff(**{"clock": self, "draw": lambda: 0.0, **options})

    async def sleep(self, seconds: float) -> None:
        """Let the seconds pass."""
        await super().sleep(seconds)
        self.waits.append(seconds)
        if self._on_wait:
            await self._on_wait()
