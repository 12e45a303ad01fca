"""What makes an answer a joy to read: maths, colours, tables, and how it is copied and printed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Route, expect

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.programs import require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(autouse=True)
def libraries() -> None:
    require_npm_packages("static")


Reader = Callable[..., Awaitable[ChatPage]]


@pytest_asyncio.fixture(loop_scope="session")
async def answered(opener: Opener) -> AsyncIterator[Reader]:
    """Opens a page with a chat whose answer is a text."""
    async with AsyncExitStack() as servers:

        async def open_answered(text: str, **context: Any) -> ChatPage:
            _, server = await servers.enter_async_context(chat_server(Script([text])))
            chat = await opener(server.url, **context)
            await chat.ask("Go")
            await chat.wait_answered()
            return chat

        yield open_answered


FORMULAS = {
    "Euler: $e^{i\\pi} + 1 = 0$.": ["$e^{i\\pi} + 1 = 0$"],
    "Root \\(\\sqrt{x}\\) here": ["\\(\\sqrt{x}\\)"],
    "$$\\frac{1}{2}$$": ["$$\\frac{1}{2}$$"],
    "So\n\\[\nx\n- y\n\\]\nthen": ["\\[\nx\n- y\n\\]"],
    "- item\n\n  $$\n  a\n  $$\n": ["$$\na\n$$"],
    "| a |\n|---|\n| $x_1$ |": ["$x_1$"],
    "It costs $5 or $6, and `a$b` and US$7.": [],
    "$5-$10 and \\$x\\$ and $ x $": [],
    "`$x$`\n\n```\n$$y$$\n```": [],
    "open \\(a": [],
}


async def test_formulas_are_drawn(opener: Opener) -> None:
    """As MathML, in each way of writing them; sums of money and code are none."""
    async with chat_server(Script("x")) as (_, server):
        chat = await opener(server.url)
        found = await chat.page.evaluate(
            """async (texts) => {
                const folder = "/static/view/markdown";
                const { GrowingMarkdown } = await import(`${folder}/growing-markdown.js`);
                const { parser } = await import(`${folder}/parser.js`);
                const log = document.querySelector("#log");
                const found = [];
                for (const text of texts) {
                    const element = document.createElement("div");
                    log.replaceChildren(element);
                    const markdown = new GrowingMarkdown(element, parser);
                    markdown.add(text);
                    markdown.end();
                    markdown.paint(Infinity);
                    const formulas = [...element.querySelectorAll(".maths")];
                    for (const formula of formulas) {
                        for (let left = 300; left && !formula.querySelector("math"); left -= 1) {
                            await new Promise(requestAnimationFrame);
                        }
                    }
                    found.push(formulas.map((formula) => {
                        const source = formula.firstChild.textContent;
                        return formula.querySelector("math") ? source : `not drawn: ${source}`;
                    }));
                }
                return found;
            }""",
            list(FORMULAS),
        )
        assert dict(zip(FORMULAS, found, strict=True)) == FORMULAS


@pytest.mark.parametrize(
    "formula",
    [
        "\\notacommand{x}",
        "\\def\\a{\\a\\a}\\a",
        "{" * 2000 + "}" * 2000,
        "x" * 5000,
        "\\frac" * 200,
        "\\href{javascript:alert(1)}{x",
    ],
    ids=["unknown", "endless", "deep", "long", "nested", "unclosed"],
)
async def test_a_formula_that_cannot_be_drawn_stays_as_it_is(
    answered: Reader, formula: str
) -> None:
    """Hostile ones are bounded; the source says what was meant, and the page works on."""
    chat = await answered(f"Before $${formula}$$ after $a$.")
    await expect(chat.text.locator("math")).not_to_have_count(0)
    await expect(chat.text).to_contain_text("Before")
    await expect(chat.text.locator("[id], [href]")).to_have_count(0)
    await expect(chat.message).to_be_editable()


async def copied(chat: ChatPage, place: Locator) -> str:
    """What copying the text of a place gives."""
    await place.evaluate("(element) => getSelection().selectAllChildren(element)")
    await chat.page.keyboard.press("Control+C")
    text: str = await chat.page.evaluate("navigator.clipboard.readText()")
    return text


async def test_a_formula_is_copied_as_its_source(answered: Reader) -> None:
    """Selected with its sentence, it is what the model wrote, once."""
    sentence = "Euler says $e^{i\\pi} = -1$ here."
    chat = await answered(sentence, permissions=["clipboard-read", "clipboard-write"])
    await expect(chat.text.locator("math")).to_have_count(1)
    assert " ".join((await copied(chat, chat.text.locator("p"))).split()) == sentence


async def test_code_is_coloured_and_stays_what_it_is(answered: Reader) -> None:
    """Its words have the page's colours, its text is the same; what is not known is plain."""
    code = 'def f(x):\n    return "&lt; <b>" + x  # 42\n' + "y = 1\n" * 600
    text = f"```py\n{code}```\n\n```nonsense\nplain\n```\n"
    chat = await answered(text, permissions=["clipboard-read", "clipboard-write"])
    block = chat.text.locator("code").first
    await expect(block.locator(".hljs-keyword").first).to_have_text("def")
    await expect(block.locator(".hljs-string").first).to_have_text('"&lt; <b>"')
    await expect(block).to_have_js_property("textContent", code)
    await expect(chat.text.locator("code").last.locator("span span")).to_have_count(0)
    size = await block.evaluate("(element) => parseFloat(getComputedStyle(element).fontSize)")
    assert 13 <= size <= 14
    # The button is in view, wherever in the code one is.
    button = chat.text.get_by_role("button", name="Copy").first
    await block.evaluate("(element) => element.children[1].scrollIntoView()")
    await expect(button).to_be_in_viewport()
    await button.click()
    await expect(chat.text.get_by_role("button", name="Copied")).to_be_visible()
    assert await chat.page.evaluate("navigator.clipboard.readText()") == code.removesuffix("\n")


