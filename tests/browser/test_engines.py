"""What must work in each of the three engines: Chromium's, Firefox's and Safari's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from dripline.testing import Pace, Reply, Script
from tests.support.browser import Relay, body_of, chat_server
from tests.support.engines import ENGINES, Engine, engine
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
WORDS = [f"word{number} " for number in range(40)]

# What can be seen of the last answer: each part's text and height.
SEEN = """(selector) => [...document.querySelectorAll(`.answer.last ${selector}`)].map((element) =>
    [element.innerText.trim(), element.getBoundingClientRect().height])"""

# A press that an input method takes, in Safari's order: the composition is over, the code is 229.
TAKE_SUGGESTION = """(selector) => {
    const press = new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true });
    Object.defineProperty(press, "keyCode", { value: 229 });
    return document.querySelector(selector).dispatchEvent(press);
}"""

# What Google Translate does to a page.
TRANSLATE = """() => {
    const walker = document.createTreeWalker(document.querySelector(".answer.last .text"), 4);
    const nodes = [];
    while (walker.nextNode()) nodes.push(walker.currentNode);
    for (const node of nodes) {
        const font = document.createElement("font");
        font.textContent = node.data.toUpperCase();
        node.replaceWith(font);
    }
    return nodes.length;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=ENGINES)
