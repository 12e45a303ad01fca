"""Messages that are sent while an answer comes: they wait their turn, and can be taken back."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import body_of, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)


async def test_messages_wait_their_turn(opener: Opener) -> None:
    """In their order, once each, over a reload; one that is taken back is written again."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (ollama, server):
        chat = await opener(server.url)
        waiting = chat.page.get_by_role("list", name="Messages that wait").get_by_role("listitem")
        await chat.ask("First")
        clock.let_go(1)
        await chat.wait_text("One")
        for text in ("Second", "Third", "Fourth"):
            await chat.ask(text)
        await expect(waiting).to_have_count(3)
        await waiting.filter(has_text="Third").get_by_role("button", name="Take back").click()
        await expect(chat.message).to_have_value("Third")
        await chat.message.fill("")
        other = await chat.new_tab(chat.page.url)
        await expect(other.page.locator("#queue li")).to_have_count(2)
        await chat.reload()
        await expect(waiting).to_have_count(2)
        clock.let_go(100)
        await chat.wait_answered(3)
        await expect(waiting).to_have_count(0)
        await expect(chat.questions).to_have_text(["First", "Second", "Fourth"])
    last = [body_of(sent)["messages"][-1]["content"] for sent in ollama.chats]
    assert last == ["First", "Second", "Fourth"]


async def test_after_a_stop_nothing_is_sent_by_itself(opener: Opener) -> None:
    """What waits stays, until somebody sends it."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("First")
        clock.let_go(1)
        await chat.wait_text("One")
        await chat.ask("Second")
        await expect(chat.questions).to_have_count(1)
        send = chat.page.get_by_role("button", name="Send now")
        await expect(send).to_have_count(0)
        await chat.stop.click()
        await send.click()
        clock.let_go(100)
        await chat.wait_answered(2)
    assert len(ollama.chats) == 2
