"""What Enter does in the message, which is not the same on every keyboard."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 800}}
DESK: dict[str, object] = {}


@pytest.mark.parametrize(
    ("device", "setting", "sends"),
    [
        (DESK, "", True),
        (DESK, "send", True),
        (DESK, "line", False),
        (PHONE, "", False),
        (PHONE, "send", True),
        (PHONE, "line", False),
    ],
    ids=lambda value: str(value) if not isinstance(value, dict) else "phone" if value else "desk",
)
async def test_enter_sends_or_starts_a_line(
    opener: Opener, device: dict[str, object], setting: str, sends: bool
) -> None:
    """On a touch keyboard it starts a line; a setting has the last word, also after a reload."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, **device)
        await chat.page.get_by_role("button", name="Settings").click()
        dialog = chat.page.get_by_role("dialog", name="Settings")
        await dialog.get_by_label("Enter key").select_option(setting)
        await dialog.press("Escape")
        await chat.page.reload()
        await expect(chat.model).to_be_enabled()
        await expect(chat.message).to_have_attribute("enterkeyhint", "send" if sends else "enter")
        await chat.message.fill("Hello")
        await chat.message.press("End")
        await chat.message.press("Enter")
        if not sends:
            await expect(chat.message).to_have_value("Hello\n")
            await chat.message.press("Control+Enter")
        await chat.wait_answered()
        await expect(chat.questions).to_have_text("Hello")
