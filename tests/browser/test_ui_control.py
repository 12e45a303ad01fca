"""What a chat may do to the page: its colours, its text's size, and buttons. Nothing else."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Fault, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, body_of, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

END = {"type": "end", "data": {"status": "completed"}}
STILL_HERE = {"type": "text_message", "data": {"content": "Still here."}}
READABLE = 4.5  # WCAG 2.2, 1.4.3
BACKGROUND = "e => getComputedStyle(e).backgroundColor.match(/\\d+/g).map(Number)"

# In the browser: the contrast of each visible text with what is behind it.
CONTRASTS = """async () => {
    const { contrast } = await import("/static/view/palette.js");
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const behind = (element) => {
        const color = rgba(getComputedStyle(element).backgroundColor);
        return color[3] === 255 ? color : behind(element.parentElement);
    };
    const found = {};
    for (const element of document.body.querySelectorAll("*:not(option, script, template *)")) {
        const named = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (named && element.checkVisibility()) {
            const color = rgba(getComputedStyle(element).color);
            found[`${element.tagName} ${element.textContent.trim().slice(0, 20)}`] =
                contrast(color.slice(0, 3), behind(element).slice(0, 3));
        }
    }
    return found;
}"""


async def expect_colour(chat: ChatPage, color: str) -> None:
    """Wait until the page has a tint of this colour, "#RRGGBB", in the scheme of the browser."""
    page = await chat.page.evaluate(
        """async ([color]) => {
            const { paletteOf } = await import("/static/view/palette.js");
            const dark = matchMedia("(prefers-color-scheme: dark)").matches;
            return paletteOf(color, dark ? "dark" : "light").page;
        }""",
        [color],
    )
    await expect(chat.page.locator("body")).to_have_css("background-color", page.replace(" ", ", "))


async def expect_readable(chat: ChatPage) -> None:
    """Check every text that can be seen."""
    contrasts = await chat.page.evaluate(CONTRASTS)
    assert len(contrasts) > 5
    assert {text: value for text, value in contrasts.items() if value < READABLE} == {}


@pytest.mark.parametrize(
    ("scheme", "color", "light"),
    [
        ("light", "light green", True),
        ("dark", "light green", False),
        ("light", "navy", True),
        ("dark", "yellow", False),
        ("light", "black", False),
        ("dark", "white", True),
    ],
)
async def test_a_colour_is_a_tint(opener: Opener, scheme: str, color: str, light: bool) -> None:
    """Light stays light and dark stays dark; only black and white say which of them is meant."""
    async with chat_server(Script("Done!")) as (_, server):
        chat = await opener(server.url, color_scheme=scheme, reduced_motion="reduce")
        body = chat.page.locator("body")
        at_first = await body.evaluate(BACKGROUND)
        await chat.ask(f"Change color to {color}")
        await chat.wait_answered()
        tint = await body.evaluate(BACKGROUND)
        assert tint != at_first
        assert (min(tint) > 128) is light
        await chat.reload()
        # Before any module has run: first-paint.js knows it.
        assert await body.evaluate(BACKGROUND) == tint


async def test_the_page_changes_by_words(opener: Opener) -> None:
    """Accent, text size, several buttons at once; each taken back by words."""
    async with chat_server(Script("Done!")) as (_, server):
        chat = await opener(server.url, reduced_motion="reduce")
        root = chat.page.locator(":root")
        buttons = chat.page.get_by_role("group", name="Buttons of this chat").locator(".chip")
        send = chat.page.get_by_role("button", name="Send")
        answers = 0

        async def say(text: str) -> None:
            nonlocal answers
            answers += 1
            await chat.ask(text)
            await chat.wait_answered(answers)

        await say("Add buttons called Yes, No and Maybe, and make the text bigger")
        await expect(buttons).to_have_text(["Yes", "No", "Maybe"])
        await expect(root).to_have_css("font-size", "18px")
        plain = await send.evaluate("e => getComputedStyle(e).backgroundColor")
        await say("Make the accent crimson")
        await expect(send).not_to_have_css("background-color", plain)
        await expect(chat.page.locator("#accent-undo")).to_be_visible()
        await expect_readable(chat)
        await say("undo that")
        await expect(send).to_have_css("background-color", plain)
        await say("remove the no button")
        await expect(buttons).to_have_text(["Yes", "Maybe"])
        await say("undo")
        await expect(buttons).to_have_text(["Yes", "Maybe", "No"])
        await chat.page.get_by_role("button", name="Undo the text size").click()
        await expect(root).to_have_css("font-size", "16px")
        await say("reset the page")
        await expect(chat.page.get_by_role("group", name="What this chat")).to_be_hidden()
        await chat.reload()
        await expect(buttons).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everything_can_be_read(opener: Opener, scheme: str) -> None:
    """Each text has enough contrast: as the page comes, and in colours that are hard."""
    script = Script("Half an", fault=Fault.cut(at_token=1))
    async with chat_server(script) as (_, server):
        chat = await opener(server.url, color_scheme=scheme, reduced_motion="reduce")
        await expect_readable(chat)
        await chat.ask("Add a button that says Help")
        await chat.wait_answered()
        await expect_readable(chat)
        for color in ("#90EE90", "#777777", "#FF0000", "#0000FF", "#000000", "#FFFFFF", "#1E1E1E"):
            await chat.answer_with(
                {"type": "ui_control", "data": {"action": "change_theme", "color": color}}, END
            )
            await chat.page.get_by_role("button", name="Help", exact=True).click()
            await expect_colour(chat, color)
            await expect_readable(chat)


async def test_any_colour_gives_a_readable_palette(opener: Opener) -> None:
    """On 5,832 colours all over the cube, text has enough contrast on the page and its surfaces."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        worst = await chat.page.evaluate(
            """async () => {
                const { contrast, paletteOf } = await import("/static/view/palette.js");
                const rgb = (css) => css.match(/\\d+/g).map(Number);
                let worst = Infinity;
                for (let n = 0; n < 5832; n += 1) {
                    const parts = [n % 18, Math.floor(n / 18) % 18, Math.floor(n / 324)];
                    const hex = parts.map((p) => (p * 15).toString(16).padStart(2, "0")).join("");
                    const { page, surface, line, scheme, ...texts } =
                        paletteOf(`#${hex}`, n % 2 ? "light" : "dark", n % 3 ? null : `#${hex}`);
                    for (const front of Object.values(texts)) {
                        for (const back of [page, surface]) {
                            worst = Math.min(worst, contrast(rgb(front), rgb(back)));
                        }
                    }
                }
                return worst;
            }"""
        )
        assert worst >= READABLE


