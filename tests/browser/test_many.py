"""Many answers at once: a browser opens six connections to a server, and they are enough."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from dripline.testing import Ending, Fault, Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(tokens_per_second=1)  # the first word comes, the next wait
MANY = 8


async def ask_anew(chat: ChatPage, text: str) -> None:
    """Begin another chat with a message."""
    await chat.page.get_by_role("button", name="New chat").click()
    await expect(chat.questions).to_have_count(0)
    await chat.ask(text)


def item(chat: ChatPage, title: str) -> Locator:
    """A chat in the list."""
    return chat.page.locator("#chats li").filter(has_text=title)


async def test_stop_gets_through(opener: Opener) -> None:
    """More chats are answered than there are connections; one is stopped, and all others come."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (ollama, server):
        chat = await opener(server.url)
        for number in range(MANY):
            await ask_anew(chat, f"Chat {number}")
            await chat.wait_text("One")
        await chat.stop.click()
        await chat.wait_answered()
        assert await ollama.chats[-1].wait_ended() is Ending.CLIENT_LEFT
        clock.let_go(MANY * 2)
        await expect(chat.page.locator("#chats .busy")).to_have_count(0)
        for number in range(MANY - 1):
            await item(chat, f"Chat {number}").locator(".open").click()
            await expect(chat.questions).to_have_text(f"Chat {number}")
            await chat.wait_text("One two")


async def test_answers_that_nobody_looks_at_take_turns(opener: Opener) -> None:
    """One that says nothing does not keep the next from coming to its end."""
    clock = GatedClock()
    models = {
        "silent": Script(["One"], fault=Fault.stall(at_token=1)),
        "held": Script(["One", " two"], HELD),
    }
    async with chat_server(models, model="held", clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.page.clock.install()
        await chat.model.select_option("silent:latest")
        await chat.ask("Silent")
        await chat.wait_text("One")
        await chat.model.select_option("held:latest")
        await ask_anew(chat, "Held")
        await chat.wait_text("One")
        await chat.page.get_by_role("button", name="New chat").click()
        await expect(chat.page.locator("#chats .busy")).to_have_count(2)
        await chat.wait_for("(await navigator.locks.query()).pending.length > 0")
        clock.let_go(2)
        await chat.page.clock.run_for(5_000)
        await expect(item(chat, "Held")).not_to_have_class("busy")
        await expect(item(chat, "Silent")).to_have_class("busy")
        await item(chat, "Silent").locator(".open").click()
        await chat.stop.click()
        await chat.wait_answered()


async def test_a_tab_behind_another_leaves_room(opener: Opener) -> None:
    """In more tabs than there are connections answers come: the one in front can stop its own."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (ollama, server):
        first = await opener(server.url)
        for _ in range(MANY):
            tab = await first.new_tab(server.url)
            await tab.ask("Count")
            await tab.wait_text("One")
            await put_behind(tab)
        await first.ask("Count")
        await first.wait_text("One")
        await first.stop.click()
        await first.wait_answered()
        assert await ollama.chats[-1].wait_ended() is Ending.CLIENT_LEFT


async def put_behind(tab: ChatPage) -> None:
    """Have a tab be told that another is in front: headless, all of them are."""
    await tab.page.evaluate(
        """() => {
            Object.defineProperty(document, "hidden", { value: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
