"""What the page is to eyes, keyboards and screen readers."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
MAIN = "document.querySelector('main')"
AT_END = f"{MAIN}.scrollHeight - {MAIN}.scrollTop - {MAIN}.clientHeight < 2"


async def test_screen_readers_hear_boundaries_and_not_tokens(opener: Opener) -> None:
    """The log is a silent one; its beginning and end are said, and nothing for each token."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await expect(chat.page.get_by_role("log", name="Conversation")).to_have_attribute(
            "aria-live", "off"
        )
        said = chat.page.locator("#announcer")
        await chat.page.evaluate(
            """() => {
                window.said = [];
                const status = document.querySelector("#announcer");
                new MutationObserver(() => window.said.push(status.textContent)).observe(status, {
                    childList: true, characterData: true, subtree: true,
                });
            }"""
        )
        await chat.ask("Count")
        clock.let_go()
        await chat.wait_text("One")
        await expect(said).to_have_text("Answering.")
        await expect(chat.answers).to_have_attribute("aria-busy", "true")
        clock.let_go(2)
        await expect(said).to_have_text("Answer complete.")
        await expect(chat.answers).to_have_attribute("aria-busy", "false")
        assert await chat.page.evaluate("window.said") == ["Answering.", "Answer complete."]


async def test_follows_the_end_only_while_one_is_there(opener: Opener) -> None:
    """The view follows a growing answer, but nobody is dragged away from what they read."""
    clock = GatedClock()
    lines = ["line\n" * 60, "line\n" * 60, "line\n" * 60, "end"]
    async with chat_server(Script(lines, HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Much")
        clock.let_go()
        await chat.wait_text(lines[0].rstrip())
        await chat.wait_for(AT_END)
        place = await chat.page.locator("main").evaluate("e => e.scrollTop") - 300
        still_there = f"Math.abs({MAIN}.scrollTop - {place}) < 1"
        await chat.page.mouse.move(400, 300)
        await chat.page.mouse.wheel(0, -300)
        await chat.wait_for(still_there)
        clock.let_go()
        await chat.wait_text("".join(lines[:2]).rstrip())
        assert await chat.page.evaluate(still_there)
        await chat.page.mouse.wheel(0, 100_000)
        await chat.wait_for(AT_END)
        clock.let_go(3)
        await chat.wait_answered()
        await chat.wait_for(AT_END)


async def test_growth_between_frames_does_not_lose_the_end(opener: Opener) -> None:
    """The view stays at the end where the page grows after it scrolled, before the scroll event."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await chat.page.evaluate(
            """async () => {
                // Not in #log, where the page keeps what is its own and nothing else.
                const content = document.querySelector("#content");
                const grow = () => content.append(Object.assign(document.createElement("pre"), {
                    textContent: "line\\n".repeat(100),
                }));
                // Observers run in the order of their making, so the page has scrolled by then.
                await new Promise((resolve) => {
                    new ResizeObserver((_, observer) => {
                        observer.disconnect();
                        setTimeout(() => resolve(grow()));
                    }).observe(content);
                    grow();
                });
            }"""
        )
        await chat.wait_for(f"document.querySelectorAll('#content > pre').length === 2 && {AT_END}")


# The third is 1280 x 720 at 200 %, the last at 400 % (WCAG 2.2, 1.4.4 and 1.4.10).
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 720), (640, 360), (320, 256)])
async def test_fits_the_window(opener: Opener, width: int, height: int) -> None:
    """Nothing is wider than the window, the composer and model are in it, text has some room."""
    models = {"m" * 100: Script("word " * 300, capabilities=["completion", "thinking"])}
    async with chat_server(models) as (_, server):
        chat = await opener(server.url, viewport={"width": width, "height": height})
        await chat.ask("Add a button that says " + "Long " * 14)
        await chat.wait_answered()
        await chat.message.fill("line\n" * 20)
        assert await chat.page.evaluate("document.documentElement.scrollWidth") == width
        text = await chat.page.get_by_role("main").bounding_box()
        assert text
        assert text["height"] >= 40
        for element in (chat.message, chat.model, chat.page.get_by_role("button", name="Send")):
            box = await element.bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= max(height, 320)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
async def test_light_and_dark(opener: Opener, scheme: str, dark: bool) -> None:
    """Without a colour of its own the page is as light or dark as the system."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url, color_scheme=scheme)
        red = await chat.page.locator("body").evaluate(
            "e => Number(getComputedStyle(e).backgroundColor.match(/\\d+/)[0])"
        )
        assert (red < 64) is dark


async def test_no_motion_where_none_is_wanted(opener: Opener) -> None:
    """Reduced motion switches animations and transitions off."""
    clock = GatedClock()
    async with chat_server(Script(["One"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url, reduced_motion="reduce")
        await chat.ask("Wait")
        await expect(chat.answers.locator(".waiting")).to_be_visible()
        assert await chat.page.evaluate("document.getAnimations().length") == 0
        clock.let_go(2)
        await chat.wait_answered()
