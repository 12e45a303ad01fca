"""Everything can be reached: by keys without a long way, and by fingers."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Reply, Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

SMALL = """(least) => [...document.querySelectorAll("button, select, summary, input, a[href]")]
    .filter((e) => e.checkVisibility() && e.id !== "skip" && e.type !== "checkbox")
    .map((e) => [e.ariaLabel ?? e.textContent.trim(), e.getBoundingClientRect()])
    .filter(([, { width, height }]) => Math.min(width, height) < least)
    .map(([name, { width, height }]) => `${name}: ${width} x ${height}`)"""


async def test_the_list_is_one_stop(opener: Opener) -> None:
    """Arrows go through the chats; one is renamed, deleted and brought back by keys alone."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        press = chat.page.keyboard.press
        for title in ("First", "Second", "Third"):
            await chat.page.get_by_role("button", name="New chat").click()
            await chat.ask(title)
            await chat.wait_answered()
        titles = chat.page.locator("#chats .open")
        await expect(titles).to_have_text(["Third", "Second", "First"])
        await expect(chat.page.locator("#chats button[tabindex='0']")).to_have_count(1)
        await chat.page.locator("#search").focus()
        await press("Tab")
        await expect(titles.nth(0)).to_be_focused()
        await press("ArrowDown")
        await expect(titles.nth(1)).to_be_focused()
        await press("End")
        await expect(titles.nth(2)).to_be_focused()
        await press("Shift+Tab")
        await press("Tab")
        await expect(titles.nth(2)).to_be_focused()
        await press("Home")
        for action in ("Pin", "Rename"):
            await press("ArrowRight")
            await expect(chat.page.get_by_role("button", name=f"{action} Third")).to_be_focused()
        await press("ArrowLeft")
        await press("ArrowLeft")
        await press("F2")
        await chat.page.get_by_role("textbox", name="Title").fill("Anew")
        await press("Enter")
        await expect(titles).to_have_text(["Anew", "Second", "First"])
        await press("Delete")
        await expect(titles).to_have_text(["Second", "First"])
        await press("Control+z")
        await expect(titles).to_have_text(["Anew", "Second", "First"])


async def test_the_focus_stays_where_versions_are_stepped(opener: Opener) -> None:
    """Another version takes the place of the one whose button had the focus."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Is it?")
        await chat.wait_answered()
        await chat.page.get_by_role("button", name="Regenerate").click()
        back = chat.page.get_by_role("button", name="Previous version")
        await expect(chat.answers).to_have_attribute("aria-busy", "false")
        await back.press("Enter")
        await expect(chat.answers.locator(".steps")).to_contain_text("1 / 2")
        await expect(back).to_be_focused()


async def test_the_first_stop_leads_to_the_message(opener: Opener) -> None:
    """A link that is seen once it has the focus; the address stays that of the chat."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        address = chat.page.url
        skip = chat.page.get_by_role("link", name="Skip to the message")
        await skip.focus()
        await expect(skip).to_be_in_viewport(ratio=1)
        await skip.press("Enter")
        await expect(chat.message).to_be_focused()
        assert chat.page.url == address


async def test_fingers_find_what_they_press(opener: Opener) -> None:
    """On a phone nothing is smaller than 44 px: with an answer, the list and the settings."""
    reply = Script(Reply("```python\nx = 1\n```", thinking="Hm."), capabilities=["thinking"])
    async with chat_server(reply) as (_, server):
        chat = await opener(
            server.url, has_touch=True, is_mobile=True, viewport={"width": 390, "height": 760}
        )
        assert await chat.page.evaluate(SMALL, 44) == []
        await chat.message.fill("Add a button that says Help")
        await chat.page.get_by_role("button", name="Send").click()
        await chat.wait_answered()
        assert await chat.page.evaluate(SMALL, 44) == []
        await chat.page.get_by_role("button", name="Settings").click()
        assert await chat.page.evaluate(SMALL, 44) == []
        await chat.page.keyboard.press("Escape")
        await chat.page.locator("#toggle-sidebar").click()
        assert await chat.page.evaluate(SMALL, 44) == []
