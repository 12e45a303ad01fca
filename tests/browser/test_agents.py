"""Agents on the page: they are chosen and answer as models do."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import expect

from dripline import AddButton, Custom, State, Status, Thinking, ToolCall, ToolResult
from dripline_server import Settings, serve
from dripline_server.agents import AgentError, Chat
from tests.browser.conftest import Opener

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def shows(chat: Chat) -> AsyncGenerator[object]:
    """Show all there is."""
    yield Status("searching")
    yield Thinking("Hm")
    yield State({"seats": 4})
    yield ToolCall("1", "look_up", {"word": "drip"})
    yield ToolResult("1", "look_up", "a drop")
    yield Custom("unknown", 1)
    yield "This is the agent's answer."
    yield AddButton("Fail", "Fail")


async def fails(chat: Chat) -> AsyncGenerator[object]:
    """Fail."""
    yield "Looking. "
    raise AgentError("No flights.")


async def test_an_agent_is_chosen_and_answers(opener: Opener) -> None:
    """The picker says what it is for, and the page shows what it knows of what it yields."""
    async with serve(Settings(port=0), agents={"shows": shows, "fails": fails}) as server:
        chat = await opener(server.url)
        options = chat.model.get_by_role("option")
        await expect(options).to_have_text(
            ["shows agent · Show all there is.", "fails agent · Fail."]
        )
        await chat.ask("Hi")
        await chat.wait_text("This is the agent's answer.")
        await expect(chat.page.get_by_role("button", name="Fail", exact=True)).to_be_visible()
        await chat.model.select_option("fails")
        await chat.ask("Hi")
        await expect(chat.problem).to_contain_text("No flights.")
        await expect(chat.problem.get_by_role("button", name="Try again")).to_be_visible()