async def test_code_wraps_and_folds(answered: Reader) -> None:
    """Each button says whether it is pressed."""
    chat = await answered("```\n" + "word " * 200 + "\n```\n")
    pre = chat.text.locator("pre")
    wide = "(element) => element.scrollWidth > element.clientWidth"
    assert await pre.evaluate(wide)
    wrap = chat.text.get_by_role("button", name="Wrap")
    await wrap.click()
    await expect(wrap).to_have_attribute("aria-pressed", "true")
    assert not await pre.evaluate(wide)
    fold = chat.text.get_by_role("button", name="Fold")
    await fold.click()
    await expect(pre).to_be_hidden()
    await fold.click()
    await expect(pre).to_be_visible()


async def test_a_library_that_is_missing_leaves_the_source(opener: Opener) -> None:
    """Formulas and code are shown as they were written."""
    async with chat_server(Script(["$a^2$\n\n```py\nx = 1\n```\n"])) as (_, server):
        chat = await opener(server.url)
        chat.pardoned.append("404|Failed to load")

        async def missing(route: Route) -> None:
            await route.fulfill(status=404)

        for library in ("temml", "@highlightjs"):
            await chat.page.route(f"**/node_modules/{library}/**", missing)
        await chat.ask("Go")
        await chat.wait_answered()
        await expect(chat.text).to_contain_text("$a^2$")
        await expect(chat.text.locator("code")).to_have_text("x = 1\n")


async def test_a_wide_table_scrolls_and_breaks_no_word(answered: Reader) -> None:
    """Ten columns on a phone: the table scrolls, by keys too, and the page does not."""
    names = ["Switzerland", "Liechtenstein", "Luxembourg", "Montenegro", "Kyrgyzstan"] * 2
    table = "|" + "|".join(names) + "|\n" + "|---" * 10 + "|\n|" + "|".join(names) + "|\n"
    chat = await answered(table, viewport={"width": 390, "height": 700})
    heights = await chat.text.locator("td").evaluate_all(
        "(cells) => cells.map((cell) => cell.getBoundingClientRect().height)"
    )
    assert max(heights) < 45  # one line
    region = chat.text.get_by_role("region", name="Table")
    assert await region.evaluate("(element) => element.scrollWidth > element.clientWidth")
    assert await chat.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await region.focus()
    await region.press("ArrowRight")
    await chat.wait_for("document.querySelector('.table').scrollLeft > 0")


MARKS = {
    "これは**「強調」**です。": "strong",
    "**太字。**続き": "strong",
    "H<sub>2</sub>O": "sub",
    "x<sup>2</sup>": "sup",
    "Press <kbd>Ctrl</kbd>": "kbd",
    "A note[^1]": "sup",
    "- [x] done": "input:checked",
    "- [ ] to do": "input:not(:checked)",
    "one<br>two": ":scope",
}


async def test_marks_that_models_make(answered: Reader) -> None:
    """Bold beside CJK punctuation, small elements, tasks and footnotes."""
    chat = await answered("\n\n".join(MARKS))
    for selector in {mark for mark in MARKS.values() if mark != ":scope"}:
        await expect(chat.text.locator(selector)).not_to_have_count(0)
    await expect(chat.text.locator("strong")).to_have_text(["「強調」", "太字。"])
    await expect(chat.text).not_to_contain_text("<")
    await expect(chat.text).not_to_contain_text("**")


async def test_an_answer_is_copied_as_text_and_as_a_document(answered: Reader) -> None:
    """Markdown for editors, formatted text for word processors; the button shows that it worked."""
    text = "Some **bold** text.\n\n| a |\n|---|\n| 1 |\n"
    chat = await answered(text, permissions=["clipboard-read", "clipboard-write"])
    button = chat.answers.get_by_role("button", name="Copy", exact=True)
    await button.click()
    await expect(button.locator(".tick")).to_be_visible()
    kinds = await chat.page.evaluate(
        """async () => {
            const [item] = await navigator.clipboard.read();
            const texts = item.types.map(async (type) => [
                type, await (await item.getType(type)).text(),
            ]);
            return Object.fromEntries(await Promise.all(texts));
        }"""
    )
    assert kinds["text/plain"] == text
    assert "<strong>bold</strong>" in kinds["text/html"]
    assert "<table" in kinds["text/html"]
    await expect(button.locator(".tick")).to_be_hidden()


async def test_a_text_from_right_to_left_is_set_so(answered: Reader) -> None:
    """As a whole: its lists and tables too, but not its code."""
    chat = await answered("السماء زرقاء\n\n- واحد\n- اثنان\n\n```\nx = 1\n```\n")
    direction = "(element) => getComputedStyle(element).direction"
    assert await chat.text.locator("ul").evaluate(direction) == "rtl"
    assert await chat.text.locator(".code").evaluate(direction) == "ltr"


async def test_print_has_the_whole_conversation(answered: Reader) -> None:
    """Also what is scrolled out of sight; no buttons, no lists of chats."""
    chat = await answered("".join(f"Paragraph {number}.\n\n" for number in range(300)))
    await chat.page.emulate_media(media="print")
    await expect(chat.page.locator("#sidebar")).to_be_hidden()
    await expect(chat.message).to_be_hidden()
    heights = await chat.page.evaluate(
        """[document.documentElement.scrollHeight,
            document.querySelector(".answer .body").getBoundingClientRect().height]"""
    )
    assert heights[0] >= heights[1] > 5000
