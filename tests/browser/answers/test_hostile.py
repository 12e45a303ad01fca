"""Hostile output appears as text, wherever on the page it comes out."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Ending, Fault, Reply, Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = [
    '<img src="x" onerror="window.hacked = true">',
    "<script>window.hacked = true</script>",
    '<a href="javascript:window.hacked = true">click</a>',
    "[click](javascript:window.hacked=true)",
    "</div></article><h1>not yours</h1><!--",
    "<style>body { display: none }</style>",
    "<iframe srcdoc='<script>parent.hacked = true</script>'></iframe>",
    "\u202egnol si txet siht\u2066",
    "`<svg onload=window.hacked=true>`",
]


# Where text comes out; no element may be inside, but for paragraphs and code.
PLACES = ".prose, .name, pre, .facts, #buttons .chip, .problem .sentence"
MARKUP = ".problem code, .prose .section, .prose p, .prose p code"


async def test_hostile_output_is_only_text(opener: Opener) -> None:
    """As thinking, answer, tool, argument, button and error alike, it is text and does nothing."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        for count, text in enumerate(HOSTILE, start=1):
            button = {"action": "add_button", "label": text, "message": text}
            tool_call = {"id": "1", "name": text, "arguments": {text: text}}
            await chat.answer_with(
                {"type": "ui_control", "data": button},
                {"type": "start", "data": {"model": text}},
                {"type": "thinking", "data": {"content": text}},
                {"type": "text_message", "data": {"content": text}},
                {"type": "tool_call", "data": tool_call},
                {"type": "error", "data": {"code": "ollama_error", "message": text}},
                {"type": "end", "data": {"status": "failed"}},
            )
            await chat.ask(text)
            await chat.wait_answered(count)
            await expect(chat.questions.last).to_have_text(text)
            in_markdown = text.strip("`")
            await chat.wait_text(in_markdown)
            for place, shown in (
                (".thinking .prose", in_markdown),
                (".tool-calls .name", text),
                (".facts", text),
            ):
                found = chat.answers.last.locator(place)
                await expect(found).to_have_js_property("textContent", shown)
            button_shown = chat.page.locator("#buttons .chip").last
            await expect(button_shown).to_have_js_property("textContent", text)
            await expect(chat.problem).to_contain_text(text.strip("`"))
        await expect(chat.page.locator(f":is({PLACES}) :not({MARKUP})")).to_have_count(0)
        await expect(chat.page.locator("#log > *")).to_have_count(2 * len(HOSTILE))
        assert await chat.page.evaluate("window.hacked") is None


async def test_hostile_model_all_the_way(opener: Opener) -> None:
    """The same through the real server: markup that comes token by token is not put together."""
    async with chat_server(Script(Reply(HOSTILE, thinking=HOSTILE))) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Show me")
        await chat.wait_text("".join(HOSTILE).replace("`", ""))
        await chat.wait_answered()
        await expect(chat.answers.locator(f".prose :not({MARKUP})")).to_have_count(0)
        assert await chat.page.evaluate("window.hacked") is None


async def test_one_huge_token_does_not_widen_the_page(opener: Opener) -> None:
    """64 KiB without a blank wrap on a phone's width; nothing scrolls sideways."""
    text = "w" * 65_536
    async with chat_server(Script([text], fault=Fault.error(text, at_token=1))) as (_, server):
        chat = await opener(server.url, viewport={"width": 320, "height": 640})
        await chat.ask("x" * 500)
        await chat.wait_answered()
        await chat.wait_text(text)
        sideways = "e => e.scrollWidth - e.clientWidth"
        assert await chat.page.locator("main").evaluate(sideways) == 0
        assert await chat.page.locator(":root").evaluate(sideways) == 0


async def test_the_page_is_usable_while_a_huge_answer_is_drawn(opener: Opener) -> None:
    """What is typed appears, one can scroll away, and Stop stops, before all is drawn."""
    tokens = ["- a\n" * 2**18] * 8
    async with chat_server(Script(tokens, fault=Fault.stall(at_token=8))) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("Much")
        await chat.wait_for("document.querySelectorAll('.answer li').length > 1000")
        # By their ids: for a role Playwright looks through all of the page.
        message, stop, to_end = (chat.page.locator(i) for i in ("#message", "#stop", "#to-end"))
        await message.press_sequentially("Meanwhile")
        await expect(message).to_have_value("Meanwhile")
        await chat.page.locator("main").hover()
        await chat.page.mouse.wheel(0, -2000)
        await expect(to_end).to_be_visible()
        await stop.click()
        assert await (await ollama.wait_for_request()).wait_ended() is Ending.CLIENT_LEFT
        await expect(stop).to_be_hidden()
        shown = await chat.page.locator(".answer .text").evaluate("e => e.textContent.length")
        assert 0 < shown < sum(map(len, tokens)) / 2
