"""Time that a test lets go on, token by token."""

from __future__ import annotations

import asyncio

from dripline.testing import VirtualClock


class GatedClock(VirtualClock):
    """A clock for the fake Ollama by which each token waits until the test lets it go.

    That needs a pace: what takes no time does not wait.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passes = asyncio.Semaphore(0)

    def let_go(self, count: int = 1) -> None:
        """Let so many more tokens go."""
        for _ in range(count):
            self._passes.release()

    async def sleep(self, seconds: float) -> None:
        """Wait for a pass, if there is anything to wait for."""
        if seconds > 0:
            await self._passes.acquire()
        await super().sleep(seconds)
