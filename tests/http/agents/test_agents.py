"""Agents: async generators of the user's own answer chats as Ollama's models do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dripline import (
    ChatClient,
    End,
    Event,
    RunFailed,
    Start,
    TextMessage,
)
from dripline_server import Settings, serve
from dripline_server.agents import AgentFunction, Chat

BOOK = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}


async def count(chat: Chat) -> AsyncGenerator[str]:
    """Count to ten.

    And no further.
    """
    for number in range(10):
        yield f"{number} "


@asynccontextmanager
async def served(**agents: AgentFunction) -> AsyncIterator[ChatClient]:
    """Yield a client of a server with these agents."""
    async with (
        serve(Settings(port=0, agent_stop_time=0.2), agents=agents) as server,
        ChatClient(server.url) as client,
    ):
        yield client


async def events_of(agent: AgentFunction, **fields: Any) -> list[Event]:
    """Return everything that a client reads of an agent's run."""
    async with served(agent=agent) as client:
        return await events(client, "agent", **fields)


async def events(client: ChatClient, model: str, **fields: Any) -> list[Event]:
    """Return everything that a client reads of a run; a failure is among it."""
    read: list[Event] = []
    async with client.chat("hello", model=model, **fields) as stream:
        try:
            read += [event async for event in stream]
        except RunFailed:
            read += [stream.answer.error] if stream.answer.error else []
    return read


async def test_a_run_by_name() -> None:
    """Its text comes between one start, which names it, and one end."""
    async with served(count=count) as client:
        start, *texts, end = await events(client, "count")
    assert isinstance(start, Start)
    assert (start.agent, start.model) == ("count", "count")
    assert texts == [TextMessage(f"{number} ") for number in range(10)]
    assert isinstance(end, End)
    assert (end.status, end.reason) == ("completed", "stop")
