"""Caches Ollama's details of its models, so that chats do not wait for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.model_names import canonical
from dripline_server.upstream.ollama_lists import Shown

logger = logging.getLogger(__name__)

# Seconds after which an entry is refreshed in the background.
FRESH = 60.0
# Seconds that the first chat with a model may be delayed.
PATIENCE = 1.0
# Names come from requests, so their number is limited.
MAX_NAMES = 1000
# How many models Ollama is asked about at the same time.
MAX_SHOWS = 4

Show = Callable[[str], Awaitable[Shown]]

_NOTHING = Shown()


@dataclass(slots=True)
class _Known:
    shown: Shown
    digest: str
    until: float
    lacks: frozenset[str] = frozenset()


class KnownModels:
    """The details and capabilities of models, by name. Unknown details are empty, not a "no".

    Args:
        show: Asks Ollama for one model; raises UpstreamError.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._turns = asyncio.Semaphore(MAX_SHOWS)
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Cancel the open questions."""
        tasks = set(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def of(self, name: str) -> Shown:
        """Return the details of a model, which may be a little out of date.

        Only the first question about a model waits, for at most `PATIENCE` seconds.
        """
        return (await self._find(name)).shown

    async def can(self, name: str, capability: str) -> bool | None:
        """Return whether a model has a capability; None if that is unknown."""
        known = await self._find(name)
        if capability in known.lacks:
            return False
        capabilities = known.shown.capabilities
        return capability in capabilities if capabilities else None

    async def of_listed(self, name: str, digest: str) -> Shown:
        """Return the details of a model that Ollama has just listed with this digest."""
        known = self._known.get(canonical(name))
        if known is None or known.digest != digest:
            try:
                async with self._turns:
                    known = self._learn(name, await self._show(name), digest)
            except UpstreamError as error:
                # The model is broken or has been deleted meanwhile. The others are still listed.
                logger.debug("a listed model is not shown: %s", error)
                return _NOTHING
        return known.shown

    def note_lack(self, name: str, capability: str) -> None:
        """Remember that Ollama refused a request because the model lacks a capability."""
        known = self._known.get(canonical(name)) or self._learn(name, _NOTHING, "")
        known.lacks |= {capability}

    async def _find(self, name: str) -> _Known:
        known = self._known.get(canonical(name))
        if known is None or known.until < asyncio.get_running_loop().time():
            asked = self._ask(name)
            if known is None:
                await asyncio.wait({asked}, timeout=PATIENCE)
                # Whether this failed or not, the next chat does not wait for it again.
                known = self._known.get(canonical(name)) or self._learn(name, _NOTHING, "", fresh=0)
        return known

    def _ask(self, name: str) -> asyncio.Task[None]:
        """Return the open question about a model; start one if there is none."""
        key = canonical(name)
        if key not in self._asking:
            task = asyncio.create_task(self._look_up(name), name=f"show {name}")
            task.add_done_callback(lambda _: self._asking.pop(key))
            self._asking[key] = task
        return self._asking[key]

    async def _look_up(self, name: str) -> None:
        try:
            self._learn(name, await self._show(name), "")
        except UpstreamError as error:
            # The chat itself will report what is wrong with the model or with Ollama.
            logger.debug("a model is not shown: %s", error)

    def _learn(self, name: str, shown: Shown, digest: str, *, fresh: float = FRESH) -> _Known:
        key = canonical(name)
        self._known.pop(key, None)
        while len(self._known) >= MAX_NAMES:
            del self._known[next(iter(self._known))]
        until = asyncio.get_running_loop().time() + fresh
        known = self._known[key] = _Known(shown, digest, until)
        return known
