"""Two tabs of one browser on one chat show the same, and do not undo each other's work."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Fault, Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)


async def second_tab(chat: ChatPage) -> ChatPage:
    """Open what the first tab shows in another."""
    # It may ask for a run that the other is only beginning: it asks again.
    chat.pardoned.append(r"status of 404 .*/runs/[^/]+/events\)$")
    return await chat.new_tab(chat.page.url)


async def answered_in_two(opener: Opener, url: str) -> tuple[ChatPage, ChatPage]:
    """Have the question "one" answered, and show that in two tabs."""
    chat = await opener(url)
    await chat.ask("one")
    await chat.wait_answered()
    tab = await second_tab(chat)
    await tab.wait_answered()
    return chat, tab


async def test_both_see_the_answer_come(opener: Opener) -> None:
    """Whichever asks, both show each word; one run serves both, and either can stop it."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two", " three"], HELD), clock=clock) as (
        ollama,
        server,
    ):
        chat = await opener(server.url)
        await chat.ask("Count")
        clock.let_go()
        await chat.wait_text("One")
        tab = await second_tab(chat)
        await tab.wait_text("One")
        clock.let_go()
        for each in (chat, tab):
            await each.wait_text("One two")
        clock.let_go(2)
        for each in (chat, tab):
            await each.wait_answered()
            await each.wait_text("One two three")
        await tab.ask("Again")
        clock.let_go()
        await expect(chat.questions).to_have_count(2)
        await chat.wait_text("One")
        await chat.stop.click()
        for each in (chat, tab):
            await each.wait_answered(2)
            await expect(each.answers.last.locator(".facts")).to_contain_text("Stopped")
        assert len(ollama.chats) == 2
        assert [message["status"] for message in await tab.stored()][-1] == "cancelled"


async def test_the_tab_that_asked_can_be_closed(opener: Opener) -> None:
    """The other follows the run by itself, and keeps its end."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        tab = await second_tab(chat)
        await tab.ask("Count")
        clock.let_go()
        await tab.wait_text("One")
        await chat.page.goto(tab.page.url)
        await chat.reload()
        await chat.wait_text("One")
        await tab.page.close()
        clock.let_go(2)
        await chat.wait_answered()
        assert [message["content"] for message in await chat.stored()] == ["Count", "One two"]


async def test_a_run_that_has_not_begun_yet(opener: Opener) -> None:
    """The other tab hears of it before the server does: it asks again, and shows each word."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Count")
        tab = await second_tab(chat)
        clock.let_go(3)
        for each in (chat, tab):
            await each.wait_answered()
        heard = await tab.hold("**/chat")
        async with chat.page.expect_response(lambda response: response.status == 404):
            await tab.ask("Again")
        heard.set()
        clock.let_go()
        for each in (tab, chat):
            await expect(each.answers).to_have_count(2)
            await each.wait_text("One")
        clock.let_go(2)
        for each in (tab, chat):
            await each.wait_answered(2)
            await each.wait_text("One two")
        chat.expect_complaints("404")


async def test_edits_of_both_are_kept(opener: Opener) -> None:
    """Two edits of one question, the second begun before the first was sent, are two versions."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat, tab = await answered_in_two(opener, server.url)
        for each, text in ((tab, "drei"), (chat, "zwei")):
            await each.questions.get_by_role("button", name="Edit").click()
            await each.page.get_by_role("textbox", name="Edit the message").fill(text)
        for each in (chat, tab):
            await each.page.get_by_role("button", name="Send").first.click()
            await each.wait_answered()
        for each in (chat, tab):
            await expect(each.questions.locator(".prose")).to_have_text("drei")
            await expect(each.questions.locator(".steps")).to_contain_text("3 / 3")
            await each.wait_answered()
        await rename(chat, "one", "Ours")
        await expect(tab.page).to_have_title("Ours – dripline")
        await tab.do_with_chat("Delete", "Ours")
        await expect(chat.questions).to_have_count(0)


# What is read of the browser's database is held back until `letGo()`.
HELD_READS = """() => {
    const held = window.held = [];
    const { prototype } = IDBTransaction;
    const own = Object.getOwnPropertyDescriptor(prototype, "oncomplete");
    Object.defineProperty(prototype, "oncomplete", {
        configurable: true,
        set(handler) {
            this.addEventListener("complete", () => {
                this.mode === "readonly" ? held.push(handler) : handler();
            });
        },
    });
    window.letGo = () => {
        Object.defineProperty(prototype, "oncomplete", own);
        held.forEach((handler) => handler());
    };
}"""


async def test_what_is_changed_last_holds_in_both(opener: Opener) -> None:
    """Also where one tab is just reading what the other has changed."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat, tab = await answered_in_two(opener, server.url)
        await tab.page.evaluate(HELD_READS)
        await rename(chat, "one", "Theirs")
        await tab.wait_for("held.length > 0")
        await rename(tab, "one", "Ours")
        await expect(tab.page).to_have_title("Ours – dripline")
        await tab.page.evaluate("letGo()")
        for each in (tab, chat):
            await expect(each.page).to_have_title("Ours – dripline")
            await expect(each.page.locator("#chats .open")).to_have_text("Ours")


async def rename(chat: ChatPage, title: str, new: str) -> None:
    await chat.do_with_chat("Rename", title)
    await chat.page.get_by_role("textbox", name="Title").fill(new)
    await chat.page.keyboard.press("Enter")


async def test_an_answer_that_made_way_is_gone_in_both(opener: Opener) -> None:
    """An empty failed answer that is tried again in one tab does not stay in the other."""
    script = Script(["Half", " an"], fault=Fault.status(500, times=1))
    async with chat_server(script) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Hello")
        await expect(chat.problem).to_be_visible()
        tab = await second_tab(chat)
        await tab.problem.get_by_role("button", name="Try again").click()
        for each in (tab, chat):
            await each.wait_text("Half an")
            await each.wait_answered()
            await expect(each.answers.locator(".steps")).to_be_hidden()
