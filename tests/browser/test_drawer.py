"""The list of chats: a column beside a wide conversation, a drawer over a narrow one."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_column_is_remembered(opener: Opener) -> None:
    """A wide page shows the list until it is hidden, also after a reload; the keyboard does it."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, viewport={"width": 1280, "height": 720})
        chats = chat.page.get_by_role("navigation", name="Chats")
        toggle = chat.page.get_by_role("button", name="Chats", exact=True)
        await expect(chats).to_be_visible()
        await expect(toggle).to_have_attribute("aria-expanded", "true")
        await chat.page.keyboard.press("Control+b")
        await expect(chats).to_be_hidden()
        await expect(toggle).to_be_focused()
        await chat.page.reload()
        await expect(chat.model).to_be_enabled()
        await expect(chats).to_be_hidden()
        await chat.page.keyboard.press("Control+b")
        await expect(chats.get_by_role("button", name="New chat")).to_be_focused()


async def test_a_drawer_has_the_focus_and_gives_it_back(opener: Opener) -> None:
    """On a phone it covers the page, which cannot be reached then; each way to close it works."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, viewport={"width": 360, "height": 740})
        drawer = chat.page.get_by_role("navigation", name="Chats")
        toggle = chat.page.locator("#toggle-sidebar")
        await expect(drawer).to_be_hidden()
        for close in ("Escape", "button", "outside"):
            await toggle.click()
            await expect(drawer.get_by_role("button", name="New chat")).to_be_focused()
            await expect(chat.page.locator("#chat")).to_have_js_property("inert", True)
            if close == "Escape":
                await chat.page.keyboard.press("Escape")
            elif close == "button":
                await drawer.get_by_role("button", name="Close the list").click()
            else:
                await chat.page.mouse.click(350, 400)
            await expect(drawer).to_be_hidden()
            await expect(chat.page.locator("#chat")).to_have_js_property("inert", False)
            if close != "outside":  # else the focus is where one has clicked
                await expect(toggle).to_be_focused()
