"""A chat on the page: what is typed reaches the model, and its answer comes as it is made."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from playwright.async_api import expect

from dripline.recordings.splits import every_byte
from dripline.testing import Ending, Pace, Reply, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, body_of, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
ENDLESS = Script(["word "] * 100_000, Pace(tokens_per_second=200))
EXACT = [
    "naïve Größe ",
    "Ελλάδα привет ",
    "東京 नमस्ते ",
    "مرحبا שלום ",
    "안녕하세요 👩‍🔬\n",
    "next\u0085line ",
    "line\u2028separator ",
    "tab\tand  two blanks ",
    "\n\n  end",
]
# As paragraphs: blanks where a line begins or ends, and blank lines, are not text.
EXACT_SHOWN = "".join(EXACT).replace(" \n\n  ", "")


async def test_words_appear_one_after_another(opener: Opener) -> None:
    """The page shows each token while the model still holds back the next."""
    words, clock = ["One", " by", " one", ", they", " come."], GatedClock()
    async with chat_server(Script(words, HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Count")
        await expect(chat.questions).to_have_text("Count")
        for shown in range(1, len(words) + 1):
            clock.let_go()
            await chat.wait_text("".join(words[:shown]))
            await expect(chat.stop).to_be_visible()
        clock.let_go()
        await chat.wait_answered()
        await expect(chat.stop).to_be_hidden()


async def test_paints_once_a_frame(opener: Opener) -> None:
    """However fast tokens come, the text on the page changes at most once a frame."""
    async with chat_server(Script(["word "] * 1000)) as (_, server):
        chat = await opener(server.url)
        await chat.page.evaluate(
            """() => {
                window.frames_ = window.paints = 0;
                const count = () => { window.frames_ += 1; requestAnimationFrame(count); };
                count();
                new MutationObserver((records) => {
                    window.paints += records.filter((r) => r.type === "characterData").length;
                }).observe(document.querySelector("#log"), { characterData: true, subtree: true });
            }"""
        )
        await chat.ask("Go")
        await chat.wait_answered()
        await chat.wait_text(("word " * 1000).rstrip())
        paints, frames = await chat.page.evaluate("[window.paints, window.frames_]")
        # The last one need not wait for a frame.
        assert 1 <= paints <= frames + 1


async def test_text_arrives_exactly(opener: Opener) -> None:
    """Text in any script comes out as the model wrote it, though each byte came by itself."""
    async with chat_server(Script(EXACT, split=every_byte)) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Say it")
        await chat.wait_answered()
        await chat.wait_text(EXACT_SHOWN)


async def test_sends_what_was_said_before(opener: Opener) -> None:
    """The model is told the conversation so far: texts alone, without its thinking."""
    script = Script(Reply("Blue.", thinking="Hm."))
    async with chat_server(script) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("What is the sky's colour?")
        await chat.wait_answered(1)
        await chat.ask("And at night?")
        await chat.wait_answered(2)
    assert body_of(ollama.chats[1])["messages"] == [
        {"role": "user", "content": "What is the sky's colour?"},
        {"role": "assistant", "content": "Blue."},
        {"role": "user", "content": "And at night?"},
    ]


async def test_enter_sends_and_shift_enter_breaks_the_line(opener: Opener) -> None:
    """Shift+Enter writes a new line, Enter sends, and blanks alone are not sent."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await chat.message.press_sequentially("  ")
        await chat.message.press("Enter")
        await chat.message.fill("")
        await chat.message.press_sequentially("one")
        await chat.message.press("Shift+Enter")
        await chat.message.press_sequentially("two")
        await expect(chat.questions).to_have_count(0)
        await chat.message.press("Enter")
        await expect(chat.questions).to_have_text("one\ntwo")
        await expect(chat.message).to_have_value("")