async def page(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    async with engine(request.param) as page:
        yield page


async def open_chat(page: Engine, url: str) -> None:
    """Load the page, and wait until it knows its models."""
    await page.open(url)
    await page.wait_for("document.querySelector('#model:enabled, #trouble > *')")


async def ask(page: Engine, text: str) -> None:
    """Type a message and press Enter."""
    await page.call("() => document.querySelector('#message').focus()")
    await page.type(text)
    await page.press("Enter")


def shows(text: str) -> str:
    """A condition: the last answer shows a text."""
    return f"document.querySelector('.answer.last .body')?.innerText.includes({text!r})"


OVER = "document.querySelector('.answer.last')?.ariaBusy === 'false'"


async def test_an_answer_is_seen_while_it_comes_and_afterwards(page: Engine) -> None:
    """Its text has a height from its first word on, and so have thinking and tool calls."""
    clock = GatedClock()
    async with chat_server(Script(["One ", "two ", "three."], HELD), clock=clock) as (_, server):
        await open_chat(page, server.url)
        await ask(page, "Count")
        await page.wait_for("document.querySelector('.answer.last .waiting:not([hidden])')")
        assert await page.call(SEEN, ".body") == [["", 0]]
        clock.let_go(1)
        await page.wait_for(shows("One"))
        ((text, height),) = await page.call(SEEN, ".text")
        assert text == "One"
        assert height >= 20
        clock.let_go(3)
        await page.wait_for(OVER)
        ((text, height),) = await page.call(SEEN, ".body")
        assert text == "One two three."
        assert height >= 20
        ((facts, height),) = await page.call(SEEN, ".facts")
        assert "3 tokens" in facts
        assert height >= 10
        assert await page.call(SEEN, ".failure") == [["", 0]]


async def test_thinking_is_seen_and_folds_away(page: Engine) -> None:
    """It is open while the model thinks, and one line afterwards."""
    clock = GatedClock()
    reply = Reply(["Yes."], thinking=["Hmm, ", "let me see."])
    async with chat_server(Script(reply, HELD), clock=clock) as (_, server):
        await open_chat(page, server.url)
        await ask(page, "Is it?")
        clock.let_go(2)
        await page.wait_for(
            "document.querySelector('.answer.last .thinking .prose')?.innerText.includes('see')"
        )
        ((_, height),) = await page.call(SEEN, ".thinking .prose")
        assert height >= 20
        clock.let_go(2)
        await page.wait_for(OVER)
        assert not await page.call("() => document.querySelector('.answer.last .thinking').open")
        ((text, height),) = await page.call(SEEN, ".body")
        assert text == "Yes."
        assert height >= 20


async def test_blocks_are_drawn(page: Engine) -> None:
    """A heading, a table, code and a list each have a place of their own."""
    text = "# Title\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\ncode\n```\n\n- one\n- two\n"
    async with chat_server(Script(text)) as (_, server):
        await open_chat(page, server.url)
        await ask(page, "All")
        await page.wait_for(OVER)
        places = await page.call(
            """() => [..."h3 table pre li".split(" ")].map((tag) =>
                document.querySelector(`.answer.last ${tag}`).getBoundingClientRect().top)"""
        )
        assert places == sorted(set(places))


async def test_the_composer_is_as_high_as_its_text(page: Engine) -> None:
    """It grows line by line up to a bound, and shrinks when the message is sent."""
    async with chat_server(Script("Yes.")) as (_, server):
        await open_chat(page, server.url)
        height = "() => document.querySelector('#message').getBoundingClientRect().height"
        first = await page.call(height)
        await page.call("() => document.querySelector('#message').focus()")
        heights = []
        for character in "abc":
            await page.type(character)
            await page.press("Shift", "Enter")
            heights.append(await page.call(height))
        assert first < heights[0] < heights[1] < heights[2]
        await page.call("() => document.execCommand('insertText', false, 'x\\n'.repeat(200))")
        assert await page.call(height) < 400
        await page.press("Enter")
        await page.wait_for(OVER)
        assert await page.call(height) == first


async def test_the_chosen_model_takes_the_room_of_its_name(page: Engine) -> None:
    """However long the names of the others are."""
    models = {"a": Script("Yes."), "b" * 60: Script("No.")}
    async with chat_server(models, model="a") as (_, server):
        await open_chat(page, server.url)
        width = await page.call("() => document.querySelector('.model').offsetWidth")
        chosen = await page.call("() => document.querySelector('#model').value")
        shown = await page.call(
            """() => [...document.querySelectorAll(".model .chosen, .model selectedcontent span")]
                .filter((shown) => shown.checkVisibility()).map(({ innerText }) => innerText)"""
        )
        assert chosen == "a:latest"
        assert [text.split(" ")[0] for text in shown] == [chosen]
        assert width < 200


async def test_an_input_methods_enter_sends_nothing(page: Engine) -> None:
    """Also where the composition is over before the key is told: in each place that hears Enter."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        await open_chat(page, server.url)
        await page.call("() => document.querySelector('#message').focus()")
        await page.type("half a wo")
        assert await page.call(TAKE_SUGGESTION, "#message")
        assert await page.call("() => document.querySelector('#message').value") == "half a wo"
        assert not ollama.chats
        await page.press("Enter")
        await page.wait_for(OVER)
        await page.call("() => document.querySelector('#chats .rename').click()")
        assert await page.call(TAKE_SUGGESTION, "#chats .title")
        assert await page.call("() => document.querySelectorAll('#chats .title').length") == 1
        await page.press("Escape")
        await page.call("() => document.querySelector('.question [data-does=edit]').click()")
        assert await page.call(TAKE_SUGGESTION, ".edit textarea")
        assert await page.call("() => document.querySelectorAll('.edit').length") == 1


async def test_replaced_text_nodes_lose_no_word(page: Engine) -> None:
    """A translator puts its own nodes in the place of the page's while the answer grows."""
    clock = GatedClock()
    words = ["One ", "two ", "**three** ", "four.\n\n- five\n- six ", "seven\n- eight\n", "\nnine"]
    async with chat_server(Script(words, HELD), clock=clock) as (_, server):
        await open_chat(page, server.url)
        await ask(page, "Count")
        for word, seen in zip(words, ["One", "two", "three", "six", "eight", "nine"], strict=True):
            clock.let_go(1)
            await page.wait_for(f"{shows(seen)} || {shows(seen.upper())}")
            assert await page.call(TRANSLATE) > 0, word
        clock.let_go(1)
        await page.wait_for(OVER)
        ((text, _),) = await page.call(SEEN, ".text")
        assert " ".join(text.lower().split()) == "one two three four. five six seven eight nine"
        assert await page.call("() => document.querySelector('.answer.last').translate") is True


async def test_an_answer_is_left_alone_by_translators_while_it_comes(page: Engine) -> None:
    """It may be translated once it is over, and says in which language it is."""
    clock = GatedClock()
    words = ["Der Himmel ist blau, ", "weil das Licht nicht von allein kommt und sich auf "]
    async with chat_server(Script(words, HELD), clock=clock) as (_, server):
        await open_chat(page, server.url)
        await ask(page, "Why is the sky blue, and what is the colour of that?")
        clock.let_go(1)
        await page.wait_for(shows("blau"))
        assert await page.call("() => document.querySelector('.answer.last').translate") is False
        clock.let_go(2)
        await page.wait_for(OVER)
        assert await page.call("() => document.querySelector('.answer.last').translate") is True
        languages = "() => [...document.querySelectorAll('#log [lang]')].map(({ lang }) => lang)"
        assert await page.call(languages) == ["en", "", "de"]


async def test_stop_ends_the_answer(page: Engine) -> None:
    """Escape stops it; what came stays."""
    clock = GatedClock()
    async with chat_server(Script(WORDS, HELD), clock=clock) as (ollama, server):
        await open_chat(page, server.url)
        await ask(page, "Go on")
        clock.let_go(3)
        await page.wait_for(shows("word2"))
        await page.press("Escape")
        await page.wait_for(OVER)
        ((text, _),) = await page.call(SEEN, ".text")
        assert text == "word0 word1 word2"
        assert len(ollama.chats) == 1


async def test_an_answer_survives_cuts_and_a_reload(page: Engine) -> None:
    """No word is lost or doubled, and the chat is there again."""
    clock = GatedClock()
    async with (
        chat_server(Script(WORDS, HELD), clock=clock) as (ollama, server),
        Relay(server.url) as relay,
    ):
        await open_chat(page, relay.url)
        await ask(page, "Count")
        clock.let_go(10)
        await page.wait_for(shows("word9"))
        relay.reset_all()
        clock.let_go(10)
        await page.wait_for(shows("word19"))
        await page.reload()
        clock.let_go(len(WORDS) - 20 + 1)
        await page.wait_for(f"document.querySelector('#model:enabled') && {OVER}")
        ((text, height),) = await page.call(SEEN, ".text")
        assert text == "".join(WORDS).strip()
        assert height >= 20
        assert len(ollama.chats) == 1


async def test_settings_open_and_are_kept(page: Engine) -> None:
    """A dialog that Escape closes; what is set in it is sent."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        await open_chat(page, server.url)
        await page.call("() => document.querySelector('#open-settings').click()")
        await page.call("() => document.querySelector('#set-seed').focus()")
        await page.type("7")
        await page.press("Escape")
        await page.wait_for("!document.querySelector('#settings').open")
        await ask(page, "Hello")
        await page.wait_for(OVER)
        assert body_of(ollama.chats[-1])["options"] == {"seed": 7}


async def test_a_draft_is_there_after_a_reload(page: Engine) -> None:
    """To its last letter, though the page was closed at once."""
    async with chat_server(Script("Yes.")) as (_, server):
        await open_chat(page, server.url)
        await page.call("() => document.querySelector('#message').focus()")
        await page.type("half a wo")
        await page.reload()
        await page.wait_for("document.querySelector('#message').value === 'half a wo'")
