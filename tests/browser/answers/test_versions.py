"""Nothing that was said is lost by saying it anew: edits and new answers are versions."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Fault, Pace, ReceivedChat, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, body_of, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)


def echo() -> Script:
    """A model that counts its answers, and repeats the question."""
    count = 0

    def answer(request: ReceivedChat) -> str:
        nonlocal count
        count += 1
        return f"No {count}: {request.messages[-1].content}"

    return Script(answer)


async def said(chat: ChatPage) -> list[str]:
    """What is shown, in order."""
    texts: list[str] = await chat.page.evaluate(
        "[...document.querySelectorAll('#log .question .prose, #log .answer .text')]"
        ".map((e) => e.textContent)"
    )
    return texts


async def test_an_edited_question_is_answered_anew(opener: Opener) -> None:
    """The old question stays, with all that followed; one steps between them, after reload too."""
    async with chat_server(echo()) as (ollama, server):
        chat = await opener(server.url)
        for count, text in enumerate(("one", "two"), start=1):
            await chat.ask(text)
            await chat.wait_answered(count)
        first = chat.questions.first
        await first.get_by_role("button", name="Edit").click()
        field = first.get_by_role("textbox", name="Edit the message")
        await expect(field).to_be_focused()
        await expect(field).to_have_value("one")
        await field.fill("uno")
        await first.get_by_role("button", name="Send").click()
        await chat.wait_answered(1)
        assert await said(chat) == ["uno", "No 3: uno"]
        assert body_of(ollama.chats[2])["messages"] == [{"role": "user", "content": "uno"}]
        await expect(first.locator(".steps")).to_contain_text("2 / 2")
        await first.get_by_role("button", name="Previous version").click()
        await chat.wait_answered(2)
        assert await said(chat) == ["one", "No 1: one", "two", "No 2: two"]
        await chat.reload()
        await chat.wait_answered(2)
        await expect(chat.questions.first.locator(".steps")).to_contain_text("1 / 2")
        await chat.questions.first.get_by_role("button", name="Next version").click()
        assert await said(chat) == ["uno", "No 3: uno"]


async def test_an_edited_answer_is_what_the_model_is_told(opener: Opener) -> None:
    """An answer can be put in other words; nothing is asked until the next message."""
    async with chat_server(echo()) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("one")
        await chat.wait_answered()
        await chat.answers.get_by_role("button", name="Edit").click()
        await chat.page.get_by_role("textbox", name="Edit the message").fill("My own words")
        await chat.page.get_by_role("button", name="Save").click()
        await chat.wait_text("My own words")
        await expect(chat.answers.locator(".steps")).to_contain_text("2 / 2")
        assert len(ollama.chats) == 1
        await chat.ask("two")
        await chat.wait_answered(2)
    assert [m["content"] for m in body_of(ollama.chats[1])["messages"]] == [
        "one",
        "My own words",
        "two",
    ]


async def test_answer_anew_keeps_the_answer_before(opener: Opener) -> None:
    """The model is asked without the old answer, which stays; Escape leaves an edit."""
    async with chat_server(echo()) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("one")
        await chat.wait_answered()
        await chat.answers.get_by_role("button", name="Regenerate").click()
        await chat.wait_text("No 2: one")
        await chat.wait_answered()
        await expect(chat.answers.locator(".steps")).to_contain_text("2 / 2")
        assert body_of(ollama.chats[1])["messages"] == [{"role": "user", "content": "one"}]
        await chat.answers.get_by_role("button", name="Previous version").click()
        await chat.wait_text("No 1: one")
        await chat.answers.get_by_role("button", name="Edit").click()
        await chat.page.keyboard.press("Escape")
        await expect(chat.answers.get_by_role("button", name="Edit")).to_be_focused()
        await expect(chat.answers.locator(".steps")).to_contain_text("1 / 2")


async def test_a_failed_answer_with_nothing_in_it_makes_way(opener: Opener) -> None:
    """No empty version is left behind by another try."""
    script = Script(["Half", " an"], fault=Fault.status(500, times=1))
    async with chat_server(script) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Hello")
        await chat.problem.get_by_role("button", name="Try again").click()
        await chat.wait_text("Half an")
        await chat.wait_answered()
        await expect(chat.answers.locator(".steps")).to_be_hidden()
        assert len(await chat.stored()) == 2


async def test_another_version_can_be_read_while_one_comes(opener: Opener) -> None:
    """Stepping away from an answer that comes does not stop it."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Count")
        clock.let_go(3)
        await chat.wait_answered()
        await chat.answers.get_by_role("button", name="Regenerate").click()
        clock.let_go(1)
        await chat.wait_text("One")
        await chat.answers.get_by_role("button", name="Previous version").click()
        await chat.wait_text("One two")
        await expect(chat.stop).to_be_hidden()
        clock.let_go(2)
        await chat.answers.get_by_role("button", name="Next version").click()
        await chat.wait_answered()
        await chat.wait_text("One two")
