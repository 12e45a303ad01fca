"""The parts that all handlers share, one of each for the life of an app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from dripline.tool import Tool
from dripline_server.agents.hosting import AgentHost
from dripline_server.callers import Caller
from dripline_server.event_stream import Pulse
from dripline_server.known_tokens import KnownTokens
from dripline_server.metrics import Metrics
from dripline_server.run_log import RunLogs
from dripline_server.runs.records import RunRecords
from dripline_server.runs.registry import RunRegistry
from dripline_server.settings import Settings
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.upstreams import Upstreams


@dataclass(frozen=True, slots=True)
class AppState:
    """The parts of a running server.

    Attributes:
        settings: The options.
        upstreams: Ollama, or the fake that stands in for it.
        agents: The agents.
        offers_models: Whether chats can be answered by Ollama's models, and not by agents alone.
        tools: The server's tools that every chat may use.
        runs: All runs.
        logs: The runs' logs.
        pulse: Looks after the open streams.
        metrics: The metrics.
        records: The recordings of its runs.
        tokens: The tokens that are valid now.
    """

    settings: Settings
    upstreams: Upstreams
    agents: AgentHost
    offers_models: bool
    tools: Sequence[Tool]
    runs: RunRegistry
    logs: RunLogs
    pulse: Pulse
    metrics: Metrics
    records: RunRecords
    tokens: KnownTokens

    @property
    def upstream(self) -> Ollama:
        """The upstream that answers now."""
        return self.upstreams.current

    @property
    def demo(self) -> str:
        """A sentence that says why the fake stands in for Ollama; "" if it does not."""
        return self.upstreams.demo

    @property
    def default_model(self) -> str:
        """The model or agent for requests that name none; "" if there is no default."""
        if not self.offers_models and not self.settings.model and len(self.agents) == 1:
            return next(iter(self.agents))
        if self.agents.servers and not self.settings.names_ollama and not self.settings.model:
            served = self.agents.served_models()
            if len(served) == 1 and not len(self.agents):
                return served[0].name
        return self.upstreams.default_model(self.settings.model)

    def default_model_of(self, caller: Caller) -> str:
        """Return the default model; "" if there is none, or the caller may not use it."""
        model = self.default_model
        return model if caller.may_use(model) else ""


STATE = web.AppKey("STATE", AppState)
