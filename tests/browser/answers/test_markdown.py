"""Markdown on the page: what it looks like does not depend on how it came."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, CDPSession, Page

from dripline.testing import Script
from tests.support.browser import chat_server, open_page
from tests.support.long_answer import SAMPLE, long_answer
from tests.support.programs import require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Draws pieces as they come, and the whole text parsed at once.
SETUP = """async () => {
    const { GrowingMarkdown } = await import("/static/view/markdown/growing-markdown.js");
    const { parser } = await import("/static/view/markdown/parser.js");
    const { parseBlocks } = await import("/static/view/markdown/tree.js");
    const { redraw } = await import("/static/view/markdown/drawing.js");
    window.parser = parser;
    window.Growing = class extends GrowingMarkdown {
        constructor(element) {
            super(element, parser);
        }
    };
    window.drawPieces = (pieces) => {
        const element = document.createElement("div");
        const markdown = new GrowingMarkdown(element, parser);
        for (const piece of pieces) {
            markdown.add(piece);
            markdown.paint(Infinity);
        }
        markdown.end();
        markdown.paint(Infinity);
        return element.innerHTML;
    };
    window.withoutSections = (html) => {
        const element = document.createElement("div");
        element.innerHTML = html;
        for (const section of element.querySelectorAll(".section")) {
            section.replaceWith(...section.childNodes);
        }
        return element.innerHTML;
    };
    window.drawSteps = (text) => {
        const element = document.createElement("div");
        const markdown = new GrowingMarkdown(element, parser);
        markdown.add(text);
        markdown.end();
        let steps = 1;
        while (!markdown.paint(0)) steps += 1;
        for (const block of element.querySelectorAll(".code")) {
            block.replaceWith(block.querySelector("code"));
        }
        // A long table's further pieces have the head again.
        [...element.querySelectorAll("thead")].slice(1).forEach((head) => head.remove());
        return [element.textContent, steps];
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
        *("a  ", "**", "[", "- [ ] t", "- [x] t", "[^1]: note", "a[^1] <br> H<sub>2</sub>O"),
        *("$$", "$$ x $$", "\\[", "\\]", "\\[ x", "x \\]", "\\(a^2\\) $b$ $5 or $6", "- $$"),
        *("$$ x $$.", "<kbd>a", "</kbd>", "これは**「強調」**です。", "<sup>*a</sup>*"),
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


# What may be in an answer, and the only attributes.
ELEMENTS = (
    "div.section p h3 h4 h5 h6 em strong s code a a.image span br hr blockquote ul ol li pre "
    "div.table table thead tbody tr th td div.code div.code-head span.language button.wrap "
    "button.fold button.copy sub sup kbd mark ins del u b i li.task input span.maths "
    "div.maths-source"
)
ATTRIBUTES = (
    "class dir start href title rel target tabindex type role aria-label aria-pressed disabled "
    "checked data-language"
)
HOSTILE = st.sampled_from(
    [
        *("<script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "</div><!--"),
        *("<svg/onload=window.hacked=1>", "<iframe srcdoc='<script>'>", "<style>*{}</style>"),
        *("[a](javascript:window.hacked=1)", "[a](JaVaScRiPt&colon;x)", "[a](data:text/html,x)"),
        *("[a](java\tscript:x)", "[a](/runs)", "[a](//evil)", "[a](vbscript:x)", "[a](file:///x)"),
        *('[a](https://x "onclick=x")', '[a](https://x" onclick="x)', "<javascript:x>"),
        *("![a](data:image/svg+xml,x)", "![a](https://x/y.png)", "![a](x)", "javascript:x"),
        *("[a]: javascript:x", "[a]", "[![a](https://x)](javascript:x)", "<https://x>", "&lt;"),
        *("```<b>", "```js onclick=x", '``` " onload=x', "```", "> ", "- ", "1. ", "#", "|"),
        *(
            "$\\href{javascript:x}{a}$",
            "\\[\\label{message}\\]",
            "$$\\def\\a{\\a}\\a$$",
            "<kbd onclick=x>",
        ),
        *("- [x] <input>", "[^<b>]", "<sub><script>x</script></sub>", "<BR onload=x>"),
        *("99999999999. x", "*_*_*_", "~~~~", "**" * 50, "[" * 50, "> " * 300, "- " * 300),
        *("<" * 50, "![", "](", "|-|-|", "\u202e\u2066", "\0", "\u2028", "a@b.c", "mailto:a@b.c"),
    ]
)


@settings(max_examples=200)
@given(cut_texts())
async def test_drawn_alike_however_it_was_cut(page: Page, pieces: list[str]) -> None:
    """What grew piece by piece is what parsing the whole text at once gives."""
    both = """([pieces]) => [
        withoutSections(drawPieces(pieces)),
        withoutSections(drawWhole(pieces.join(""))),
    ]"""
    grown, whole = await page.evaluate(both, [pieces])
    assert grown == whole


# Longer than what is parsed at once, in every kind of block that may be.
LONG = "\n\n".join(
    [
        SAMPLE * 20,
        "> quoted\n" * 5000,
        "word *and* " * 5000,
        "".join(f"{n}. item\n   - in it\n" for n in range(1, 800)),
        "- one\n" + "  and on\n" * 5000,
        "| a |\n|---|\n" + "| b |\n" * 800,
        "```py\n" + "x = '👩‍🔬'\n" * 4000 + "```",
        "👩‍🔬" * 9000,
        SAMPLE,
    ]
)


@settings(max_examples=10)
@given(st.sets(st.integers(0, len(LONG)), max_size=40))
async def test_drawn_alike_where_blocks_are_too_long(page: Page, cuts: set[int]) -> None:
    """Where long blocks end, and which blocks stand together, depends on the text alone."""
    edges = [0, *sorted(cuts), len(LONG)]
    pieces = [LONG[a:b] for a, b in itertools.pairwise(edges)]
    alike = "([pieces]) => drawPieces(pieces) === drawPieces([pieces.join('')])"
    assert await page.evaluate(alike, [pieces])


@settings(max_examples=100)
@given(st.lists(st.tuples(HOSTILE, st.sampled_from(["\n", " ", "", "\n\n"])).map("".join)))
async def test_hostile_markdown_makes_only_what_is_listed(page: Page, pieces: list[str]) -> None:
    """No element, attribute or address is on the page but those that an answer may have."""
    found = await page.evaluate(
        """([pieces]) => {
            const element = document.createElement("div");
            element.innerHTML = drawPieces(pieces);
            const all = [...element.getElementsByTagName("*")];
            return {
                elements: all.map((e) => [e.localName, e.classList[0]].filter(Boolean).join(".")),
                attributes: all.flatMap((e) => e.getAttributeNames()),
                addresses: all.flatMap((e) => (e.href === undefined ? [] : [e.protocol])),
                depth: Math.max(0, ...all.map((e) => {
                    let depth = 0;
                    for (; e; e = e.parentElement) depth += 1;
                    return depth;
                })),
            };
        }""",
        [pieces],
    )
    kinds = {kind.split(".like-")[0].split(".align-")[0] for kind in found["elements"]}
    assert kinds <= set(ELEMENTS.split())
    assert set(found["attributes"]) <= set(ATTRIBUTES.split())
    assert set(found["addresses"]) <= {"https:", "http:", "mailto:"}
    assert found["depth"] < 100
    assert await page.evaluate("window.hacked") is None


# What a model may say without end, and which characters of it may be Markdown's.
HUGE = {
    "a line": ("w" * 2**20, ""),
    "emoji": ("👩‍🔬" * 2**16, ""),
    "brackets": ("[" * 2**17, ""),
    "emphasis": ("*a _b " * 2**14, "*_ "),
    "quotes": ("> " * 2**15 + "x", "> "),
    "nested lists": ("".join("  " * (n % 40) + "- x\n" for n in range(3000)), "- \n"),
    "code": ("```\n" + "x = 1\n" * 2**14, "`\n"),
    "a line of code": ("```\n" + "y" * 2**18, "`\n"),
    "a table": ("|a|b|\n|-|-|\n" + "|1|2|\n" * 2000, "|-\n"),
    "a wide table": ("|a" * 200 + "\n" + "|-" * 200 + "\n" + "|b\n" * 1000, "|-\n"),
    "paragraphs": ("a\n\n" * 2**13, "\n"),
}


@pytest.mark.parametrize("kind", HUGE)
async def test_a_huge_token_is_drawn_step_by_step(page: Page, kind: str) -> None:
    """All of it appears, in steps that leave room for everything else."""
    text, markers = HUGE[kind]
    shown, steps = await page.evaluate("([text]) => drawSteps(text)", [text])
    unmarked = str.maketrans("", "", markers)
    assert shown.translate(unmarked) == text.translate(unmarked)
    assert steps > 1


# Gives the median milliseconds of a frame in the first and in the last quarter of a long answer,
# and of parsing all of it anew. Laying it out is a part of it. The quarters are drawn in turns, so
# that whatever else the machine does slows both.
MEASURE = """([tokens, step]) => {
    const median = (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
    const quarter = Math.floor(tokens.length / step / 4);
    const begin = () => {
        const element = document.createElement("div");
        element.className = "text prose";
        document.querySelector("#log").append(element);
        return element;
    };
    const timed = (element, draw) => {
        const began = performance.now();
        draw();
        element.getBoundingClientRect();
        return performance.now() - began;
    };
    const grow = () => {
        const element = begin();
        const markdown = new Growing(element);
        return (frame) => {
            const piece = tokens.slice(frame * step, (frame + 1) * step).join("");
            return timed(element, () => {
                markdown.add(piece);
                markdown.paint(Infinity);
            });
        };
    };
    const [long, fresh] = [grow(), grow()];
    for (let frame = 0; frame < 3 * quarter; frame += 1) long(frame);
    const [first, last] = [[], []];
    for (let frame = 0; frame < quarter; frame += 1) {
        first.push(fresh(frame));
        last.push(long(3 * quarter + frame));
    }
    const [element, text] = [begin(), tokens.join("")];
    const parse = () => timed(element, () => (element.innerHTML = parser.render(text)));
    const anew = Array.from({ length: 5 }, parse);
    document.querySelector("#log").replaceChildren();
    return [first, last, anew].map(median);
}"""


async def test_a_frame_takes_as_long_at_the_end_as_at_the_beginning(page: Page) -> None:
    """An answer of 20,000 tokens, eight a frame; parsing it anew at its end takes far longer."""
    first, last, anew = await page.evaluate(MEASURE, [long_answer(20_000), 8])
    assert last <= 2 * first + 0.2  # The browser's clock goes in steps of 0.1.
    assert anew > 10 * last


@pytest.mark.parametrize("item", ["- a\n", "1. a\n", "|a|b|\n"])
async def test_long_lists_go_on_in_pieces(page: Page, item: str) -> None:
    """Where a list or table goes on in another depends on the text, not on how it came."""
    head = "|h|i|\n|-|-|\n" if item.startswith("|") else ""
    text = f"Before\n\n{head}{item * 250}\nAfter\n"
    both = "([text]) => [drawPieces(text.split(/(?<=\\n)/)), drawPieces([text])]"
    grown, whole = await page.evaluate(both, [text])
    assert grown == whole
    shape = """([html]) => {
        const element = document.createElement("div");
        element.innerHTML = html;
        const found = [...element.querySelectorAll("ul, ol, table")];
        return found.map((e) => [
            e.querySelectorAll("li, tbody tr").length,
            e.getAttribute("start") ?? e.querySelectorAll("th").length,
        ]);
    }"""
    starts = ["1", "101", "201"] if item.startswith("1") else [2, 2, 2] if head else [0, 0, 0]
    wanted = [list(pair) for pair in zip([100, 100, 50], starts, strict=True)]
    assert await page.evaluate(shape, [whole]) == wanted


async def test_beyond_a_bound_text_is_plain(page: Page) -> None:
    """All of an endless list appears, its end as it stands, however it was cut."""
    text = "- a\n" * 100_000
    shape = """([pieces]) => {
        const element = document.createElement("div");
        element.innerHTML = drawPieces(pieces);
        return {
            items: element.querySelectorAll("li").length,
            plain: [...element.querySelectorAll(".verbatim")].map((e) => e.textContent.length),
        };
    }"""
    whole = await page.evaluate(shape, [[text]])
    assert sum(whole["plain"]) == len(text) - whole["items"] * len("- a\n")
    assert 10_000 < whole["items"] < 20_000
    assert len(whole["plain"]) > 1  # what is laid out anew is but a part of it
    cut = [text[at : at + 17_001] for at in range(0, len(text), 17_001)]
    assert await page.evaluate(shape, [cut]) == whole


@pytest.mark.parametrize("lines", ["x\n" * 5000, "y" * 50_000])
async def test_long_code_is_one_block(page: Page, lines: str) -> None:
    """However short or long its lines are."""
    count = """([text]) => {
        const element = document.createElement("div");
        element.innerHTML = drawPieces([text]);
        return element.querySelectorAll("pre").length;
    }"""
    assert await page.evaluate(count, [f"```\n{lines}\n```\n"]) == 1


@pytest.mark.parametrize("line", ["    code\n", "- a\n", "| a | b |\n"])
async def test_what_is_drawn_stays_where_it_is(page: Page, line: str) -> None:
    """What comes behind takes nothing off the page, not even for a moment."""
    removed = await page.evaluate(
        """async ([lines]) => {
            const element = document.createElement("div");
            const markdown = new Growing(element);
            const observer = new MutationObserver(() => {});
            observer.observe(element, { childList: true, subtree: true });
            for (const line of lines) {
                markdown.add(line);
                markdown.paint(Infinity);
            }
            return observer.takeRecords().flatMap((record) => [...record.removedNodes]).length;
        }""",
        [["| a | b |\n|---|---|\n"] * line.startswith("|") + [line] * 50],
    )
    assert removed == 0


@pytest.mark.parametrize("item", ["- a\n", "|a|b|\n"])
async def test_an_item_costs_no_more_in_a_longer_list(page: Page, item: str) -> None:
    """All that the main thread does for a list or table grows with its length, not its square."""
    head = "|h|i|\n|-|-|\n" if item.startswith("|") else ""
    draw = """async ([text]) => {
        const element = document.createElement("div");
        element.className = "text prose";
        document.querySelector("#log").append(element);
        const markdown = new Growing(element);
        markdown.add(text);
        markdown.end();
        // A step a frame, however fast the machine.
        while (!markdown.paint(0)) await new Promise(requestAnimationFrame);
        element.remove();
    }"""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("Performance.enable")

    async def cost(count: int) -> float:
        before = await thread_time(devtools)
        await page.evaluate(draw, [head + item * count])
        return (await thread_time(devtools) - before) / count

    await cost(1000)  # what is done once
    short, long = await cost(2000), await cost(16_000)
    await devtools.detach()
    assert long < 3 * short


async def thread_time(devtools: CDPSession) -> float:
    """Seconds of the processor that the main thread has had."""
    metrics = (await devtools.send("Performance.getMetrics"))["metrics"]
    return next(float(m["value"]) for m in metrics if m["name"] == "ThreadTime")
