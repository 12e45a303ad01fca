"""Finds out which models are in Ollama's memory, and what a silent chat waits for.

Ollama has no API that says what a request waits for. `/api/ps` lists the models in memory, with
several traps:

- It lists one name for each loaded model. Models with the same files share one entry.
- Ollama reloads a model that was loaded with another `num_ctx`.
- Older versions, such as 0.25, list a model while it is still loading. Its `expires_at` then moves
  with the clock, and stops moving once the model has answered.
- `/api/ps` itself hangs while a runner is stuck.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dripline_server.upstream.known_models import KnownModels
from dripline_server.upstream.model_names import canonical, is_remote
from dripline_server.upstream.ollama_lists import InMemory, Listed
from dripline_server.upstream.shared_answer import SharedAnswer, result_of

StatusPhase = Literal["loading", "waiting"]

# Seconds for which each of Ollama's answers is reused.
PS_FRESH = 0.5
TAGS_FRESH = 5.0
VERSION_FRESH = 60.0
# The longest wait, in seconds, for the list of models in memory.
PATIENCE = 2.0
# Seconds between two looks while a chat stays silent; the pauses grow from first to last.
FIRST_PAUSE, LAST_PAUSE = 2.0, 10.0
MAX_HEARD = 1000
# The first version that is known to list only models that are loaded completely.
LISTS_THE_LOADED = (0, 33)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Ollama's list of the models in memory, and the time of that answer."""

    at: float
    entries: Sequence[InMemory]


@dataclass(frozen=True, slots=True)
class _Look:
    """A model's state at one time: `entry` is None if it was not in memory."""

    at: float
    entry: InMemory | None


class ModelMemory:
    """Knows which models are in memory.

    Args:
        ps: Asks for `/api/ps`; raises UpstreamError.
        tags: Asks for `/api/tags`; raises UpstreamError.
        version: Asks for `/api/version`; raises UpstreamError.
        known: Ollama's details of each model.
    """

    def __init__(
        self,
        ps: Callable[[], Awaitable[list[InMemory]]],
        tags: Callable[[], Awaitable[list[Listed]]],
        version: Callable[[], Awaitable[str]],
        known: KnownModels,
    ) -> None:
        async def remember() -> _Memory:
            return _Memory(asyncio.get_running_loop().time(), await ps())

        self._ps = SharedAnswer(remember, PS_FRESH)
        self._tags = SharedAnswer(tags, TAGS_FRESH)
        self._version = SharedAnswer(version, VERSION_FRESH)
        self._known = known
        # Models that have answered since they were last missing from memory.
        self._heard: set[str] = set()
        # When one of them answered first or was unloaded: what was read before that is wrong.
        self._heard_at = 0.0

    async def close(self) -> None:
        """Cancel the open questions."""
        for shared in (self._ps, self._tags, self._version):
            await shared.close()

    async def listed(self) -> Sequence[InMemory] | None:
        """Return the models in memory; None if that is unknown."""
        memory = await self._ps.within(PATIENCE, self._heard_at)
        return None if memory is None else memory.entries

    async def find(self, memory: Sequence[InMemory], listed: Listed) -> InMemory | None:
        """Return a listed model's entry in memory; None if it is not there."""
        if found := _by_name(memory, listed.name):
            return found
        for entry in memory:
            if entry.digest and entry.digest == listed.digest:
                return entry
        alike = [entry for entry in memory if entry.details == listed.details]
        if alike:
            blobs = (await self._known.of_listed(listed.name, listed.digest)).blobs
            for entry in alike:
                if blobs and blobs == (await self._known.of(entry.name)).blobs:
                    return entry
        return None

    def note_answer(self, model: str) -> None:
        """Remember that a model answers, so that it is in memory."""
        if len(self._heard) >= MAX_HEARD:
            self._heard.clear()
        if canonical(model) not in self._heard:
            self._heard.add(canonical(model))
            self._heard_at = asyncio.get_running_loop().time()

    def note_change(self, model: str) -> None:
        """Forget what is known of a model in memory: it was unloaded or deleted."""
        self._heard.discard(canonical(model))
        self._heard_at = asyncio.get_running_loop().time()

    async def phases(self, model: str, context: int, after: float) -> AsyncGenerator[StatusPhase]:
        """Yield what a silent chat waits for, whenever that changes. Never ends by itself.

        Args:
            model: The model's name.
            context: How many tokens the request lets it see (`num_ctx`); 0 for Ollama's default.
            after: Seconds until the first phase.
        """
        began = asyncio.get_running_loop().time()
        asked = self._ps.begin()
        await asyncio.sleep(after)
        before = await self._look(result_of(asked), model, context)
        said: StatusPhase | None = None
        arrived = False  # the model was loaded while this chat was silent
        pause = FIRST_PAUSE
        while True:
            memory = await self._ps.within(PATIENCE, since=began)
            look = await self._look(memory, model, context)
            if said and before and before.entry is None and look:
                arrived = look.entry is not None
            phase = "waiting" if arrived else await self._phase(model, before, look)
            if phase != said:
                yield phase
                said = phase
            before = look or before
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LAST_PAUSE)

    async def _phase(self, model: str, before: _Look | None, look: _Look | None) -> StatusPhase:
        if is_remote(model) or (await self._known.of(model)).remote:
            return "waiting"
        if look is None:
            return "loading" if before and before.entry is None else "waiting"
        if look.entry is None:
            self._heard.discard(canonical(model))
            return "loading"
        heard = self._heard & {canonical(model), look.entry.name}
        if heard or not (before and await self._lists_while_loading()):
            return "waiting"
        return "loading" if before.entry is None or _expiry_moves(before, look) else "waiting"

    async def _lists_while_loading(self) -> bool:
        """Whether `/api/ps` may list a model that is not loaded yet."""
        numbers = re.match(r"v?(\d+)\.(\d+)", await self._version.within(PATIENCE) or "")
        return not numbers or (int(numbers[1]), int(numbers[2])) < LISTS_THE_LOADED

    async def _look(self, memory: _Memory | None, model: str, context: int) -> _Look | None:
        if memory is None:
            return None
        return _Look(memory.at, await self._find(memory.entries, model, context))

    async def _find(self, memory: Sequence[InMemory], model: str, context: int) -> InMemory | None:
        """Return the model's entry in memory, if it is loaded as the request needs it."""
        found = _by_name(memory, model)
        if found is None and memory:
            name = canonical(model)
            tags = await self._tags.within(PATIENCE) or []
            listed = next((one for one in tags if canonical(one.name) == name), None)
            found = await self.find(memory, listed) if listed else None
        if found and await self._is_loaded_anew(found, model, context):
            return None
        return found

    async def _is_loaded_anew(self, entry: InMemory, model: str, context: int) -> bool:
        if not (context and entry.context) or context == entry.context:
            return False
        # Ollama limits num_ctx to the most that the model can see.
        most = (await self._known.of(model)).context
        return not most or min(context, most) != entry.context


def _by_name(memory: Sequence[InMemory], model: str) -> InMemory | None:
    name = canonical(model)
    return next((entry for entry in memory if entry.name == name), None)


def _expiry_moves(before: _Look, look: _Look) -> bool:
    """Whether `expires_at` moves with the clock, so that the model is still loading."""
    if not (before.entry and look.entry and before.entry.expires and look.entry.expires):
        return False
    passed = look.at - before.at
    return passed > 0 and look.entry.expires - before.entry.expires > passed / 2
