"""The agents of a soak's servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from dripline.events import State, ToolCall, ToolResult
from dripline_server.agents import AgentError, Chat

__all__ = ["fails", "in_thread", "on_model", "says_why", "tells", "tells_slowly"]


async def tells(chat: Chat) -> AsyncGenerator[object]:
    for number in range(40):
        yield f"{number} Grüße "
    yield ToolCall("1", "look_up", {"word": "grüße"})
    yield ToolResult("1", "look_up", "greetings")
    yield State({"told": 40})


async def tells_slowly(chat: Chat) -> AsyncGenerator[str]:
    try:
        for number in range(40):
            yield f"{number} "
            await asyncio.sleep(0.005)
    finally:
        await asyncio.sleep(0.001)


def in_thread(chat: Chat) -> Iterator[str]:
    for number in range(200):
        yield f"{number} "


async def on_model(chat: Chat) -> AsyncGenerator[object]:
    async for event in chat.ask_model("told", chat.messages):
        yield event


async def fails(chat: Chat) -> AsyncGenerator[object]:
    yield "word "
    yield {"no": "event"}


async def says_why(chat: Chat) -> AsyncGenerator[object]:
    yield "word "
    await asyncio.sleep(0.001)
    raise AgentError("No seats.")
