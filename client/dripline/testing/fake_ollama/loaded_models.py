"""Which models are loaded: loading takes its time, and models leave when they are not used."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dripline.clock import Clock
from dripline.testing.fake_ollama.wire import ModelDetails


@dataclass(slots=True, eq=False)
class LoadedModel:
    """A model in memory.

    Attributes:
        name: Its canonical name.
        details: What Ollama tells about it.
        context_length: The context that it was loaded with.
        keep_alive: Seconds for which it stays after its last use.
        expires_at: When it leaves, on the monotonic clock, if nobody uses it until then.
        users: Requests that use it now.
    """

    name: str
    details: ModelDetails
    context_length: int
    keep_alive: float
    expires_at: float = math.inf
    users: int = 0


class Memory:
    """The models in memory; nothing runs in the background, expiry is looked at when asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._models: dict[str, LoadedModel] = {}
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def get(self, name: str) -> LoadedModel | None:
        """Return the model if it is loaded."""
        model = self._models.get(name)
        if model and not model.users and model.expires_at <= self._clock.monotonic():
            del self._models[name]
            return None
        return model

    def loaded(self) -> list[LoadedModel]:
        """Return all that are loaded; those that stay longest come first."""
        models = [model for name in list(self._models) if (model := self.get(name))]
        return sorted(models, key=lambda model: model.expires_at, reverse=True)

    def unload(self, name: str) -> None:
        """Drop a model, or let it go when the requests that use it have ended."""
        if model := self.get(name):
            model.keep_alive = 0.0
            self._expire(model)

    @asynccontextmanager
    async def use(
        self,
        name: str,
        details: ModelDetails,
        *,
        cold_load: float,
        keep_alive: float,
        context_length: int,
    ) -> AsyncIterator[float]:
        """Load the model if need be, and keep it while the body runs.

        Gives the seconds that loading took. Cancelled while it loads, it leaves nothing behind:
        the next request starts anew, as with Ollama, where a client that goes aborts the load.
        """
        model, seconds = await self._load(
            LoadedModel(name, details, context_length, keep_alive), cold_load
        )
        model.keep_alive = keep_alive
        model.users += 1
        self._expire(model)
        try:
            yield seconds
        finally:
            model.users -= 1
            self._expire(model)

    async def _load(self, model: LoadedModel, seconds: float) -> tuple[LoadedModel, float]:
        """Return the model that is loaded already, or load `model`; and the seconds it took."""
        async with self._loading[model.name]:
            if loaded := self.get(model.name):
                return loaded, 0.0
            await self._clock.sleep(seconds)
            self._models[model.name] = model
            return model, seconds

    def _expire(self, model: LoadedModel) -> None:
        model.expires_at = self._clock.monotonic() + model.keep_alive
