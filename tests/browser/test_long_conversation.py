"""A conversation of many messages costs no more than a short one."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 60


async def test_old_messages_are_left_out_of_frames(opener: Opener) -> None:
    """They stay in their order and can be edited; the browser skips them while out of sight."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": f"Message {n}"} for n in range(MANY)]
    file = json.dumps({"messages": messages}).encode()
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await chat.page.locator("#import-files").set_input_files(
            {"name": "chat.json", "mimeType": "application/json", "buffer": file}
        )
        texts = chat.page.locator("article :is(.prose, .text)").filter(has_text="Message")
        await expect(texts).to_have_text([message["content"] for message in messages])
        oldest = "document.querySelector('article .prose')"
        seen = f"{oldest}.checkVisibility({{ contentVisibilityAuto: true }})"
        await chat.wait_for(f"!{seen}")
        await chat.ask("Go on")
        await chat.wait_answered(MANY // 2 + 1)
        first = chat.questions.first
        await first.scroll_into_view_if_needed()
        await first.hover()
        await first.get_by_role("button", name="Edit").click()
        await chat.page.get_by_role("textbox", name="Edit the message").fill("Anew")
        await first.get_by_role("button", name="Send").click()
        await chat.wait_answered(1)
        await expect(chat.questions.locator(".prose")).to_have_text(["Anew"])
