"""Nothing that was written or read is lost: drafts, edits, and the last words of an answer."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Route, expect

from dripline.testing import Pace, Script
from tests.browser.conftest import Opener
from tests.browser.test_chats import import_file, new_chat, titles
from tests.support.browser import ChatPage, chat_server
from tests.support.gated_clock import GatedClock
from tests.support.programs import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
PICTURE = ROOT / "docs/page/phone.png"


async def reopen(chat: ChatPage) -> None:
    """Load the page anew at once: nobody waits for a database."""
    await chat.page.reload()
    await expect(chat.page.locator("#model:enabled")).to_have_count(1)


async def test_a_draft_is_there_after_a_reload(opener: Opener) -> None:
    """The text to its last letter, and the pictures; what was sent is gone."""
    async with chat_server(Script("Yes.", capabilities=["completion", "vision"])) as (_, server):
        chat = await opener(server.url)
        await chat.page.locator("#picture-files").set_input_files(PICTURE)
        await expect(chat.page.locator("#pictures img")).to_have_count(1)
        await chat.message.fill("Half a sen")
        await chat.message.press_sequentially("tence")
        await reopen(chat)
        await expect(chat.message).to_have_value("Half a sentence")
        await expect(chat.page.locator("#pictures img")).to_have_attribute("alt", "phone.png")
        await chat.message.press("Enter")
        await chat.wait_answered()
        await reopen(chat)
        await expect(chat.questions.locator("img")).to_have_count(1)
        await expect(chat.message).to_have_value("")
        await expect(chat.page.locator("#pictures img")).to_have_count(0)


async def test_each_chat_has_a_draft_of_its_own(opener: Opener) -> None:
    """Also the one that is not begun yet; over switching and a reload."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "First")
        await chat.message.fill("more of the first")
        await new_chat(chat, "Second")
        await expect(chat.message).to_have_value("")
        await chat.message.fill("more of the second")
        await chat.page.get_by_role("button", name="New chat").click()
        await expect(chat.message).to_have_value("")
        await chat.message.fill("a third")
        for _ in range(2):
            for title, text in (("First", "more of the first"), ("Second", "more of the second")):
                await titles(chat).filter(has_text=title).click()
                await expect(chat.message).to_have_value(text)
            await chat.page.get_by_role("button", name="New chat").click()
            await expect(chat.message).to_have_value("a third")
            await reopen(chat)
            await expect(chat.message).to_have_value("a third")


