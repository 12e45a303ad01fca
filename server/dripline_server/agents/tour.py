"""The demo's agent, which shows what a run can do; read it as an example."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from dripline.events import (
    AddButton,
    ChangeTheme,
    Custom,
    State,
    Status,
    Thinking,
    ToolCall,
    ToolResult,
)
from dripline_server.agents.agent import AgentError
from dripline_server.agents.agent_chat import Chat

__all__ = ["tour"]

# Seconds between two words.
PACE = 0.03


async def tour(chat: Chat) -> AsyncGenerator[object]:
    """Show what a run can do: text, thinking, a tool, a colour, buttons, an error."""
    wish = chat.last_text.lower()
    if "fail" in wish:
        async for word in _said("This sentence is complete, and then the agent "):
            yield word
        raise AgentError("The tour was asked to fail, and it has. Ask it again.", retryable=True)
    if "count" in wish:
        for number in range(1, 301):
            yield f"{number} "
            await asyncio.sleep(PACE)
        return
    yield Status("preparing")
    async for word in _said("An agent may think before it answers, and the page folds this away."):
        yield Thinking(word)
    async for word in _said(
        "This is **tour**, an agent: an async generator in Python, not a model. "
        "Close the tab while it talks and open it again: nothing is lost. Press Stop: it stops.\n\n"
        "Agents have tools of their own:\n\n"
    ):
        yield word
    yield ToolCall("tour-1", "look_up", {"word": "dripline"})
    await asyncio.sleep(10 * PACE)
    yield ToolResult("tour-1", "look_up", "a line that drips, and loses no drop")
    async for word in _said("\n\nThey can change the page: this is light green, "):
        yield word
    yield ChangeTheme("#90EE90")
    async for word in _said("and these buttons go on with the tour.\n\n"):
        yield word
    yield AddButton("Count to 300", "Count to 300")
    yield AddButton("Fail on purpose", "Fail on purpose")
    yield State({"stations": ["thinking", "tool", "colour", "buttons"]})
    yield Custom("tour_over", {"asked": len(chat.messages)})
    async for word in _said("That was all. The code is in `dripline_server/agents/tour.py`."):
        yield word


async def _said(text: str) -> AsyncGenerator[str]:
    """Yield a text word by word, as fast as one can read along."""
    for word in text.split(" "):
        yield f"{word} "
        await asyncio.sleep(PACE)
