"""Pictures for models that see: taken by picker, paste and drop, checked, shown, and sent whole."""

from __future__ import annotations

import base64
import random
import zlib

import pytest
from playwright.async_api import FilePayload, Locator, expect

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, body_of, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


def noise(size: int) -> bytes:
    """A PNG of `size` by `size` grey pixels, which cannot be compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data).to_bytes(4)
        return len(data).to_bytes(4) + kind + data + checksum

    header = size.to_bytes(4) * 2 + bytes((8, 0, 0, 0, 0))  # 8 bits a pixel
    rows = b"".join(b"\0" + random.Random(row).randbytes(size) for row in range(size))
    pixels = zlib.compress(rows)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PNG = noise(350)
GIF = base64.b64decode("R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")
SEEING = Script("I see.", capabilities=["completion", "vision"])

# In the browser: hands files over as a paste or a drop does.
HAND_OVER = """([kind, name, type, data, text]) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], name, { type }));
    if (text) {
        files.setData("text/plain", text);
        files.setData("text/html", `<b>${text}</b>`);
    }
    const [event, target] = kind === "paste"
        ? [new ClipboardEvent("paste", { clipboardData: files, bubbles: true, cancelable: true }),
            document.querySelector("#message")]
        : [new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }),
            document.querySelector("#log")];
    return !target.dispatchEvent(event);
}"""


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pictures(chat: ChatPage) -> Locator:
    """The pictures that are to be sent."""
    return chat.page.get_by_role("list", name="Pictures to send").get_by_role("img")


async def pick(chat: ChatPage, *files: tuple[str, str, bytes]) -> None:
    """Choose files as the picker does."""
    payloads = [FilePayload(name=name, mimeType=kind, buffer=data) for name, kind, data in files]
    await chat.page.locator("#picture-files").set_input_files(payloads)


async def hand_over(chat: ChatPage, kind: str, name: str, data: bytes, text: str = "") -> bool:
    """Paste or drag a PNG, with a text beside it; return whether the page took it."""
    arguments = [kind, name, "image/png", encoded(data), text]
    return bool(await chat.page.evaluate(HAND_OVER, arguments))


async def test_pictures_reach_the_model(opener: Opener) -> None:
    """Picked, pasted and dropped pictures are shown, and sent byte by byte as they were."""
    async with chat_server(SEEING) as (ollama, server):
        chat = await opener(server.url)
        async with chat.page.expect_file_chooser() as chooser:
            await chat.page.get_by_role("button", name="Add pictures or files").press("Enter")
        await (await chooser.value).set_files(
            FilePayload(name="a.png", mimeType="image/png", buffer=PNG)
        )
        await expect(pictures(chat)).to_have_count(1)
        assert await hand_over(chat, "paste", "pasted.png", PNG)
        await expect(pictures(chat)).to_have_count(2)
        assert not await hand_over(chat, "paste", "table.png", PNG, "a table, as text")
        assert await hand_over(chat, "dragover", "dropped.png", PNG)
        await expect(chat.page.locator("body")).to_have_class("dropping")
        assert await hand_over(chat, "drop", "dropped.png", PNG)
        await expect(pictures(chat)).to_have_count(3)
        await expect(chat.page.locator("body")).not_to_have_class("dropping")
        await expect(chat.page.locator("#announcer")).to_have_text("Added dropped.png.")
        await chat.wait_for("[...document.images].every((image) => image.naturalWidth > 1)")

        await chat.page.get_by_role("button", name="Remove pasted.png").press("Enter")
        await expect(chat.message).to_be_focused()
        await chat.ask("What is this?")
        await chat.wait_answered()
        await expect(pictures(chat)).to_have_count(0)
        await expect(chat.questions.get_by_role("img")).to_have_count(2)
    [message] = body_of(ollama.chats[0])["messages"]
    assert message["images"] == [encoded(PNG)] * 2


async def test_a_picture_needs_no_words(opener: Opener) -> None:
    """A picture alone is a message. What Ollama cannot read, and the browser can, becomes PNG."""
    async with chat_server(SEEING) as (ollama, server):
        chat = await opener(server.url)
        await pick(chat, ("dot.gif", "image/gif", GIF))
        await expect(pictures(chat)).to_have_count(1)
        await chat.message.press("Enter")
        await chat.wait_answered()
    [message] = body_of(ollama.chats[0])["messages"]
    assert base64.b64decode(message["images"][0]).startswith(b"\x89PNG\r\n\x1a\n")
    assert message["content"] == ""


async def test_what_is_no_picture_is_told(opener: Opener) -> None:
    """A file that the browser cannot show is named and left out; the others are taken.

    It is told until something is done about the pictures, whatever else happens meanwhile.
    """
    async with chat_server({"one": SEEING, "other": SEEING}) as (_, server):
        chat = await opener(server.url)
        await pick(
            chat,
            ("notes.bin", "", b"\x00\xff"),
            ("broken.png", "image/png", b"\x89PNG\r\n\x1a\n"),
            ("old.tiff", "image/tiff", b"II*\x00"),
            ("dot.gif", "image/gif", GIF),
        )
        await expect(pictures(chat)).to_have_count(1)
        await expect(chat.problem).to_contain_text("notes.bin is not a text file.")
        for name in ("broken.png", "old.tiff"):
            sentence = f"{name} is not a picture that this browser can show."
            await expect(chat.problem).to_contain_text(sentence)
        await chat.model.select_option("other:latest")
        await expect(chat.problem).to_contain_text("notes.bin is not a text file")
        await chat.page.get_by_role("button", name="Remove dot.gif").click()
        await expect(chat.page.get_by_role("alert")).to_have_count(0)


async def test_models_that_do_not_see(opener: Opener) -> None:
    """The page says so and which model does; the message waits, and goes out once one is chosen."""
    models = {"blind": Script("?", capabilities=["completion"]), "seeing": SEEING}
    async with chat_server(models) as (ollama, server):
        chat = await opener(server.url)
        await pick(chat, ("dot.gif", "image/gif", GIF))
        await expect(chat.problem).to_have_text(
            "blind:latest does not see pictures. Choose one that does: seeing:latest."
        )
        await chat.ask("Look")
        await expect(chat.message).to_have_value("Look")
        await expect(chat.questions).to_have_count(0)
        await chat.model.select_option("seeing:latest")
        await expect(chat.page.get_by_role("alert")).to_have_count(0)
        await chat.message.press("Enter")
        await chat.wait_text("I see.")
    assert [body_of(sent)["model"] for sent in ollama.chats] == ["seeing:latest"]


async def test_too_large_for_the_server(opener: Opener) -> None:
    """The page knows the server's limit, and says what is too much before anything is sent."""
    async with chat_server(SEEING, max_body=150_000) as (_, server):
        chat = await opener(server.url)
        await pick(chat, ("a.png", "image/png", PNG))
        await expect(chat.problem).to_contain_text("one message has room for 135 KB")
        await chat.ask("Look")
        await expect(chat.message).to_have_value("Look")
        await chat.page.get_by_role("button", name="Remove a.png").click()
        await expect(chat.page.get_by_role("alert")).to_have_count(0)
        await chat.message.press("Enter")
        await chat.wait_text("I see.")
