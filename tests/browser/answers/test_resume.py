"""An answer outlives connections, reloads and sleep: its text is what Ollama sent, once."""

from __future__ import annotations

import asyncio
import random

import pytest
from openai import AsyncOpenAI
from playwright.async_api import CDPSession, expect

from dripline.testing import Ending, Fault, Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, Relay, body_of, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
WORDS = [f"word{n} " for n in range(400)]


async def network(chat: ChatPage) -> CDPSession:
    """The page's network, to be switched off and on."""
    session = await chat.page.context.new_cdp_session(chat.page)
    await session.send("Network.enable")
    return session


async def switch(session: CDPSession, *, off: bool) -> None:
    """Take the network away from the page, or give it back."""
    unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    await session.send("Network.emulateNetworkConditions", {"offline": off, **unlimited})


async def test_twenty_cuts_at_random(opener: Opener) -> None:
    """The sockets are closed, or the network is gone, twenty times: no token is lost or doubled."""
    draw = random.Random(20)
    clock = GatedClock()
    async with (
        chat_server(Script(WORDS, HELD), clock=clock) as (ollama, server),
        Relay(server.url) as relay,
    ):
        chat = await opener(relay.url)
        session = await network(chat)
        await chat.ask("Count")
        sent = 0
        for cut in sorted(draw.sample(range(1, len(WORDS)), 20)):
            # Some come before the cut, some while there is no connection.
            early = draw.randint(0, cut - sent)
            clock.let_go(early)
            if draw.random() < 0.5:
                await chat.wait_for(shows(WORDS[sent + early - 1])) if sent + early else None
            if draw.random() < 0.5:
                relay.reset_all()
                clock.let_go(cut - sent - early)
            else:
                await switch(session, off=True)
                clock.let_go(cut - sent - early)
                await switch(session, off=False)
            sent = cut
        clock.let_go(len(WORDS) - sent + 1)
        await chat.wait_answered()
        assert [message["content"] for message in await chat.stored()] == ["Count", "".join(WORDS)]
        await expect(chat.text).to_have_text("".join(WORDS).strip())
        assert len(ollama.chats) == 1
        chat.expect_complaints("net::ERR_")


def shows(word: str) -> str:
    """A condition: the answer has come to a word."""
    return f"document.querySelector('.answer .text')?.textContent.includes('{word.strip()}')"


async def test_reload_in_the_middle_of_an_answer(opener: Opener) -> None:
    """The chat is there again after each reload, and its answer goes on at the same token."""
    clock = GatedClock()
    async with chat_server(Script(WORDS, HELD), clock=clock) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("Count")
        for sent in range(0, 300, 100):
            clock.let_go(100)
            await chat.wait_for(shows(WORDS[sent + 99]))
            await chat.reload()
            await expect(chat.questions).to_have_text("Count")
            await expect(chat.stop).to_be_visible()
        clock.let_go(101)
        await chat.wait_answered()
        assert (await chat.stored())[1]["content"] == "".join(WORDS)
        await chat.reload()
        await chat.wait_answered()
        await expect(chat.text).to_have_text("".join(WORDS).strip())
        assert len(ollama.chats) == 1


# The browser's database takes its time to open.
SLOW_STORE = """
    const open = IDBFactory.prototype.open;
    IDBFactory.prototype.open = function (...given) {
        const opening = open.apply(this, given);
        let heard;
        Object.defineProperty(opening, "onsuccess", { set: (handler) => (heard = handler) });
        opening.addEventListener("success", (event) => setTimeout(heard, 1000, event));
        return opening;
    };
"""