async def test_enter_of_an_input_method_does_not_send(opener: Opener) -> None:
    """Enter that takes an input method's suggestion leaves the message where it is."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await chat.message.fill("にほん")
        await chat.message.dispatch_event("keydown", {"key": "Enter", "isComposing": True})
        await expect(chat.message).to_have_value("にほん")
        await chat.message.dispatch_event("keydown", {"key": "Enter"})
        await expect(chat.questions).to_have_text("にほん")


@pytest.mark.parametrize("way", ["button", "Escape"])
async def test_stop_closes_ollamas_socket(opener: Opener, way: str) -> None:
    """Stop ends the generation in Ollama; what has come is kept, and the chat goes on."""
    async with chat_server({"endless": ENDLESS, "short": Script("Hello.")}) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("Talk")
        await expect(chat.text).to_contain_text("word word")
        if way == "button":
            await chat.stop.click()
            await expect(chat.message).to_be_focused()
        else:
            await chat.page.keyboard.press("Escape")
        talk = await ollama.wait_for_request()
        assert await talk.wait_ended() is Ending.CLIENT_LEFT
        await talk.wait_closed()
        await chat.wait_answered()
        await expect(chat.answers.locator(".facts")).to_contain_text("Stopped")
        await expect(chat.answers.get_by_role("alert")).to_have_count(0)
        said = (await chat.text.text_content() or "").rstrip()

        await chat.model.select_option("short:latest")
        await chat.ask("Go on")
        await chat.wait_answered(2)
        await chat.wait_text("Hello.")
        sent = body_of(ollama.chats[1])["messages"][1]
        assert (sent["role"], sent["content"].rstrip()) == ("assistant", said)


async def test_stop_while_the_model_loads(opener: Opener) -> None:
    """The page says that the model loads, and Stop aborts that too."""
    script = Script("Never.", Pace(cold_load=float("inf")))
    async with chat_server(script, loading_after=0) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("Hello")
        await expect(chat.page.get_by_text("Loading story:latest into memory")).to_be_visible()
        await chat.stop.click()
        loading = await ollama.wait_for_request()
        assert await loading.wait_ended() is Ending.CLIENT_LEFT
        await expect(chat.answers.get_by_text("Stopped")).to_be_visible()
        await expect(chat.page.get_by_text("Loading")).to_be_hidden()


async def test_thinking_folds_away_once_the_answer_begins(opener: Opener) -> None:
    """Thinking is shown while it is all there is, then folded; it can be opened again."""
    script, clock = Script(Reply(["So."], thinking=["Let me", " see."]), HELD), GatedClock()
    async with chat_server(script, clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Think")
        thinking = chat.answers.get_by_role("group")
        clock.let_go(2)
        await expect(thinking.get_by_text("Let me see.")).to_be_visible()
        clock.let_go(1)
        await chat.wait_text("So.")
        await expect(thinking.get_by_text("Let me see.")).to_be_hidden()
        await chat.answers.get_by_text("Thought for").click()
        clock.let_go(1)
        await chat.wait_answered()
        await expect(thinking.get_by_text("Let me see.")).to_be_visible()


async def test_shows_tool_calls_where_they_came(opener: Opener) -> None:
    """A tool call has its name, arguments and result; what is said after it stands after it."""
    arguments = {"city": "Zürich", "days": 2}
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.answer_with(
            {"type": "start", "data": {"agent": "ollama", "run_id": "1", "model": "m"}},
            {"type": "text_message", "data": {"content": "Let me"}},
            {"type": "text_message", "data": {"content": " look."}},
            {"type": "tool_call", "data": {"id": "1", "name": "weather", "arguments": arguments}},
            {"type": "tool_call", "data": {"id": "2", "name": "time", "arguments": {}}},
            {"type": "tool_result", "data": {"id": "1", "name": "weather", "content": "**Sun**"}},
            {
                "type": "tool_result",
                "data": {"id": "2", "name": "time", "content": "No clock", "failed": True},
            },
            {"type": "text_message", "data": {"content": "It is *sunny*."}},
            {"type": "end", "data": {"status": "completed"}},
        )
        await chat.ask("What is the weather?")
        await chat.wait_answered()
        calls = chat.answers.get_by_role("listitem")
        await expect(calls).to_contain_text(["weather", "time"])
        shown = await calls.first.locator(".arguments").text_content()
        assert json.loads(shown or "") == arguments
        await expect(calls.first.locator(".result")).to_have_text("Result**Sun**")
        await expect(calls.last.locator(".result")).to_have_text("FailedNo clock")
        parts = chat.answers.locator(".body > *")
        await expect(parts).to_have_text(["Let me look.", re.compile("weather"), "It is sunny."])


async def test_offers_the_models_that_can_chat(opener: Opener) -> None:
    """Models come from the server; the chosen one answers; embedding models are not offered."""
    models = {
        "small": Script("I am small."),
        "large": Script("I am large."),
        "vectors": Script("", capabilities=["embedding"]),
    }
    async with chat_server(models, model="large") as (ollama, server):
        chat = await opener(server.url)
        await expect(chat.model.get_by_role("option")).to_have_text(
            [re.compile(r"^small:latest 2.0 GB$"), re.compile(r"^large:latest 2.0 GB")]
        )
        await expect(chat.model).to_have_value("large:latest")
        await chat.model.select_option("small:latest")
        await chat.ask("Who are you?")
        await chat.wait_text("I am small.")
    assert body_of(ollama.chats[0])["model"] == "small:latest"


async def hold_models(chat: ChatPage) -> asyncio.Event:
    """Load the page anew; it hears of its models when the event is set."""
    known = await chat.hold("**/models")
    await chat.page.reload()
    await expect(chat.page.locator("#send.idle")).to_be_visible()  # its scripts have run
    return known


async def test_the_first_message_waits_for_the_models(opener: Opener) -> None:
    """What is sent before they are known goes to the model that is chosen then."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        known = await hold_models(chat)
        await chat.ask("Early")
        await expect(chat.questions).to_have_text("Early")
        known.set()
        await chat.wait_answered()
        await chat.wait_text("Yes.")
        assert body_of(ollama.chats[0])["model"] == "story:latest"


