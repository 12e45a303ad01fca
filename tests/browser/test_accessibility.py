"""No violation of what axe-core checks (WCAG 2.2 A and AA, and good practice), in each state."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Fault, Reply, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.programs import require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODELS = {
    "story": Script(
        Reply("One **two** `three`.\n\n```python\nfour = 4\n```", thinking="Hm."),
        capabilities=["completion", "thinking", "vision"],
    ),
    "broken": Script("Half an answer", fault=Fault.cut(at_token=2)),
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
    """Empty, with answers, pictures and a colour, with a failure, and with each dialog open."""
    async with chat_server(MODELS) as (_, server):
        chat = await opener(
            server.url,
            color_scheme=scheme,
            reduced_motion="reduce",  # half a transition is a colour that nobody meant
            viewport={"width": width, "height": 740},
        )
        await expect_no_violation(chat)
        await chat.ask("Change color to light green and add a button that says Help")
        await chat.wait_answered(1)
        await chat.page.locator("#picture-files").set_input_files("static/icon.svg")
        await expect(chat.problem).to_contain_text("icon.svg is not a picture")
        await expect_no_violation(chat)
        for name in ("Settings", "Keyboard shortcuts"):
            await chat.page.get_by_role("button", name=name).click()
            await expect_no_violation(chat)
            await chat.page.keyboard.press("Escape")
        await chat.model.select_option("broken:latest")
        await chat.ask("Go on")
        await chat.wait_answered(2)
        await expect_no_violation(chat)
