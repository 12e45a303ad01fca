"""Which models are loaded: loading takes its time, and models leave when they are not used."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dripline.clock import Clock
from dripline.testing.fake_ollama.go.go_writing import NANOSECONDS, go_time
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.stored_models import StoredModel

_FOREVER = (1 << 63) - 1  # Go's longest duration, in nanoseconds: 292 years


@dataclass(slots=True, eq=False)
class LoadedModel:
    """A model in memory, or on its way there.

    Attributes:
        model: By the name that it was first asked for; others of the same weights share it.
        context_length: The context that it is loaded with.
        keep_alive: Seconds for which it stays after its last use.
        loading: Whether it is still on its way.
        expires_at: When it leaves, on the monotonic clock, if nobody uses it until then.
        users: Requests that use it now.
        unused: Set while nobody does.
    """

    model: StoredModel
    context_length: int
    keep_alive: float
    loading: bool = True
    expires_at: float = math.inf
    users: int = 0
    unused: asyncio.Event = field(default_factory=asyncio.Event)


class Memory:
    """The models in memory; nothing runs in the background, expiry is looked at when asked."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._models: dict[str, LoadedModel] = {}
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def get(self, model: StoredModel) -> LoadedModel | None:
        """Return the model if it is loaded."""
        loaded = self._current(model.blob)
        return None if loaded is None or loaded.loading else loaded

    def _current(self, blob: str) -> LoadedModel | None:
        model = self._models.get(blob)
        unused = model and not model.loading and not model.users
        if model and unused and model.expires_at <= self._clock.monotonic():
            del self._models[blob]
            return None
        return model

    def shown(self, *, loading: bool) -> list[JsonValue]:
        """Return what `/api/ps` shows. What stays longest comes first.

        Args:
            loading: Whether it shows what is still loading too.
        """
        now, now_ns = self._clock.monotonic(), self._clock.time_ns()
        models = [
            model
            for blob in list(self._models)
            if (model := self._current(blob)) and (loading or not model.loading)
        ]
        left = {
            model: model.keep_alive if model.loading else model.expires_at - now for model in models
        }
        models.sort(key=left.__getitem__, reverse=True)
        return [_shown(model, now_ns + _nanoseconds(left[model])) for model in models]

    def unload(self, model: StoredModel) -> None:
        """Drop a model, or let it go when the requests that use it have ended."""
        if loaded := self.get(model):
            loaded.keep_alive = 0.0
            self._expire(loaded)

    @asynccontextmanager
    async def use(
        self,
        model: StoredModel,
        *,
        cold_load: float,
        keep_alive: float,
        keeps: bool = True,
        context_length: int | None = None,
    ) -> AsyncIterator[tuple[LoadedModel, float]]:
        """Load the model if need be, and keep it while the body runs.

        Gives it, and the seconds that loading took. Cancelled while it loads, it leaves nothing
        behind: the next request starts anew, as with Ollama, where a client that goes aborts the
        load.

        Args:
            model: Which one.
            cold_load: The seconds that loading takes.
            keep_alive: The seconds that it stays.
            keeps: Whether these hold too where it is loaded already.
            context_length: The context that it is to have; another one loads it anew. None leaves
                it as it is.
        """
        trained = model.details.context_length
        wanted = min(context_length, trained) if context_length else None
        loaded, seconds = await self._load(model, wanted, keep_alive, cold_load)
        if keeps:
            loaded.keep_alive = keep_alive
        loaded.users += 1
        loaded.unused.clear()
        self._expire(loaded)
        try:
            yield loaded, seconds
        finally:
            loaded.users -= 1
            if not loaded.users:
                loaded.unused.set()
            self._expire(loaded)

    async def _load(
        self, model: StoredModel, context: int | None, keep_alive: float, seconds: float
    ) -> tuple[LoadedModel, float]:
        """Return the model that is loaded already, or load it; and the seconds it took."""
        async with self._loading[model.blob]:
            if loaded := self.get(model):
                if context in (None, loaded.context_length):
                    return loaded, 0.0
                if loaded.users:
                    await loaded.unused.wait()
            fresh = LoadedModel(model, context or model.details.context_length, keep_alive)
            self._models[model.blob] = fresh
            try:
                await self._clock.sleep(seconds)
            except BaseException:
                del self._models[model.blob]
                raise
            fresh.loading = False
            return fresh, seconds

    def _expire(self, model: LoadedModel) -> None:
        model.expires_at = self._clock.monotonic() + model.keep_alive


def _shown(loaded: LoadedModel, expires_ns: int) -> JsonValue:
    details = loaded.model.details
    in_gpu = details.size if details.size_vram is None else details.size_vram
    name = loaded.model.name.shortest
    return {
        "name": name,
        "model": name,
        "size": details.size,
        "digest": loaded.model.digest,
        "details": details.to_json(),
        "expires_at": go_time(expires_ns),
        "size_vram": in_gpu,
        "context_length": loaded.context_length,
    }


def _nanoseconds(seconds: float) -> int:
    return _FOREVER if math.isinf(seconds) else min(round(seconds * NANOSECONDS), _FOREVER)
