"""What models can do, known without making chats wait for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

# Seconds for which what is known is taken for true; then it is asked for again, in the background.
FRESH = 60.0
# Seconds for which the first chat with a model may be held up.
PATIENCE = 1.0
# Names come from requests, so what is kept of them is bounded.
MAX_NAMES = 1000
# Models listed about which Ollama is asked at once.
MAX_SHOWS = 4

Show = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(slots=True)
class _Known:
    capabilities: Sequence[str]
    digest: str
    until: float


class Capabilities:
    """The capabilities of models by name, such as "completion", "tools", "thinking", "vision".

    Args:
        show: Asks Ollama for those of one model.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._turns = asyncio.Semaphore(MAX_SHOWS)
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End the questions that are open."""
        tasks = set(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def of(self, name: str) -> Sequence[str]:
        """Return what a model can do, as Ollama said a while ago; nothing where that is not known.

        Only the first question for a model waits, for `PATIENCE` at most.
        """
        known = self._known.get(name)
        if known is None or known.until < asyncio.get_running_loop().time():
            asked = self._ask(name)
            if known is None:
                await asyncio.wait({asked}, timeout=PATIENCE)
                # Whatever went wrong, the next chat does not wait for it again.
                known = self._known.get(name) or self._learn(name, (), "", fresh=0)
        return known.capabilities

    async def of_listed(self, name: str, digest: str) -> Sequence[str]:
        """Return what a model can do that Ollama has just listed with this digest.

        Raises:
            ollama.ResponseError: Ollama cannot say.
        """
        known = self._known.get(name)
        if known is None or known.digest != digest:
            async with self._turns:
                known = self._learn(name, await self._show(name), digest)
        return known.capabilities

    def forget(self, name: str) -> None:
        """Hear that what is known of a model is wrong; the next chat goes without."""
        self._learn(name, (), "", fresh=0)

    def _ask(self, name: str) -> asyncio.Task[None]:
        """Return the one question that is open for a model."""
        if name not in self._asking:
            task = asyncio.create_task(self._look_up(name), name=f"capabilities of {name}")
            task.add_done_callback(lambda _: self._asking.pop(name))
            self._asking[name] = task
        return self._asking[name]

    async def _look_up(self, name: str) -> None:
        try:
            self._learn(name, await self._show(name), "")
        except Exception:
            # The chat itself says what is wrong with the model, or with Ollama.
            logger.debug("the capabilities of a model are not known", exc_info=True)

    def _learn(
        self, name: str, capabilities: Sequence[str], digest: str, *, fresh: float = FRESH
    ) -> _Known:
        self._known.pop(name, None)
        while len(self._known) >= MAX_NAMES:
            del self._known[next(iter(self._known))]
        known = self._known[name] = _Known(
            capabilities, digest, asyncio.get_running_loop().time() + fresh
        )
        return known