async def test_what_is_answered_is_kept(opener: Opener) -> None:
    """No answer begins before a reload would find it, however slowly the browser keeps things."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (ollama, server):
        chat = await opener(server.url, script=SLOW_STORE)
        await chat.ask("Count")
        clock.let_go()
        await chat.wait_text("One")
        await chat.page.reload()
        await expect(chat.questions).to_have_text("Count")
        clock.let_go(2)
        await chat.wait_answered()
        await chat.wait_text("One two")
        assert len(ollama.chats) == 1


async def test_says_that_it_reconnects(opener: Opener) -> None:
    """While the server is away that is said, and Stop is still there; the answer goes on after."""
    clock = GatedClock()
    async with chat_server(Script(WORDS[:3], HELD), clock=clock) as (_, server):
        relay = Relay(server.url)
        async with relay:
            chat = await opener(relay.url)
            await chat.ask("Count")
            clock.let_go()
            await chat.wait_for(shows("word0"))
        await expect(chat.answers.locator(".phase")).to_contain_text("Reconnecting")
        await expect(chat.stop).to_be_visible()
        clock.let_go(3)
        async with relay:
            await chat.page.evaluate("dispatchEvent(new Event('online'))")
            await chat.wait_answered()
            await expect(chat.answers.locator(".phase")).to_be_hidden()
            assert (await chat.stored())[1]["content"] == "".join(WORDS[:3])
            chat.expect_complaints("net::ERR_")


async def test_stop_while_the_network_is_away(opener: Opener) -> None:
    """Stop is delivered as soon as the server can be reached, and Ollama is stopped."""
    clock = GatedClock()
    async with chat_server(Script(WORDS, HELD), clock=clock) as (ollama, server):
        relay = Relay(server.url)
        async with relay:
            chat = await opener(relay.url)
            await chat.ask("Count")
            clock.let_go()
            await chat.wait_for(shows("word0"))
        await chat.stop.click()
        await expect(chat.answers.locator(".phase")).to_contain_text("Stop again to give up")
        async with relay:
            await chat.page.evaluate("dispatchEvent(new Event('online'))")
            assert await (await ollama.wait_for_request()).wait_ended() is Ending.CLIENT_LEFT
            await chat.wait_answered()
            await expect(chat.answers.locator(".facts")).to_contain_text("Stopped")
        chat.expect_complaints("net::ERR_")


async def test_stop_gives_up_on_a_server_that_is_gone(opener: Opener) -> None:
    """The second Stop ends the answer here, and what has come is kept."""
    clock = GatedClock()
    async with chat_server(Script(WORDS, HELD), clock=clock) as (_, server):
        async with Relay(server.url) as relay:
            chat = await opener(relay.url)
            await chat.ask("Count")
            clock.let_go()
            await chat.wait_for(shows("word0"))
        await chat.stop.click()
        await expect(chat.answers.locator(".phase")).to_contain_text("Stop")
        await chat.stop.click()
        await chat.wait_answered()
        await expect(chat.answers.locator(".facts")).to_contain_text("Stopped")
        assert (await chat.stored())[1]["content"] == "word0 "
        chat.expect_complaints("net::ERR_")


async def test_continue_after_the_server_was_started_again(opener: Opener) -> None:
    """The run is gone: what came is kept, and Continue has the model go on from it."""
    clock = GatedClock()
    relay_url = ""
    async with chat_server(Script(WORDS, HELD), clock=clock) as (_, server):
        relay = Relay(server.url)
        async with relay:
            relay_url = relay.url
            chat = await opener(relay.url)
            await chat.ask("Count")
            clock.let_go(2)
            await chat.wait_for(shows("word1"))
    async with chat_server(Script(["and", " on"])) as (ollama, server):
        relay.lead_to(server.url)
        async with relay:
            await chat.page.goto(relay_url + chat.page.url.removeprefix(relay_url))
            await chat.page.evaluate("dispatchEvent(new Event('online'))")
            await expect(chat.problem).to_contain_text("no longer has this answer")
            assert (await chat.stored())[1]["content"] == "word0 word1 "
            await chat.problem.get_by_role("button", name="Continue").click()
            await chat.wait_for(shows("word0 word1 and on"))
            await chat.wait_answered()
            await expect(chat.problem).to_be_hidden()
            assert body_of(ollama.chats[0])["messages"] == [
                {"role": "user", "content": "Count"},
                {"role": "assistant", "content": "word0 word1 "},
            ]
            assert (await chat.stored())[1]["content"] == "word0 word1 and on"
        chat.expect_complaints("net::ERR_")
        chat.expect_complaints("404")


async def test_events_that_were_dropped_are_a_loss_that_is_told(opener: Opener) -> None:
    """The server kept less than was missed: the page says so, and keeps what it has."""
    clock = GatedClock()
    words = ["x" * 1000 for _ in range(100)]
    async with chat_server(Script(words, HELD), clock=clock, log_bytes=20_000) as (ollama, server):
        relay = Relay(server.url)
        async with relay:
            chat = await opener(relay.url)
            await chat.ask("Much")
            clock.let_go(5)
            await chat.wait_for(
                "document.querySelector('.answer .text')?.textContent.length >= 5000"
            )
        clock.let_go(96)
        assert await (await ollama.wait_for_request()).wait_ended() is Ending.FINISHED
        async with relay:
            await chat.page.evaluate("dispatchEvent(new Event('online'))")
            await expect(chat.problem).to_contain_text("have been discarded")
            assert (await chat.stored())[1]["content"] == "x" * 5000
        chat.expect_complaints("net::ERR_")
        chat.expect_complaints("410")


async def test_a_cut_answer_is_continued(opener: Opener) -> None:
    """Continue sends the answer so far as the last message, and the rest is put behind it."""
    script = Script(["Half", " an", " answer"], fault=Fault.truncated(at_token=2, times=1))
    async with chat_server(script) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask("Hello")
        await chat.problem.get_by_role("button", name="Continue").click()
        await chat.wait_answered()
        await chat.wait_text("Half anHalf an answer")
        assert body_of(ollama.chats[1])["messages"][-1] == {
            "role": "assistant",
            "content": "Half an",
        }


SEEN_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
ONLINE = "dispatchEvent(new Event('online'))"


@pytest.mark.parametrize(
    ("seconds", "event"),
    [(46, ""), (6, SEEN_AGAIN), (6, ONLINE)],
    ids=["silence", "seen", "online"],
)
async def test_a_silent_connection_is_made_anew(opener: Opener, seconds: int, event: str) -> None:
    """After 45 s without a word; after 5 s where the page was asleep or the network away."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.page.clock.install()
        await chat.ask("Count")
        clock.let_go()
        await chat.wait_text("One")
        async with chat.page.expect_request("**/runs/*/events"):
            await chat.page.clock.fast_forward(seconds * 1000)
            await chat.page.evaluate(event)
        clock.let_go(2)
        await chat.wait_answered()
        await chat.wait_text("One two")


