"""The list of chats: pins, dates, what a search found, and answers that came meanwhile."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Pace, Script
from tests.browser.composing.test_drafts import exported
from tests.browser.conftest import Opener
from tests.browser.test_chats import import_file, new_chat, titles
from tests.support.browser import chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)


async def test_chats_are_grouped_by_date_and_pinned(opener: Opener) -> None:
    """A pinned chat stands first, under its own heading, and does so after a reload."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await import_file(chat, "old.json", exported(1))  # of November 2023
        await new_chat(chat, "First")
        await new_chat(chat, "Second")
        groups = chat.page.locator("#chats h3")
        await expect(groups).to_have_text(["Today", "November 2023"])
        pin = chat.page.locator("#chats").get_by_role("button", name="Pin Chat 0")
        await pin.press("Enter")
        await expect(groups).to_have_text(["Pinned", "Today"])
        await chat.reload()
        await expect(titles(chat)).to_have_text(["Chat 0", "Second", "First"])
        await expect(pin).to_have_attribute("aria-pressed", "true")
        await pin.press("Enter")
        await expect(groups).to_have_text(["Today", "November 2023"])


async def test_a_search_shows_where_it_found_something(opener: Opener) -> None:
    """With a piece of the text around it, on one line; pressing that opens the chat."""
    long = f"{'before ' * 20}\n\nthe Zebra {'after ' * 30}"
    async with chat_server(Script(long)) as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "Animals")
        await new_chat(chat, "Plants")
        await titles(chat).filter(has_text="Animals").click()
        await chat.page.get_by_role("searchbox", name="Search chats").fill("zebra")
        snippet = chat.page.locator("#chats .snippet").first
        await expect(snippet).to_contain_text("before before the Zebra after")
        await expect(snippet.locator("mark")).to_have_text("Zebra")
        await expect(chat.page.locator("#chats h3")).to_have_count(0)
        await snippet.click()
        await expect(chat.questions).to_have_text("Plants")


async def test_an_answer_that_came_meanwhile_is_marked(opener: Opener) -> None:
    """Until its chat is opened, over a reload."""
    clock = GatedClock()
    models = {"held": Script(["One"], HELD), "quick": Script("Quick.")}
    async with chat_server(models, model="held", clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Slowly")
        clock.let_go()
        await chat.page.get_by_role("button", name="New chat").click()
        clock.let_go(10)
        mark = chat.page.locator("#chats .new")
        await expect(mark).to_have_text(["New answer"])
        await chat.reload()
        await expect(mark).to_have_text(["New answer"])
        await titles(chat).click()
        await expect(mark).to_have_text([""])