async def test_colours_and_buttons_can_be_undone(opener: Opener) -> None:
    """Each colour is undone to the one before it, each button taken away; the focus is not lost."""
    async with chat_server(Script("Done!")) as (_, server):
        chat = await opener(server.url, color_scheme="light")
        for count, color in enumerate(("light green", "navy"), start=1):
            await chat.ask(f"Change color to {color}")
            await chat.wait_answered(count)
        await chat.ask("Add a button that says Help")
        await chat.wait_answered(3)
        undo = chat.page.get_by_role("button", name="Undo the colour")
        await expect_colour(chat, "#000080")
        await undo.press("Enter")
        await expect_colour(chat, "#90EE90")
        await expect(undo).to_be_focused()
        await undo.press("Enter")
        await expect(undo).to_be_hidden()
        await expect(chat.message).to_be_focused()
        assert await chat.page.locator(":root").evaluate("e => e.style.length") == 0
        await chat.page.get_by_role("button", name="Remove the button Help").click()
        await expect(chat.page.get_by_role("group", name="What this chat")).to_be_hidden()
        await expect(chat.message).to_be_focused()


async def test_button_sends_its_message(opener: Opener) -> None:
    """A button that the chat added sends its message when it is pressed, and keeps the focus."""
    async with chat_server(Script("Ha.")) as (ollama, server):
        chat = await opener(server.url)
        await chat.ask('Add a button called Joke that sends "Tell me a joke"')
        await chat.wait_answered(1)
        button = chat.page.get_by_role("button", name="Joke", exact=True)
        await button.focus()
        await chat.page.keyboard.press("Enter")
        await expect(chat.questions.last).to_have_text("Tell me a joke")
        await chat.wait_answered(2)
        await expect(button).to_be_focused()
    assert body_of(ollama.chats[1])["messages"][-1] == {"role": "user", "content": "Tell me a joke"}


async def test_the_look_is_the_chats_own(opener: Opener) -> None:
    """It survives a reload, what was undone stays undone, and a new chat has none of it."""
    async with chat_server(Script("Done!")) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Change color to navy and add a button called Yes and another called No")
        await chat.wait_answered()
        await chat.page.get_by_role("button", name="Remove the button Yes").click()
        await chat.reload()
        await expect_colour(chat, "#000080")
        buttons = chat.page.get_by_role("group", name="Buttons of this chat").locator(".chip")
        await expect(buttons).to_have_text(["No"])
        await chat.page.get_by_role("button", name="New chat").click()
        await expect(buttons).to_have_count(0)
        assert await chat.page.locator(":root").evaluate("e => e.style.length") == 0


async def test_same_button_twice_is_one(opener: Opener) -> None:
    """A button takes the place of one with its label, and there are twelve at most."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        await chat.answer_with(
            *(
                {
                    "type": "ui_control",
                    "data": {"action": "add_button", "label": f"{n % 20}", "message": f"no. {n}"},
                }
                for n in range(21)
            ),
            END,
        )
        await chat.ask("Buttons, please")
        await chat.wait_answered()
        buttons = chat.page.get_by_role("group", name="Buttons of this chat").locator(".chip")
        await expect(buttons).to_have_text([*map(str, range(9, 20)), "0"])
        await buttons.last.click()
        await expect(chat.questions.last).to_have_text("no. 20")


NOT_ALLOWED: list[dict[str, object]] = [
    {"action": "change_theme", "color": "red"},
    {"action": "change_theme", "color": "#90EE90; background: url(//example.com)"},
    {"action": "change_theme", "color": "#90EE9"},
    {"action": "change_theme", "color": ["#90EE90"]},
    {"action": "change_theme"},
    {"action": "add_button", "label": " ", "message": "Hi"},
    {"action": "add_button", "label": "x" * 81, "message": "Hi"},
    {"action": "add_button", "label": "Hi", "message": "x" * 501},
    {"action": "add_button", "label": "Hi", "message": 5},
    {"action": "add_button", "label": "Hi"},
    {"action": "change_accent", "color": "teal"},
    {"action": "change_text_size", "size": "200px"},
    {"action": "remove_button", "label": ""},
    {"action": "undo_change", "what": 1},
    {"action": "navigate", "url": "https://example.com"},
    {"action": "constructor"},
]


async def test_what_is_not_allowed_does_nothing(opener: Opener) -> None:
    """The page checks by itself what it is told to do; the chat goes on."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        for count, data in enumerate(NOT_ALLOWED, start=1):
            await chat.answer_with({"type": "ui_control", "data": data}, STILL_HERE, END)
            await chat.ask("Do it")
            await chat.wait_answered(count)
            await chat.wait_text("Still here.")
            assert await chat.page.locator("#buttons > *, :root[style]").count() == 0, data
