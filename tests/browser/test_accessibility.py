"""No violation of what axe-core checks (WCAG 2.2 A and AA, and good practice), in each state."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, expect

from dripline.testing import Call, Fault, Reply, Script
from tests.browser.composing.test_pictures import PNG
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.programs import require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODELS = {
    "story": Script(
        Reply("One **two** `three`.\n\n```python\nfour = 4\n```", thinking="Hm."),
        capabilities=["completion", "thinking", "vision"],
    ),
    "tools": Script(
        Reply("Done.", tool_calls=[Call("look", {"at": "it"})]),
        capabilities=["completion", "tools", "vision"],
    ),
    "broken": Script(
        "Half an answer", fault=Fault.cut(at_token=2), capabilities=["completion", "vision"]
    ),
}
VIOLATIONS = """async () => {
    const { violations } = await axe.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target}`));
}"""


async def expect_no_violation(chat: ChatPage) -> None:
    if not await chat.page.evaluate("'axe' in window"):
        axe = require_npm_packages("tests/js") / "axe-core/axe.min.js"
        await chat.page.evaluate(axe.read_text())
    assert await chat.page.evaluate(VIOLATIONS) == []


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 360)], ids=["light, wide", "dark, phone"]
)
async def test_no_violation(opener: Opener, scheme: str, width: int) -> None:
    """Findings of any level: with each kind of answer, dialog, edit, list, notice and colour."""
    async with chat_server(MODELS) as (_, server):
        chat = await opener(
            server.url,
            color_scheme=scheme,
            reduced_motion="reduce",  # half a transition is a colour that nobody meant
            viewport={"width": width, "height": 740},
        )
        button = chat.page.get_by_role("button")
        await expect_no_violation(chat)
        await chat.page.keyboard.press("Tab")
        await expect_no_violation(chat)
        await chat.ask("Change color to light green and add a button that says Help")
        await chat.wait_answered(1)
        await chat.page.locator("#picture-files").set_input_files(
            [
                FilePayload(name="a.md", mimeType="", buffer=b"# A"),
                FilePayload(name="b.png", mimeType="image/png", buffer=PNG),
                FilePayload(name="c.bin", mimeType="", buffer=b"\0"),
            ]
        )
        await expect(chat.problem).to_contain_text("c.bin is not a text file")
        await chat.page.get_by_text("Thought for").click()
        await chat.page.locator(".facts").focus()
        await expect_no_violation(chat)
        for name in ("Settings", "Models", "Keyboard shortcuts"):
            await chat.page.get_by_role("button", name=name, exact=True).click()
            await expect_no_violation(chat)
            await chat.page.keyboard.press("Escape")
        await chat.questions.first.hover()
        await chat.questions.first.get_by_role("button", name="Edit").click()
        await expect_no_violation(chat)
        await chat.page.keyboard.press("Escape")
        await chat.model.select_option("tools:latest")
        await chat.ask("make the accent crimson and the text bigger")
        await chat.wait_answered(2)
        await expect_no_violation(chat)
        await chat.model.select_option("broken:latest")
        await chat.ask("Go on")
        await chat.wait_answered(3)
        await expect_no_violation(chat)
        if not await chat.page.locator("#sidebar").is_visible():
            await button.and_(chat.page.locator("#toggle-sidebar")).click()
        await chat.page.locator("#chats .open").focus()
        await expect_no_violation(chat)
        await chat.page.keyboard.press("F2")
        await expect_no_violation(chat)
        await chat.page.keyboard.press("Escape")
        await chat.page.keyboard.press("Delete")
        await expect(chat.page.locator("#undo button")).to_be_visible()
        await expect_no_violation(chat)
