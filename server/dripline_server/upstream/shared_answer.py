"""One question to Ollama for all who ask it at about the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """Asks at most once in a while, whoever asks; one of them leaving does not end the question.

    Args:
        ask: Asks.
        fresh: Seconds for which an answer is given again.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], fresh: float) -> None:
        self._ask = ask
        self._fresh = fresh
        self._asked: asyncio.Task[T] | None = None
        self._asked_at = 0.0

    async def close(self) -> None:
        """End the question that is open."""
        if self._asked:
            self._asked.cancel()
            await asyncio.wait({self._asked})

    def begin(self, since: float = 0.0) -> asyncio.Task[T]:
        """Return the question, which may have its answer. Do not cancel it: others wait too.

        Args:
            since: A question that was answered and is from before this time, the event loop's, is
                asked anew.
        """
        now = asyncio.get_running_loop().time()
        old = self._asked_at < max(now - self._fresh, since)
        if self._asked is None or (old and self._asked.done()):
            self._asked, self._asked_at = asyncio.create_task(self._answer()), now
            # Nobody may be left to hear of a failure, and that is none of theirs.
            self._asked.add_done_callback(result_of)
        return self._asked

    async def within(self, seconds: float, since: float = 0.0) -> T | None:
        """Return the answer; None where there is none in this time, or none at all."""
        asked = self.begin(since)
        await asyncio.wait({asked}, timeout=seconds)
        return result_of(asked)

    async def _answer(self) -> T:
        return await self._ask()


def result_of(asked: asyncio.Task[T]) -> T | None:
    """Return a question's answer; None where there is none yet, or none at all."""
    good = asked.done() and not asked.cancelled() and asked.exception() is None
    return asked.result() if good else None
