"""What of Ollama's models is in memory, and what a silent chat waits for.

Nothing of Ollama's says what a request waits for. `/api/ps` says which models are in memory, and
that has to be read with care:

- It lists one name for each place in memory. Models that are read from the same files share one.
- A model that was loaded with another `num_ctx` is loaded anew.
- Older versions, such as 0.25, list a model that is still being loaded. Its `expires_at` moves on
  with the clock then, and stands still once the model has answered.
- It stands still itself while a runner is stuck.
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

# Seconds for which what Ollama has listed is taken for true.
PS_FRESH = 0.5
TAGS_FRESH = 5.0
VERSION_FRESH = 60.0
# Seconds for which anybody waits to know what is in memory.
PATIENCE = 2.0
# Seconds from one look to the next, while a chat stays silent: from the first to the last.
FIRST_PAUSE, LAST_PAUSE = 2.0, 10.0
MAX_HEARD = 1000
# The first version that is known to list only what is loaded.
LISTS_THE_LOADED = (0, 33)


@dataclass(frozen=True, slots=True)
class _Memory:
    """What Ollama said is in memory, and when."""

    at: float
    entries: Sequence[InMemory]


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a model: `entry` is None where it is not in memory."""

    at: float
    entry: InMemory | None


class ModelMemory:
    """Which models are in memory.

    Args:
        ps: Asks Ollama; raises UpstreamError, as the next ones.
        tags: The same.
        version: The same.
        known: What Ollama shows of models.
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
        # Models that have answered since they were last seen not to be in memory.
        self._heard: set[str] = set()

    async def close(self) -> None:
        """End the questions that are open."""
        for shared in (self._ps, self._tags, self._version):
            await shared.close()

    async def listed(self) -> Sequence[InMemory] | None:
        """Return what is in memory; None where nobody knows."""
        memory = await self._ps.within(PATIENCE)
        return None if memory is None else memory.entries

    async def find(self, memory: Sequence[InMemory], listed: Listed) -> InMemory | None:
        """Return where a listed model is in memory; None where it is not."""
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
        """Hear that a model answers, so that it is in memory."""
        if len(self._heard) >= MAX_HEARD:
            self._heard.clear()
        self._heard.add(canonical(model))

    async def phases(self, model: str, context: int, after: float) -> AsyncGenerator[StatusPhase]:
        """Say what a silent chat waits for, each time that it is something else. Never ends.

        Args:
            model: The model's name.
            context: How many tokens the request lets it see (`num_ctx`); 0: as Ollama likes.
            after: Seconds until the first.
        """
        began = asyncio.get_running_loop().time()
        asked = self._ps.begin()
        await asyncio.sleep(after)
        before = await self._look(result_of(asked), model, context)
        said: StatusPhase | None = None
        arrived = False  # seen to be loaded while this chat was silent
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
        """Return where the model is in memory as the request needs it; None where it is not."""
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
        # Ollama gives no model more than it can see.
        most = (await self._known.of(model)).context
        return not most or min(context, most) != entry.context


def _by_name(memory: Sequence[InMemory], model: str) -> InMemory | None:
    name = canonical(model)
    return next((entry for entry in memory if entry.name == name), None)


def _expiry_moves(before: _Look, look: _Look) -> bool:
    """Return whether the model has not answered yet since it was loaded."""
    if not (before.entry and look.entry and before.entry.expires and look.entry.expires):
        return False
    passed = look.at - before.at
    return passed > 0 and look.entry.expires - before.entry.expires > passed / 2
