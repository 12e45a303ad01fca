"""Files that the model is told as text: taken, refused, shown, kept and sent."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, Locator, expect

from dripline.testing import Script
from tests.browser.composing.test_pictures import GIF, PNG, SEEING, pictures
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, body_of, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

# In the browser: pastes a text.
PASTE = """(text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
    return !document.querySelector("#message").dispatchEvent(event);
}"""


def pdf(*pages: str) -> bytes:
    """A PDF file with a line of text on each page."""
    kids = " ".join(f"{4 + 2 * place} 0 R" for place in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    page = (
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents CONTENTS"
        " /Resources << /Font << /F1 3 0 R >> >> >>"
    )
    for place, text in enumerate(pages):
        drawn = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects += [
            page.replace("CONTENTS", f"{5 + 2 * place} 0 R"),
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    file = "%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(file))
        file += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(file)}\n%%EOF\n"
    return f"{file}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{end}".encode()


def files(chat: ChatPage) -> Locator:
    """The files that are to be sent."""
    return chat.page.get_by_role("list", name="Files to send").get_by_role("listitem")


async def pick(chat: ChatPage, *given: tuple[str, bytes]) -> None:
    """Choose files as the picker does; their type is what the browser knows by their names."""
    payloads = [FilePayload(name=name, mimeType="", buffer=data) for name, data in given]
    await chat.page.locator("#picture-files").set_input_files(payloads)


async def test_files_reach_the_model_as_text(opener: Opener) -> None:
    """With their names, in fences that nothing in them ends; over a reload, folded once sent."""
    code = "print('ä')\r\n````\n"
    async with chat_server(Script("I see.")) as (ollama, server):
        chat = await opener(server.url)
        wide = "ü\n".encode("utf-16")
        await pick(chat, ("a.py", code.encode()), ("data.csv", b"a,b\n1,2"), ("u.txt", wide))
        await expect(files(chat)).to_have_count(3)
        await expect(files(chat).first).to_contain_text("a.py")
        await expect(files(chat).first).to_contain_text("18 bytes · about 5 tokens")
        await chat.page.reload()
        await expect(files(chat)).to_have_count(3)
        await chat.page.get_by_role("button", name="Remove u.txt").click()
        await chat.ask("What is it?")
        await chat.wait_answered()
        await expect(files(chat)).to_have_count(0)
        file = chat.questions.locator("details.file").first
        await expect(file.locator("pre")).not_to_be_visible()
        await file.locator("summary").click()
        await expect(file.locator("pre")).to_have_text(code)
        await chat.questions.get_by_role("button", name="Edit").click()
        await chat.page.get_by_role("textbox", name="Edit the message").fill("And now?")
        await chat.page.get_by_role("button", name="Send").first.click()
        await chat.wait_answered()
    told = f'File "a.py":\n`````py\n{code}`````\n\nFile "data.csv":\n```csv\na,b\n1,2\n```\n\n'
    contents = [body_of(sent)["messages"][0]["content"] for sent in ollama.chats]
    assert contents == [f"{told}What is it?", f"{told}And now?"]


async def test_a_pdf_is_read(opener: Opener) -> None:
    """Its text page by page; one without text, a damaged and a locked one are refused."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        await pick(chat, ("two.pdf", pdf("First page", "Second page")))
        await expect(files(chat)).to_contain_text("2 pages")
        await pick(chat, ("scan.pdf", pdf("")), ("broken.pdf", b"%PDF-1.4\nnothing"))
        await expect(chat.problem).to_contain_text("scan.pdf has no text: its pages are pictures.")
        await expect(chat.problem).to_contain_text("broken.pdf is not a PDF that can be read")
        await chat.ask("Sum up")
        await chat.wait_answered()
    [message] = body_of(ollama.chats[0])["messages"]
    assert message["content"] == (
        'File "two.pdf":\n```pdf\nFirst page\n\nSecond page\n```\n\nSum up'
    )


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("a.zip", b"PK\x03\x04\x14\x00\x00\xff\xfe", "a.zip is not a text file."),
        ("zeros.txt", b"text\0\0text", "zeros.txt is not a text file."),
        ("latin.txt", "Zürich, größer".encode("latin-1"), "latin.txt is not in UTF-8"),
        ("empty.md", b"\n \n", "empty.md is empty."),
        ("long.log", b"x" * 200_000, "long.log is too large: it is 200 KB"),
    ],
)
async def test_what_is_no_text_is_refused(
    opener: Opener, name: str, data: bytes, sentence: str
) -> None:
    """It is named, and says what to do; the others are taken."""
    async with chat_server(Script("Yes."), max_body=100_000) as (_, server):
        chat = await opener(server.url)
        await pick(chat, (name, data), ("good.txt", b"good"))
        await expect(chat.problem).to_contain_text(sentence)
        await expect(files(chat)).to_have_count(1)


async def test_a_long_paste_becomes_a_file(opener: Opener) -> None:
    """540 KB at once, with a way back; a short one is text as ever."""
    text = "A line of some length that somebody copied.\n" * 12_500
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        assert not await chat.page.evaluate(PASTE, "short")
        assert await chat.page.evaluate(PASTE, "x" * 5000)
        await expect(files(chat)).to_contain_text("pasted.txt")
        await chat.page.get_by_role("button", name="Put into the message").click()
        await expect(chat.message).to_have_value("x" * 5000)
        await expect(chat.message).to_be_focused()
        await expect(files(chat)).to_have_count(0)
        assert await chat.page.evaluate(PASTE, text)
        await expect(files(chat)).to_contain_text("550 KB")
        await chat.ask("Sum up")
        await chat.wait_answered()
    [message] = body_of(ollama.chats[0])["messages"]
    assert message["content"] == f'File "pasted.txt":\n```txt\n{text}```\n\nSum up'


async def test_pictures_are_looked_at_and_described(opener: Opener) -> None:
    """In their order; large, by keyboard; what is written of one is read out."""
    async with chat_server(SEEING) as (_, server):
        chat = await opener(server.url)
        given = [("a.png", "image/png", PNG), ("b.gif", "image/gif", GIF)]
        await chat.page.locator("#picture-files").set_input_files(
            [FilePayload(name=name, mimeType=kind, buffer=data) for name, kind, data in given]
        )
        await expect(pictures(chat)).to_have_count(2)
        await chat.page.get_by_role("button", name="b.gif", exact=True).press("Enter")
        dialog = chat.page.get_by_role("dialog", name="Picture")
        await dialog.get_by_role("textbox", name="Description").fill("A red dot")
        await dialog.get_by_role("button", name="Previous picture").press("Enter")
        await expect(dialog.get_by_role("textbox")).to_have_value("")
        await chat.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)
        await chat.reload()
        await expect(pictures(chat)).to_have_count(2)
        await chat.message.press("Enter")
        await chat.wait_answered()
        sent = chat.questions.get_by_role("img")
        assert [await sent.nth(place).get_attribute("alt") for place in range(2)] == [
            "A picture that you sent",
            "A red dot",
        ]
        await sent.first.click()
        await chat.page.keyboard.press("ArrowRight")
        await expect(dialog.get_by_role("img")).to_have_attribute("alt", "A red dot")
        await expect(dialog.get_by_role("textbox")).to_have_count(0)
