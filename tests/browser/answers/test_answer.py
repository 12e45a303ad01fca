"""An answer on the page: its Markdown, its code to copy, its thinking, its figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Route, expect

from dripline.testing import Pace, Reply, Script
from dripline_server.routes.page import MARKDOWN_LIBRARY
from tests.browser.conftest import Opener
from tests.support.browser import chat_server
from tests.support.gated_clock import GatedClock
from tests.support.long_answer import SAMPLE
from tests.support.programs import require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_markdown_has_roles(opener: Opener) -> None:
    """Headings, lists, links, quotes, tables and code are what they look like."""
    require_npm_packages("static")
    async with chat_server(Script(SAMPLE)) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Why is the sky blue?")
        await chat.wait_answered()
        text = chat.text
        await expect(text.get_by_role("heading", level=4)).to_have_text("Why the sky is blue")
        await expect(text.locator(":scope > * > ol > li")).to_have_count(3)
        await expect(text.locator("ol ul > li")).to_have_count(2)
        await expect(text.get_by_role("emphasis")).to_have_text("scattered")
        await expect(text.get_by_role("blockquote")).to_contain_text("from all sides")
        await expect(text.get_by_role("cell", name="450")).to_have_css("text-align", "right")
        link = text.get_by_role("link", name="Rayleigh")
        await expect(link).to_have_attribute("href", "https://example.org/rayleigh")
        await expect(link).to_have_attribute("rel", "noopener noreferrer")
        await expect(link).to_have_attribute("target", "_blank")


async def test_code_is_copied_by_keyboard(opener: Opener) -> None:
    """Code has its language and a button that copies it as it is, and says so."""
    require_npm_packages("static")
    code = "def f():\n    return '<b>'\n\n\nprint(f())\n"
    async with chat_server(Script(f"Here:\n\n```python\n{code}```\n\nDone.")) as (_, server):
        chat = await opener(server.url, permissions=["clipboard-read", "clipboard-write"])
        await chat.ask("Code, please")
        await chat.wait_answered()
        block = chat.text.locator(".code")
        await expect(block.locator(".language")).to_have_text("python")
        await expect(block.locator("code")).to_have_js_property("textContent", code)
        button = block.get_by_role("button", name="Copy")
        await chat.stop_time()
        await button.focus()
        await chat.page.keyboard.press("Enter")
        await expect(block.get_by_role("button", name="Copied")).to_be_focused()
        assert await chat.page.evaluate("navigator.clipboard.readText()") == code.removesuffix("\n")
        await chat.page.clock.run_for(2000)
        await expect(button).to_have_text("Copy")


async def test_plain_text_without_the_library(opener: Opener) -> None:
    """Where npm has not brought the library, answers are there all the same, as they came."""
    words, clock = ["**One**\n", "- two\n\n", "three"], GatedClock()
    async with chat_server(Script(words, HELD), clock=clock) as (_, server):
        chat = await opener(server.url)

        async def missing(route: Route) -> None:
            await route.fulfill(status=404)

        await chat.page.route(f"**/{MARKDOWN_LIBRARY}", missing)
        await chat.page.reload()
        await chat.ask("Count")
        for shown in range(1, len(words) + 1):
            clock.let_go()
            await chat.wait_text("".join(words[:shown]))
        clock.let_go()
        await chat.wait_answered()
        await expect(chat.text.locator("strong")).to_have_count(0)
        chat.expect_complaints("404")


async def test_thinking_says_how_long_it_took(opener: Opener) -> None:
    """The seconds count while the model thinks; then they are told."""
    script, clock = Script(Reply(["So."], thinking=["Let me", " **see**."]), HELD), GatedClock()
    async with chat_server(script, clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.page.clock.set_fixed_time(NOON)
        await chat.ask("Think")
        clock.let_go(2)
        summary = chat.answers.locator("summary")
        await expect(summary).to_have_text("Thinking, 0 s")
        await chat.page.clock.set_fixed_time(NOON + timedelta(seconds=12))
        await expect(summary).to_have_text("Thinking, 12 s")
        clock.let_go()
        await expect(summary).to_have_text("Thought for 12 s")
        clock.let_go()
        await expect(chat.answers.locator(".thinking")).not_to_have_attribute("open", "")


async def test_figures_at_the_end(opener: Opener) -> None:
    """Tokens, tokens a second, the first token's time: what the run's end tells."""
    usage = {
        "prompt_tokens": 31,
        "completion_tokens": 101,
        "load_time": 12.3,
        "first_token_time": 13.0,
        "total_time": 15.0,
    }
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.answer_with(
            {"type": "start", "data": {"agent": "ollama", "run_id": "1", "model": "mistral"}},
            {"type": "text_message", "data": {"content": "Blue."}},
            {"type": "end", "data": {"status": "completed", "reason": "stop", "usage": usage}},
        )
        await chat.ask("Sky?")
        await chat.wait_answered()
        facts = chat.answers.locator(".facts")
        await expect(facts).to_have_attribute("data-brief", "101 tokens, 50/s")
        await expect(facts).to_have_text(
            "mistral · 101 tokens · 50 tokens/s · first after 13 s · loaded in 12 s · 15 s in all"
            " · prompt 31 tokens"
        )


LANGUAGES = {
    "The sky is blue, and this is what you have not seen.": "en",
    "Der Himmel ist blau, und das ist nicht die Farbe von Licht.": "de",
    "Le ciel est bleu, et les nuages dans une image qui est belle.": "fr",
    "El cielo es azul y los colores que están con una luz más clara.": "es",
    "Il cielo è blu, e questo è anche più bello che non di sera.": "it",
    "O céu é azul e não é mais que uma cor para você.": "pt",
    "De lucht is blauw en het is niet van een kleur die wordt gezien.": "nl",
    "空は青いです。漢字も多い。": "ja",
    "天空是蓝色的。": "zh",
    "하늘은 파랗다": "ko",
    "Небо синее, и это красиво": "ru",
    "Небо синє, і це її колір": "uk",
    "السماء زرقاء": "ar",
    "השמיים כחולים": "he",
    "x = 1": "",
    "Hello": "",
    "": "",
    "👩‍🔬 42": "",
}


async def test_languages_are_told_apart(opener: Opener) -> None:
    """By their letters, or by several of their commonest words; where neither tells, by nothing."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        found = await chat.page.evaluate(
            """async (texts) => {
                const { languageOf } = await import("/static/chat/language.js");
                return texts.map(languageOf);
            }""",
            list(LANGUAGES),
        )
        assert dict(zip(LANGUAGES, found, strict=True)) == LANGUAGES
