"""Whatever goes wrong is told as a sentence that says what to do, and nothing that came is lost."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from dripline.testing import Fault, Script
from tests.browser.conftest import Opener
from tests.support.browser import Relay, body_of, chat_server
from tests.support.usual_ollama import move_usual_ollama

pytestmark = pytest.mark.asyncio(loop_scope="session")

WORDS = ["Half", " an", " answer"]
TEXT = {"type": "text_message", "data": {"content": "Half an answer"}}
INCOMPLETE = "The answer above is incomplete."


@pytest.mark.parametrize(
    ("fault", "kept", "sentence"),
    [
        (Fault.status(404), "", "Get it with ollama pull story:latest"),
        (Fault.status(503), "", "Ollama is busy"),
        (Fault.error("out of memory", at_token=3), "Half an answer", "out of memory"),
        (Fault.cut(at_token=2), "Half an", "Ollama closed the connection"),
        (Fault.reset(at_token=1), "Half", "Try again"),
        (Fault.truncated(at_token=3), "Half an answer", "stopped before its end"),
        (Fault.garbage(at_token=1), "Half", "Is it Ollama"),
    ],
    ids=lambda value: value.kind.value if isinstance(value, Fault) else None,
)
async def test_failure_of_ollama(opener: Opener, fault: Fault, kept: str, sentence: str) -> None:
    """An `error` event is shown; what came before it is kept and called incomplete."""
    async with chat_server(Script(WORDS, fault=fault)) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Hello")
        await chat.wait_answered()
        await chat.wait_text(kept)
        await expect(chat.problem).to_contain_text(sentence)
        assert (INCOMPLETE in await chat.problem.inner_text()) is bool(kept)


@pytest.mark.parametrize(
    ("events", "sentence"),
    [
        ((TEXT,), "no longer has this answer"),
        ((TEXT, "{"), "It is not JSON"),
        ((TEXT, "[]"), "event: should be an object"),
        (
            (TEXT, {"type": "text_message", "data": {"content": 5}}),
            "data.content: should be",
        ),
        ((TEXT, {"type": "end", "data": {"status": "bored"}}), "data.status: should be one of"),
        ((TEXT, {"type": "end", "data": {"status": "failed", "usage": []}}), "usage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_stream_that_is_not_whole(opener: Opener, events: Any, sentence: str) -> None:
    """EOF without `end`, or an event that is none: the text is kept and called incomplete."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.answer_with(*events)
        await chat.ask("Hello")
        await chat.wait_answered()
        await chat.wait_text("Half an answer")
        await expect(chat.problem).to_contain_text(sentence)
        await expect(chat.problem).to_contain_text(INCOMPLETE)
        if len(events) == 1:
            chat.expect_complaints("404")  # it asked for the rest


