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

    def answering(self, name: str) -> MakeAnswerer:
        """Return what makes an agent's answer in a run, whose request has an `Asker`."""
        agent, settings = self._agents[name], self._settings
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
                stall_timeout=settings.stall_timeout,
                abandon=self._abandon,
            )

        return make

    def _abandon(self, task: asyncio.Task[None]) -> None:
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)

    async def close(self) -> None:
        """Cancel the agents that did not end in time once more, and wait briefly for them."""
        for task in self._abandoned:
            task.cancel()
        if self._abandoned:
            _, stuck = await asyncio.wait(self._abandoned, timeout=CLOSE_TIME)
            for task in stuck:
                logger.error("%s does not end when it is cancelled", task.get_name())
