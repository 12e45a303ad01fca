"""One request to Ollama, shared by all callers that need its answer at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Asks a question once for all callers. A caller that is cancelled does not cancel it.

    Args:
        ask: Asks the question.
        fresh: Seconds for which an answer is reused.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], fresh: float) -> None:
        self._ask = ask
        self._fresh = fresh
        self._asked: asyncio.Task[T] | None = None
        self._asked_at = 0.0

    async def close(self) -> None:
        """Cancel the open question."""
        if self._asked:
            self._asked.cancel()
            await asyncio.wait({self._asked})

    def begin(self, since: float = 0.0) -> asyncio.Task[T]:
        """Return the question's task, which may be done. Do not cancel it: others wait for it too.

        Args:
            since: Ask again if the answer is older than this time of the event loop.
        """
        now = asyncio.get_running_loop().time()
        old = self._asked_at < max(now - self._fresh, since)
        if self._asked is None or (old and self._asked.done()):
            self._asked, self._asked_at = asyncio.create_task(self._answer()), now
            # Retrieve the exception: if all callers have left, asyncio would log it as never
            # retrieved.
            self._asked.add_done_callback(result_of)
        return self._asked

    async def within(self, seconds: float, since: float = 0.0) -> T | None:
        """Return the answer; None if it failed or did not arrive in this time."""
        asked = self.begin(since)
        await asyncio.wait({asked}, timeout=seconds)
        return result_of(asked)

    async def _answer(self) -> T:
        return await self._ask()


def result_of(asked: asyncio.Task[T]) -> T | None:
    """Return a question's answer; None if it failed or has not arrived yet."""
    good = asked.done() and not asked.cancelled() and asked.exception() is None
    return asked.result() if good else None