async def test_a_message_that_waits_can_be_stopped(opener: Opener) -> None:
    """Then the model is not asked."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        known = await hold_models(chat)
        await chat.ask("Early")
        await chat.stop.click()
        await chat.wait_answered()
        await expect(chat.answers.locator(".facts")).to_contain_text("Stopped")
        known.set()
        await expect(chat.page.locator("#model:enabled")).to_have_count(1)
        await chat.ask("Late")
        await chat.wait_answered(2)
        assert len(ollama.chats) == 1


async def test_suggestions_are_messages(opener: Opener) -> None:
    """An empty chat suggests messages; pressing one sends it, and they make way."""
    async with chat_server(Script("Scattering.")) as (_, server):
        chat = await opener(server.url)
        welcome = chat.page.locator("#welcome")
        suggestion = welcome.get_by_role("button", name="Why is the sky blue?")
        await suggestion.click()
        await expect(chat.questions).to_have_text("Why is the sky blue?")
        await chat.wait_text("Scattering.")
        await expect(suggestion).to_be_hidden()


async def test_the_model_is_told_what_tools_gave(opener: Opener) -> None:
    """Rounds of calls and results are sent as Ollama takes them; calls without a result are not."""

    def call(call_id: str) -> dict[str, Any]:
        data = {"id": call_id, "name": "area", "arguments": {"of": call_id}}
        return {"type": "tool_call", "data": data}

    def result(call_id: str) -> dict[str, Any]:
        return {"type": "tool_result", "data": {"id": call_id, "name": "area", "content": "7"}}

    def text(content: str) -> dict[str, Any]:
        return {"type": "text_message", "data": {"content": content}}

    def told(content: str, *ids: str) -> list[dict[str, Any]]:
        calls = [{"id": i, "function": {"name": "area", "arguments": {"of": i}}} for i in ids]
        tool = {"role": "tool", "tool_name": "area", "content": "7"}
        said = {"role": "assistant", "content": content, "tool_calls": calls}
        return [said, *({**tool, "tool_call_id": i} for i in ids)]

    async with chat_server(Script("Fine.")) as (ollama, server):
        chat = await opener(server.url)
        await chat.answer_with(
            *(text("Let me see."), call("a"), call("b"), result("a"), result("b")),
            *(call("c"), result("c"), text("So: "), text("7."), call("d")),
            {"type": "end", "data": {"status": "completed"}},
        )
        await chat.ask("How large?")
        await chat.wait_answered()
        await chat.page.unroute("**/chat")
        await chat.ask("Thanks")
        await chat.wait_answered(2)
    assert body_of(ollama.chats[0])["messages"] == [
        {"role": "user", "content": "How large?"},
        *told("Let me see.", "a", "b"),
        *told("", "c"),
        {"role": "assistant", "content": "So: 7."},
        {"role": "user", "content": "Thanks"},
    ]
