"""Who sends a request, and what that caller may do. Every handler finds it in `request[CALLER]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from dripline_server.upstream.model_names import means


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and their own limits, beside those of the server.

    Attributes:
        name: The name of their token; "" for DRIPLINE_TOKEN, and for all if the server needs no
            token. A run belongs to the name that started it.
        max_runs: How many of their runs may be active at once in this process; None if only
            `--max-runs` limits that.
        models: The models that they may use: names, or patterns such as "qwen3:*". Empty for all.
        allow_model_changes: Whether they may pull, create, copy and delete models; None if the
            server's own setting decides.
    """

    name: str = ""
    max_runs: int | None = None
    models: tuple[str, ...] = ()
    allow_model_changes: bool | None = None

    def may_use(self, model: str) -> bool:
        """Whether they may use this model, by any of its names."""
        return not self.models or any(means(pattern, model) for pattern in self.models)

    def may_change_models(self, by_default: bool) -> bool:
        """Whether they may pull, create, copy and delete models.

        Args:
            by_default: The server's own setting.
        """
        return by_default if self.allow_model_changes is None else self.allow_model_changes


# Everybody, if the server needs no token; else whoever has DRIPLINE_TOKEN.
UNNAMED: Final = Caller()

# The caller of a request. Missing only in a request without a token to a path that needs none.
CALLER = web.RequestKey("CALLER", Caller)