async def test_an_edit_in_progress_is_there_again(opener: Opener) -> None:
    """After a reload, and after another chat was looked at; once it is over it stays away."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "First")
        await new_chat(chat, "Second")
        await chat.questions.get_by_role("button", name="Edit").click()
        edit = chat.page.get_by_role("textbox", name="Edit the message")
        await edit.fill("Second thoughts")
        await reopen(chat)
        await expect(edit).to_have_value("Second thoughts")
        await titles(chat).filter(has_text="First").click()
        await expect(edit).to_have_count(0)
        await titles(chat).filter(has_text="Second").click()
        await expect(edit).to_have_value("Second thoughts")
        await chat.page.get_by_role("button", name="Cancel").click()
        await reopen(chat)
        await expect(chat.questions).to_have_text("Second")
        await expect(edit).to_have_count(0)


async def test_what_was_read_of_an_answer_is_kept(opener: Opener) -> None:
    """The page is closed between two writes, and the run cannot be had any more."""
    words = [f"word{number} " for number in range(20)]
    clock = GatedClock()
    async with chat_server(Script(words, HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Count")
        clock.let_go(7)
        await chat.wait_text("".join(words[:7]).strip())

        async def refuse(route: Route) -> None:
            await route.abort()

        chat.pardoned.append("net::ERR_FAILED")
        await chat.page.route("**/runs/**", refuse)
        await chat.page.reload()
        await chat.wait_text("".join(words[:7]).strip())


async def test_a_database_that_never_opens_is_told(opener: Opener) -> None:
    """Some browsers say neither that it is open nor that it will not be; the page works without."""
    quick = "const wait = setTimeout; globalThis.setTimeout = (f, ms) => wait(f, ms / 100);"
    never = f"IDBFactory.prototype.open = () => ({{}}); {quick}"
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, script=never)
        await expect(chat.page.locator("#store")).to_contain_text("database does not open")
        await new_chat(chat, "First")
        await chat.wait_text("Yes.")


async def test_the_browser_is_asked_to_keep_chats(opener: Opener) -> None:
    """Once there is one: it may not be cleared when room runs short."""
    script = "StorageManager.prototype.persist = async () => (globalThis.asked = true)"
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, script=script)
        assert await chat.page.evaluate("globalThis.asked") is None
        await new_chat(chat, "First")
        assert await chat.page.evaluate("globalThis.asked") is True


def exported(count: int, messages: int = 10) -> bytes:
    """A file of so many chats, the last used first, as the page exports them."""

    def chat(number: int) -> object:
        ids = [f"chat{number:04}-message{place:02}" for place in range(messages)]
        begun = 1_700_000_000_000 - number * 1_000_000
        return {
            "format": "dripline-conversation",
            "version": 1,
            "title": f"Chat {number}",
            "tree": {
                "id": f"chat{number:04}-of-a-file",
                "leaf": ids[-1],
                "createdAt": begun,
                "updatedAt": begun + 1000,
                "messages": [
                    {
                        "id": id_,
                        "parent": ids[place - 1] if place else None,
                        "role": "assistant" if place % 2 else "user",
                        "content": f"Message {place} of {number}",
                        "createdAt": begun + place,
                    }
                    for place, id_ in enumerate(ids)
                ],
            },
        }

    chats = [chat(number) for number in range(count)]
    file = {"format": "dripline-conversations", "version": 1, "conversations": chats}
    return json.dumps(file).encode()


async def test_many_chats_are_imported_in_one_go(opener: Opener) -> None:
    """In their order, with their dates, told with their number; a second time none comes twice."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        before = await chat.page.evaluate("history.length")
        told = chat.page.locator("#undo")
        await import_file(chat, "all.json", exported(300))
        await expect(told).to_contain_text("300 chats imported.")
        await expect(titles(chat)).to_have_count(300)
        assert await titles(chat).all_inner_texts() == [f"Chat {number}" for number in range(300)]
        assert await chat.page.evaluate("history.length") <= before + 1
        assert [message["createdAt"] for message in await chat.stored()] == [
            1_700_000_000_000 + place for place in range(10)
        ]
        await import_file(chat, "all.json", exported(301))
        await expect(told).to_contain_text("1 chat imported. 300 chats already here.")
        await import_file(chat, "all.json", exported(1, 12))
        await expect(told).to_contain_text("1 chat brought up to date.")
        await expect(titles(chat)).to_have_count(301)


async def test_a_file_reaches_into_no_other_chat(opener: Opener) -> None:
    """Ids that are another chat's are given anew; what is there stays as it is."""
    theirs = json.loads(exported(1))
    theirs["conversations"][0]["tree"]["id"] = "another-chat"
    theirs["conversations"][0]["title"] = "Theirs"
    for message in theirs["conversations"][0]["tree"]["messages"]:
        message["content"] = "Changed"
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await import_file(chat, "mine.json", exported(1))
        await expect(titles(chat)).to_have_text(["Chat 0"])
        await import_file(chat, "theirs.json", json.dumps(theirs).encode())
        await expect(titles(chat)).to_have_count(2)
        await expect(chat.questions.first).to_have_text("Changed")
        await titles(chat).filter(has_text="Chat 0").click()
        await expect(chat.questions.first).to_have_text("Message 0 of 0")
        await expect(chat.answers).to_have_count(5)


async def test_what_is_typed_while_the_page_loads_is_kept(opener: Opener) -> None:
    """The database opens late: it comes behind the draft that was kept, and is kept itself."""
    late = """const open = IDBFactory.prototype.open;
        const until = Promise.withResolvers();
        globalThis.openNow = until.resolve;
        IDBFactory.prototype.open = function (...all) {
            if (!sessionStorage.getItem("late")) return open.apply(this, all);
            const fake = {};
            until.promise.then(() => {
                const real = open.apply(this, all);
                real.onupgradeneeded = (event) => fake.onupgradeneeded?.(event);
                real.onsuccess = () => { fake.result = real.result; fake.onsuccess(); };
            });
            return fake;
        };"""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, script=late)
        await chat.message.fill("first")
        await chat.page.evaluate("sessionStorage.setItem('late', '1')")
        await reopen(chat)
        await chat.message.fill("second")
        await chat.page.evaluate("openNow()")
        await expect(chat.message).to_have_value("first\nsecond")
        await reopen(chat)
        await chat.message.fill("third")
        await chat.page.evaluate("sessionStorage.removeItem('late')")
        await reopen(chat)
        await expect(chat.message).to_have_value("first\nsecond\nthird")