async def test_a_connection_that_was_just_heard_is_kept(opener: Opener) -> None:
    """To come back to the page a moment after the last word costs no connection."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        attached: list[str] = []
        chat.page.on("request", lambda request: attached.append(request.url))
        await chat.ask("Count")
        # The page itself comes back, so that no slow machine makes the moment a long one.
        seen = asyncio.create_task(chat.wait_for(f"{shows('One')} && {SEEN_AGAIN}"))
        clock.let_go()
        await seen
        clock.let_go(2)
        await chat.wait_answered()
        assert not any(url.endswith("/events") for url in attached)


async def test_reload_while_another_chat_is_open(opener: Opener) -> None:
    """The answer goes on in the chat that is not open: once it is over, no server is needed."""
    clock = GatedClock()
    models = {"held": Script(["One", " two"], HELD), "quick": Script("Quick.")}
    async with chat_server(models, model="held", clock=clock, keep_time=0) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Slowly")
        clock.let_go()
        await chat.wait_text("One")
        await chat.model.select_option("quick:latest")
        async with chat.page.expect_response("**/events"):
            await chat.page.get_by_role("button", name="New chat").click()
        await chat.ask("Quickly")
        await chat.wait_text("Quick.")
        await chat.wait_answered()
        async with chat.page.expect_response("**/events") as attached:
            await chat.reload()
        assert (await attached.value).ok
        slowly = chat.page.locator("#chats li").filter(has_text="Slowly")
        await expect(slowly).to_have_class("busy")
        clock.let_go(2)
        await expect(slowly).not_to_have_class("busy")
        await expect(chat.questions).to_have_text("Quickly")
        await slowly.locator(".open").click()
        await chat.wait_answered()
        await chat.wait_text("One two")


async def test_the_answer_of_another_program_is_watched_taken_over_and_stopped(
    opener: Opener,
) -> None:
    """At `#run=ID` the page shows it from its start; it goes on when its program has left."""
    clock = GatedClock()
    async with (
        chat_server(Script(WORDS, HELD), clock=clock) as (ollama, server),
        AsyncOpenAI(base_url=f"{server.url}/v1", api_key="x") as program,
    ):
        clock.let_go(2)
        create = program.chat.completions.create
        stream = await create(
            model="story", messages=[{"role": "user", "content": "Count"}], stream=True
        )
        run_id = stream.response.headers["X-Run-Id"]
        chat = await opener(f"{server.url}/#run={run_id}")
        await expect(chat.text).to_contain_text("word1")
        await stream.close()
        clock.let_go(3)
        await expect(chat.text).to_contain_text("word4")
        await chat.stop.click()
        request = await ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        await expect(chat.page).to_have_title("Chat of another program – dripline")
        assert "run=" not in chat.page.url