@pytest.mark.parametrize(
    ("response", "sentence"),
    [
        (
            {"status": 413, "json": {"error": {"code": "body_too_large", "message": "Too long."}}},
            "Too long. (HTTP 413)",
        ),
        ({"status": 502, "body": "<h1>Bad Gateway</h1>"}, "HTTP 502 and did not say why"),
        ({"status": 500, "json": {"error": "fault"}}, "HTTP 500 and did not say why"),
        ({"status": 200, "body": "<h1>Welcome</h1>", "content_type": "text/html"}, "not dripline"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_http_error(opener: Opener, response: dict[str, Any], sentence: str) -> None:
    """An answer that is not a stream is told with the server's message, if it has one."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.answer_with(**response)
        await chat.ask("Hello")
        await chat.wait_answered()
        await expect(chat.problem).to_contain_text(sentence)
        await expect(chat.problem).not_to_contain_text(INCOMPLETE)
        if response["status"] != 200:
            chat.expect_complaints(str(response["status"]))


async def test_server_gone_and_back(opener: Opener) -> None:
    """Where no server answers the page says so; once one does, "Try again" gets the answer."""
    async with chat_server(Script("Here I am.")) as (ollama, server):
        relay = Relay(server.url)
        async with relay:
            chat = await opener(relay.url)
        await chat.ask("Anybody?")
        await chat.wait_answered()
        await expect(chat.problem).to_contain_text("server isn't responding")
        chat.expect_complaints("net::ERR_CONNECTION_REFUSED")
        async with relay:
            await chat.problem.get_by_role("button", name="Try again").click()
            await chat.wait_text("Here I am.")
            await chat.wait_answered()
            await expect(chat.questions).to_have_count(1)
    assert body_of(ollama.chats[0])["messages"] == [{"role": "user", "content": "Anybody?"}]


async def test_try_again_forgets_the_failed_answer(opener: Opener) -> None:
    """A second try sends the question once and without the half answer, which leaves the page."""
    script = Script(WORDS, fault=Fault.cut(at_token=2, times=1))
    async with chat_server(script) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("Hello")
        await chat.problem.get_by_role("button", name="Try again").click()
        await chat.wait_text("Half an answer")
        await chat.wait_answered()
        await expect(chat.message).to_be_focused()
    assert body_of(ollama.chats[1])["messages"] == [{"role": "user", "content": "Hello"}]


async def test_says_that_the_fake_stands_in(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an Ollama the page says who answers instead, and the demo model answers."""
    move_usual_ollama(monkeypatch)
    async with chat_server({}, ollama=None) as (_, server):
        chat = await opener(server.url)
        notice = chat.page.get_by_role("note")
        await expect(notice).to_have_text(server.state.demo.replace("`", ""))
        await expect(notice.get_by_text("ollama serve")).to_have_js_property("tagName", "CODE")
        await expect(chat.model).to_have_value("demo:latest")
        await chat.ask("Hello")
        await expect(chat.text).to_contain_text("demo model")
        await chat.wait_answered()
        await expect(chat.answers.locator(".facts")).to_contain_text("Demo answer")
        await chat.wait_answered()


async def test_no_notice_where_ollama_answers(opener: Opener) -> None:
    """With a real Ollama there is no notice."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await expect(chat.page.get_by_role("note")).to_be_hidden()
        await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_ollama_not_running(opener: Opener) -> None:
    """The models cannot be listed: the page says that no Ollama answers, and can try again."""
    async with chat_server({}) as (ollama, server):
        await ollama.close()
        chat = await opener(server.url)
        await expect(chat.problem).to_contain_text("No Ollama answers at")
        await chat.ask("Hello")
        await chat.wait_answered()
        await expect(chat.answers.get_by_role("alert")).to_contain_text("No Ollama answers at")
        chat.expect_complaints("503")
        ollama.models["story"] = Script("Yes.")
        await ollama.start()
        await chat.page.locator("#trouble").get_by_role("button", name="Try again").click()
        await expect(chat.model).to_have_value("story:latest")
        await expect(chat.page.locator("#trouble")).to_be_hidden()
        await chat.answers.get_by_role("button", name="Try again").click()
        await chat.wait_text("Yes.")
        await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_no_models(opener: Opener) -> None:
    """An Ollama without models: the page says how to get one."""
    async with chat_server({}) as (_, server):
        chat = await opener(server.url)
        await expect(chat.problem).to_contain_text("ollama pull")
        await expect(chat.model).to_be_disabled()
        await chat.ask("Hello")
        await chat.wait_answered()
        await expect(chat.answers.get_by_role("alert")).to_contain_text("Ollama has no models yet")
        await expect(chat.answers.locator(".command")).to_contain_text("ollama pull")


async def test_unknown_events_are_ignored(opener: Opener) -> None:
    """A newer server may say more than this page knows."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.answer_with(
            {"type": "weather", "data": {"sunny": True}},
            {"type": "constructor", "data": {}},
            {"type": "status", "data": {"phase": "dreaming"}},
            {"type": "text_message", "data": {"content": "Fine.", "mood": "good"}, "more": 1},
            {"type": "end", "data": {"status": "completed", "usage": {"joules": 5}}},
        )
        await chat.ask("Hello")
        await chat.wait_answered()
        await chat.wait_text("Fine.")
        await expect(chat.page.get_by_role("alert")).to_have_count(0)
