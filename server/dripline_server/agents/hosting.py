"""All agents of a server: finds them by name, starts their answers, and outlives them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from dripline_server.agents.agent import Agent
from dripline_server.agents.agent_answer import AgentAnswer
from dripline_server.agents.agent_chat import Chat
from dripline_server.agents.openai_server import OPENAI, OpenAIServer
from dripline_server.run_log import RunLog
from dripline_server.runs.run_request import MakeAnswerer, RunRequest
from dripline_server.settings import Settings
from dripline_server.upstream.http_client import Record
from dripline_server.upstream.ollama import Model
from dripline_server.upstream.upstreams import Upstreams

logger = logging.getLogger(__name__)

# Seconds for agents that did not end in time to end after all when the server closes.
CLOSE_TIME = 1.0
FAMILY = "agent"
# Seconds for which a list of models is believed not to have a model that is asked for.
LIST_AGE = 10.0


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks an agent, besides the chat request itself.

    Attributes:
        request: The HTTP request.
        state: The application's state, from AG-UI.
        context: What the application tells, from AG-UI.
    """

    request: web.Request
    state: Any = None
    context: Sequence[Mapping[str, str]] = ()


class AgentHost:
    """The agents of a server. Close it with `close()`.

    Args:
        agents: The agents by name.
        demo_agents: Those that there are as long as the built-in fake stands in for Ollama.
        settings: The limits.
        upstreams: Gives the Ollama that agents can ask.

    Attributes:
        servers: The OpenAI-compatible servers, which answer for their models.
    """

    def __init__(
        self,
        agents: Mapping[str, Agent],
        demo_agents: Mapping[str, Agent],
        settings: Settings,
        upstreams: Upstreams,
    ) -> None:
        self._own = agents
        self._demo = demo_agents
        self._settings = settings
        self._upstreams = upstreams
        keys = settings.openai_api_keys
        self.servers = [
            OpenAIServer(
                url,
                keys[number] if number < len(keys) else "",
                stall_timeout=settings.stall_timeout,
                max_event_size=settings.max_upstream_line,
                think_tags=settings.think_tags == "auto",
            )
            for number, url in enumerate(settings.openai)
        ]
        # The tasks of agents that did not end when they were stopped.
        self._abandoned: set[asyncio.Task[None]] = set()

    @property
    def _agents(self) -> Mapping[str, Agent]:
        return {**self._demo, **self._own} if self._upstreams.demo else self._own

    def __contains__(self, name: str) -> bool:
        return name in self._agents

    def __iter__(self) -> Iterator[str]:
        return iter(self._agents)

    def __len__(self) -> int:
        return len(self._agents)

    def models(self) -> list[Model]:
        """Return the agents as entries of a list of models."""
        return [
            Model(
                name=agent.name,
                size=0,
                family=FAMILY,
                capabilities=[],
                loaded=None,
                description=agent.description,
            )
            for agent in self._agents.values()
        ]

    async def list_servers(self, age: float = 1.0) -> None:
        """Have the OpenAI-compatible servers list their models, unless they did within `age` s."""
        now = asyncio.get_running_loop().time()
        await asyncio.gather(
            *(server.list_models(now if server.failure else now - age) for server in self.servers)
        )

    def served_models(self) -> list[Model]:
        """Return the models of the OpenAI-compatible servers, as last listed."""
        found: dict[str, Model] = {}
        for server in self.servers:
            found = {**server.models, **found}
        return [
            model
            for name, model in found.items()
            if name not in self and name.removesuffix(":latest") not in self
        ]

    async def server_of(self, model: str) -> OpenAIServer | None:
        """Return the OpenAI-compatible server that has a model; None if none has."""
        found = self._known_server(model)
        if not found and self.servers:
            await self.list_servers(LIST_AGE)
            found = self._known_server(model)
        return found

    def _known_server(self, model: str) -> OpenAIServer | None:
        names = {model, f"{model}:latest"}  # Ollama's own `/v1` leaves the tag out too
        return next((one for one in self.servers if not names.isdisjoint(one.models)), None)

    def answering(self, name: str, server: OpenAIServer | None = None) -> MakeAnswerer:
        """Return what makes the answer in a run, whose request has an `Asker`.

        Args:
            name: The agent's name.
            server: If a model of this server answers instead.
        """
        settings = self._settings
        agent = Agent(OPENAI, server.answer) if server else self._agents[name]
        upstream = self._upstreams.current

        def make(
            run_id: str, log: RunLog, on_answer: Callable[[], object], record: Record | None
        ) -> AgentAnswer:
            def chat(asked: RunRequest) -> Chat:
                # Not kept here: the request may be megabytes, and ended runs are kept for a while.
                asker = asked.asker
                assert isinstance(asker, Asker)
                return Chat(
                    run_id,
                    asked,
                    asker.request,
                    upstream,
                    state=asker.state,
                    context=asker.context,
                    record=record,
                    think_tags=settings.think_tags == "auto",
                )

            return AgentAnswer(
                agent,
                run_id,
                log,
                chat,
                on_answer,
                stop_time=settings.agent_stop_time,
                # A server's own silence is noticed where its bytes arrive.
                stall_timeout=0 if server else settings.stall_timeout,
                abandon=self._abandon,
            )

        return make

    def _abandon(self, task: asyncio.Task[None]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    async def close(self) -> None:
        """Cancel the agents that did not end in time once more, and wait briefly for them."""
        for server in self.servers:
            await server.close()
        for task in self._abandoned:
            task.cancel()
        if self._abandoned:
            _, stuck = await asyncio.wait(self._abandoned, timeout=CLOSE_TIME)
            for task in stuck:
                logger.error("%s does not end when it is cancelled", task.get_name())
