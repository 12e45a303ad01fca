"""Several chats, kept in the browser: found, named, deleted, taken out and put in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from dripline.testing import Ending, Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)


def titles(chat: ChatPage) -> Locator:
    """The list of chats."""
    return chat.page.locator("#chats .open")


async def new_chat(chat: ChatPage, text: str) -> None:
    """Begin a chat with a message, and wait for its answer."""
    await chat.page.get_by_role("button", name="New chat").click()
    await expect(chat.questions).to_have_count(0)
    await chat.ask(text)
    await chat.wait_answered()


async def test_chats_are_kept_and_opened(opener: Opener) -> None:
    """Each is named after its first words; after a reload all are there, and the same is open."""
    long = "A question that goes on and on, far beyond what a list of chats can show on one line"
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "First\n  things")
        await new_chat(chat, long)
        await expect(titles(chat)).to_have_text(
            ["A question that goes on and on, far beyond what a list of…", "First things"]
        )
        await titles(chat).last.click()
        await expect(chat.questions).to_have_text("First\n  things")
        await expect(chat.page).to_have_title("First things – dripline")
        await chat.reload()
        await expect(titles(chat)).to_have_count(2)
        await expect(chat.questions).to_have_text("First\n  things")
        await expect(titles(chat).last).to_have_attribute("aria-current", "true")
        await chat.page.go_back()
        await expect(chat.questions).to_have_text(long)


async def test_rename_search_delete_undo(opener: Opener) -> None:
    """Titles and texts are searched; a deleted chat is put back as it was."""
    async with chat_server(Script("The answer mentions Zebras.")) as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "Animals")
        await new_chat(chat, "Plants")
        await chat.do_with_chat("Rename", "Plants")
        await chat.page.get_by_role("textbox", name="Title").fill("  Green   things ")
        await chat.page.keyboard.press("Enter")
        await expect(titles(chat).first).to_have_text("Green things")
        search = chat.page.get_by_role("searchbox", name="Search chats")
        for text, found in (
            ("zebra", ["Green things", "Animals"]),
            ("GREEN", ["Green things"]),
            ("plants", ["Green things"]),
            ("nowhere", []),
            ("", ["Green things", "Animals"]),
        ):
            await search.fill(text)
            await expect(titles(chat)).to_have_text(found)
        await chat.stop_time()
        await chat.do_with_chat("Delete", "Green things")
        await expect(titles(chat)).to_have_text(["Animals"])
        await expect(chat.questions).to_have_count(0)
        await chat.page.get_by_role("button", name="Undo", exact=True).click()
        await expect(titles(chat)).to_have_count(2)
        await expect(chat.questions).to_have_text("Plants")
        await chat.do_with_chat("Delete", "Animals")
        await expect(titles(chat)).to_have_text(["Green things"])
        await chat.reload()
        await expect(titles(chat)).to_have_text(["Green things"])


async def test_an_answer_goes_on_in_a_chat_that_is_not_open(opener: Opener) -> None:
    """One chat is answered while another is written; both are whole."""
    clock = GatedClock()
    models = {"held": Script(["One", " two"], HELD), "quick": Script("Quick.")}
    async with chat_server(models, model="held", clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Slowly")
        clock.let_go()
        await chat.wait_text("One")
        await chat.model.select_option("quick:latest")
        await new_chat(chat, "Quickly")
        await chat.wait_text("Quick.")
        clock.let_go(2)
        await titles(chat).filter(has_text="Slowly").click()
        await chat.wait_answered()
        await chat.wait_text("One two")


async def test_a_chat_remembers_its_model(opener: Opener) -> None:
    """Opened again, it is answered by what answered before; a new chat by what was chosen last."""
    models = {"one": Script("I am one."), "two": Script("I am two.")}
    async with chat_server(models, model="one") as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "First")
        await chat.model.select_option("two:latest")
        await new_chat(chat, "Second")
        await titles(chat).filter(has_text="First").click()
        await expect(chat.model).to_have_value("one:latest")
        await chat.answers.get_by_role("button", name="Regenerate").click()
        await expect(chat.answers.locator(".steps")).to_contain_text("2 / 2")
        await chat.wait_text("I am one.")
        await chat.reload()
        await expect(chat.model).to_have_value("one:latest")
        await chat.page.get_by_role("button", name="New chat").click()
        await expect(chat.model).to_have_value("two:latest")


async def export(chat: ChatPage, what: str) -> Path:
    """Press a button of "Export", and return the file."""
    await chat.page.get_by_text("Export", exact=True).click()
    async with chat.page.expect_download() as download:
        await chat.page.get_by_role("button", name=what).click()
    return Path(await (await download.value).path())


async def import_file(chat: ChatPage, name: str, content: bytes) -> None:
    """Give the page a file."""
    await chat.page.locator("#import-files").set_input_files(
        {"name": name, "mimeType": "", "buffer": content}
    )


async def test_export_and_import(opener: Opener) -> None:
    """JSON brings everything back, versions and all; Markdown what was shown."""
    answer = "## You\n\n\\## You\n\nWith  `code`,\n\n\n* a list\nüö 💧\n\n"
    async with chat_server(Script([answer])) as (_, server):
        chat = await opener(server.url)
        await new_chat(chat, "Say: it")
        await chat.answers.get_by_role("button", name="Regenerate").click()
        await expect(chat.answers.locator(".steps")).to_contain_text("2 / 2")
        await chat.wait_answered()
        one = (await export(chat, "This chat, JSON")).read_bytes()
        markdown = (await export(chat, "This chat, Markdown")).read_bytes()
        every = (await export(chat, "All chats, JSON")).read_bytes()
        assert json.loads(one)["messages"] == [
            {"role": "user", "content": "Say: it"},
            {"role": "assistant", "content": answer},
        ]
        for name, content in (("a.json", one), ("c.json", every)):
            await import_file(chat, name, content)
            await expect(chat.page.locator("#undo")).to_contain_text("1 chat already here.")
            await expect(titles(chat)).to_have_count(1)
        await chat.do_with_chat("Delete", "Say: it")
        await expect(titles(chat)).to_have_count(0)
        for count, (name, content) in enumerate((("a.json", one), ("b.md", markdown)), start=1):
            await import_file(chat, name, content)
            await expect(titles(chat)).to_have_text(["Say: it"] * count)
            await chat.wait_answered()
            stored = await chat.stored()
            assert [message["content"] for message in stored] == ["Say: it", answer], name
            steps = chat.answers.locator(".steps")
            await expect(steps).to_have_text("" if name == "b.md" else "2 / 2")
        await import_file(chat, "b.md", markdown)
        await expect(chat.page.locator("#undo")).to_contain_text("1 chat already here.")
        await expect(titles(chat)).to_have_count(2)


MESSAGE = {"id": "a", "parent": None, "role": "user", "content": "Hi"}


def tree(*messages: dict[str, Any]) -> str:
    return json.dumps({"format": "dripline-conversation", "tree": {"messages": messages}})


BAD_FILES = [
    (".json", "{", "It is not JSON"),
    (".json", "[]", "The file: should be an object"),
    (".json", '{"format": "other"}', 'it has no "messages"'),
    (".json", '{"messages": [], "version": 9}', "Its version is 9"),
    (".json", '{"messages": [{"role": "cat"}]}', "messages[0].role: should be one of user"),
    (".json", '{"messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
    (".json", tree(MESSAGE, MESSAGE), "another message has the id"),
    (".json", tree({**MESSAGE, "parent": "b"}), "there is no message with the id"),
    (".json", tree({**MESSAGE, "parent": "a"}), "some are their own parents"),
    (
        "a.json",
        tree({**MESSAGE, "images": ["<svg>"]}),
        "tree.messages[0].images: should be base64",
    ),
    (".md", "Hello", "Line 1 belongs to no message"),
    (".md", "# Title\n", "It has no messages"),
]


async def test_a_bad_file_is_refused(opener: Opener) -> None:
    """What is wrong is named, with its place; nothing of the file is taken."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.stop_time()
        for count, (ending, content, sentence) in enumerate(BAD_FILES):
            name = f"{count}{ending}"
            await import_file(chat, name, content.encode())
            notice = chat.page.locator("#undo")
            await expect(notice).to_contain_text(f"{name} was not imported.")
            await expect(notice).to_contain_text(sentence)
            await expect(titles(chat)).to_have_count(0)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("delete IDBFactory.prototype.open", "can't be saved"),
        (
            "IDBFactory.prototype.open = () => { throw new DOMException('No.', 'SecurityError') }",
            "can't be saved: No. You",
        ),
        (
            "IDBFactory.prototype.open = () => { throw new DOMException('Is insecure.', 'A') }",
            "can't be saved: the browser does not let this page keep anything",
        ),
    ],
    ids=["absent", "blocked", "insecure"],
)
async def test_works_where_nothing_can_be_kept(opener: Opener, fault: str, sentence: str) -> None:
    """That is said once, and the page works without until it is closed."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, script=fault)
        await new_chat(chat, "First")
        await expect(chat.page.locator("#store")).to_contain_text(sentence)
        await new_chat(chat, "Second")
        await titles(chat).last.click()
        await expect(chat.questions).to_have_text("First")
        await chat.wait_text("Yes.")


async def test_says_when_the_storage_is_full(opener: Opener) -> None:
    """The chat goes on, and what to do is told."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        session = await chat.page.context.new_cdp_session(chat.page)
        await session.send(
            "Storage.overrideQuotaForOrigin", {"origin": server.url, "quotaSize": 10_000}
        )
        await new_chat(chat, "Much " * 20_000)
        await expect(chat.page.locator("#store")).to_contain_text(
            "storage is full; delete or export"
        )
        await chat.wait_text("Yes.")


async def test_a_chat_deleted_while_it_is_answered_is_gone(opener: Opener) -> None:
    """Ollama is stopped, and nothing of the chat is left in the browser."""
    async with chat_server(Script(["word "] * 1000, Pace(tokens_per_second=100))) as (
        ollama,
        server,
    ):
        chat = await opener(server.url)
        await chat.ask("Talk")
        await expect(chat.text).to_contain_text("word word")
        await chat.do_with_chat("Delete", "Talk")
        await expect(titles(chat)).to_have_count(0)
        assert await (await ollama.wait_for_request()).wait_ended() is Ending.CLIENT_LEFT
        await expect(chat.stop).to_be_hidden()
        left = await chat.page.evaluate(
            """async () => {
                const { openDatabase } = await import("/static/store/database.js");
                const database = await openDatabase(() => {});
                return (await database.search("")).size + (await database.conversations()).length;
            }"""
        )
        assert left == 0
