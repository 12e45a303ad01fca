"""Markdown on the page: what it looks like does not depend on how it came."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page

from dripline_server.fake_ollama import Script
from tests.support.browser import chat_server, open_page
from tests.support.programs import require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Draws pieces as they come, and the whole text parsed at once.
SETUP = """async () => {
    const { GrowingMarkdown } = await import("/static/growing-markdown.js");
    const { parser } = await import("/static/markdown-library.js");
    const { parseBlocks } = await import("/static/markdown-tree.js");
    const { redraw } = await import("/static/markdown-drawing.js");
    window.drawPieces = (pieces) => {
        const element = document.createElement("div");
        const markdown = new GrowingMarkdown(element, parser);
        for (const piece of pieces) {
            markdown.add(piece);
            markdown.paint(Infinity);
        }
        markdown.end();
        markdown.paint(Infinity);
        for (const section of element.querySelectorAll(".section")) {
            section.replaceWith(...section.childNodes);
        }
        return element.innerHTML;
    };
    window.drawWhole = (text) => {
        const element = document.createElement("div");
        redraw(element, [], parseBlocks(parser, text));
        return element.innerHTML;
    };
}"""

LINES = st.sampled_from(
    [
        *("", "", "", "a", "word _em_ **strong** `code` ~~gone~~", "\\*no\\* &amp; <b>", "x\\"),
        *("# one", "###### six", "#no", "---", "***", "===", "-", "- - -", "--- x"),
        *("- a", "* b", "+ c", "  - in", "    - deep", "   para", "      far", "-", "\tcode"),
        *("- # h", "1. a", "2) b", "10. c", "1.", "   1. in", "   ```", "- ```js", "  x", "  ```"),
        *("> q", ">", "> - a", "> > b", ">     code", "> ```", "> | a |", "    code", "     code"),
        *("```", "```py", "````", "~~~", "~~~ x y", "``` a`b", " ```", "   ~~~", "```  ", "``"),
        *("| a | b |", "|---|:-:|", "| 1 |", "a|b", "-|-", "|", "| `|` \\| |", "--|"),
        *("[l](https://a.b/c)", "![i](https://a.b/i.png)", "[r]: https://a.b", "[r]"),
        *("[x](javascript:x)", "<https://a.b>", "https://a.b", "*a **b* c**", "`a", "``b` c``"),
        *("a  ", "**", "[", "- [ ] t"),
        *("\u2028```", "\u2029- a", "\u0085", "\u202e- x", "👩‍🔬", "\x0c", "\u00a0- x", "\0"),
    ]
)
ENDS = st.sampled_from(["\n", "\n", "\n", "\n\n", "\r\n", "\r", ""])
TEXTS = st.lists(st.tuples(LINES, ENDS).map("".join), max_size=14).map("".join)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    text = draw(TEXTS)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=len(text) + 1)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """The page, with `drawPieces` and `drawWhole`."""
    require_npm_packages("static")
    async with chat_server(Script("")) as (_, server), open_page(browser, server.url) as chat:
        await chat.page.evaluate(SETUP)
        yield chat.page


@settings(max_examples=200)
@given(cut_texts())
async def test_drawn_alike_however_it_was_cut(page: Page, pieces: list[str]) -> None:
    """What grew piece by piece is what parsing the whole text at once gives."""
    both = "([pieces]) => [drawPieces(pieces), drawWhole(pieces.join(''))]"
    grown, whole = await page.evaluate(both, [pieces])
    assert grown == whole
