"""Everything without a mouse, and what screen readers are told: Chromium's accessibility tree."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import expect

from dripline.testing import Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)
CONTROLS = {"button", "textbox", "combobox", "checkbox", "link", "option"}


async def accessible(chat: ChatPage) -> list[tuple[str, str]]:
    """What a screen reader finds on the page: role and name of each node."""
    session = await chat.page.context.new_cdp_session(chat.page)
    tree = await session.send("Accessibility.getFullAXTree")
    await session.detach()

    def value(node: Any, key: str) -> str:
        return str(node.get(key, {}).get("value", "")).strip()

    nodes = [node for node in tree["nodes"] if not node["ignored"]]
    return [(value(node, "role").lower(), value(node, "name")) for node in nodes]


async def test_tab_reaches_everything_in_the_order_it_is_seen(opener: Opener) -> None:
    """The focus begins in the message; Tab goes through the page as it is read."""
    thinking = Script("Yes.", capabilities=["completion", "thinking"])
    async with chat_server(thinking) as (_, server):
        chat = await opener(server.url)
        await expect(chat.message).to_be_focused()
        await chat.model.focus()
        for control in (
            chat.page.get_by_role("button", name="Models"),
            chat.page.get_by_role("button", name="Keyboard shortcuts"),
            chat.page.get_by_role("button", name="Settings"),
            chat.page.get_by_role("main"),
            chat.page.get_by_role("button", name="Why is the sky blue?"),
            chat.page.get_by_role("button", name="Change color"),
            chat.page.get_by_role("button", name="Add a button"),
            chat.page.get_by_role("button", name="Show me some Python code"),
            chat.message,
            chat.page.get_by_role("button", name="Add pictures"),
            chat.page.get_by_role("combobox", name="Thinking"),
            chat.page.get_by_role("button", name="Send"),
        ):
            await chat.page.keyboard.press("Tab")
            await expect(control).to_be_focused()


async def test_every_control_has_a_name(opener: Opener) -> None:
    """In the accessibility tree: each control's name, the landmarks, the log, both dialogs."""
    models = {"story": Script("Yes.", capabilities=["completion", "thinking", "vision"])}
    async with chat_server(models) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Add a button that says Help")
        await chat.wait_answered()
        nodes = await accessible(chat)
        for node in [
            ("main", ""),
            ("heading", "dripline"),
            ("log", "Conversation"),
            ("article", "You"),
            ("article", "Answer"),
            ("combobox", "Model"),
            ("combobox", "Thinking"),
            ("textbox", "Message"),
            ("button", "Send"),
            ("group", "Buttons of this chat"),
            ("button", "Help"),
            ("button", "Remove the button Help"),
        ]:
            assert node in nodes
        assert [node for node in nodes if node[0] in CONTROLS and not node[1]] == []
        for name in ("Settings", "Keyboard shortcuts"):
            await chat.page.get_by_role("button", name=name).click()
            nodes = await accessible(chat)
            assert ("dialog", name) in nodes
            assert ("main", "") not in nodes  # all else is inert
            assert [node for node in nodes if node[0] in CONTROLS and not node[1]] == []
            await chat.page.keyboard.press("Escape")


@pytest.mark.parametrize("name", ["Settings", "Keyboard shortcuts"])
async def test_dialogs_give_the_focus_back(opener: Opener, name: str) -> None:
    """A dialog takes the focus, keeps it, and gives it back to where it was, however it closes."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        opens = chat.page.get_by_role("button", name=name)
        dialog = chat.page.get_by_role("dialog", name=name)
        for close in ("Escape", "Enter"):
            await opens.press("Enter")
            await expect(dialog).to_be_visible()
            assert await dialog.evaluate("e => e.contains(document.activeElement)")
            await dialog.get_by_role("button", name="Close").press(close)
            await expect(dialog).to_be_hidden()
            await expect(opens).to_be_focused()
        await chat.message.focus()
        await chat.page.keyboard.press("Control+," if name == "Settings" else "Control+/")
        await expect(dialog).to_be_visible()
        await chat.page.mouse.click(2, 2)  # beside it
        await expect(dialog).to_be_hidden()
        await expect(chat.message).to_be_focused()


async def test_shortcuts(opener: Opener) -> None:
    """Keys stop an answer and move the focus; what is typed into a text stays text."""
    clock = GatedClock()
    async with chat_server(Script(["One", " two"], HELD), clock=clock) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Count")
        clock.let_go()
        await chat.wait_text("One")
        await chat.model.focus()
        await chat.page.keyboard.press("Shift+Escape")
        await expect(chat.message).to_be_focused()
        sheet = chat.page.get_by_role("dialog", name="Keyboard shortcuts")
        await chat.message.press_sequentially("what?")
        await expect(chat.message).to_have_value("what?")
        await expect(sheet).to_be_hidden()
        await chat.page.locator("main").focus()
        await chat.page.keyboard.press("?")
        await expect(sheet.get_by_role("row")).to_contain_text(["Does", "Send", "Edit"])
        await chat.page.keyboard.press("Escape")
        await expect(sheet).to_be_hidden()
        await expect(chat.stop).to_be_visible()  # Escape was the sheet's
        await chat.page.keyboard.press("Escape")
        await chat.wait_answered()
        await expect(chat.stop).to_be_hidden()


DOES = {
    "edit-last": ("ArrowUp", "document.activeElement.matches('.question textarea')"),
    "regenerate": (
        "Control+Shift+Enter",
        "document.querySelector('.answer .steps').textContent.includes('2 / 2')",
    ),
    "copy-answer": ("Control+Shift+Y", "await navigator.clipboard.readText() === 'Yes.'"),
    "new-chat": (
        "Control+Shift+O",
        "!document.querySelector('.question') && document.activeElement.id === 'message'",
    ),
    "search": ("Control+K", "document.activeElement.id === 'search'"),
    "toggle-sidebar": ("Control+B", "document.querySelector('#sidebar').hidden"),
    "settings": ("Control+Comma", "document.querySelector('#settings').open"),
    "help": ("Control+Slash", "document.querySelector('#help').open"),
}


@pytest.mark.parametrize("shortcut", DOES)
async def test_what_a_shortcut_does(opener: Opener, shortcut: str) -> None:
    """Pressed in the empty message of an answered chat, it has its effect."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, permissions=["clipboard-read", "clipboard-write"])
        await chat.ask("Hello")
        await chat.wait_answered()
        keys, effect = DOES[shortcut]
        assert not await chat.page.evaluate(f"(async () => {effect})()")
        await chat.message.press(keys)
        await chat.wait_for(effect)


async def test_every_shortcut_is_tested(opener: Opener) -> None:
    """The sheet lists none that no test has pressed; `test_shortcuts` and others press the rest."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        listed = await chat.page.evaluate(
            """async () => {
                const { SHORTCUTS } = await import("/static/view/shortcuts.js");
                return SHORTCUTS.map(({ id }) => id);
            }"""
        )
        assert set(listed) == {*DOES, "send", "stop", "focus-message"}


async def test_keys_of_a_mac(opener: Opener) -> None:
    """On a Mac it is Command, and the sheet says so; Control is left alone."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        found = await chat.page.evaluate(
            """async () => {
                const shortcuts = await import("/static/view/shortcuts.js");
                const { keyNames, SHORTCUTS, shortcutOf } = shortcuts;
                const up = { ctrlKey: false, metaKey: false, shiftKey: false, altKey: false };
                const press = { ...up, key: "k" };
                const search = SHORTCUTS.find(({ id }) => id === "search");
                return [
                    shortcutOf({ ...press, metaKey: true }, true, true),
                    shortcutOf({ ...press, ctrlKey: true }, true, true),
                    shortcutOf({ ...press, ctrlKey: true }, false, true),
                    shortcutOf({ ...press, ctrlKey: true, altKey: true }, false, true),
                    shortcutOf({ ...press, key: "?", shiftKey: true }, false, false),
                    shortcutOf({ ...press, key: "?", shiftKey: true }, false, true),
                    keyNames(search, true).join(" "),
                    keyNames(search, false).join(" "),
                ];
            }"""
        )
        assert found == ["search", None, "search", None, "help", None, "⌘ K", "Ctrl K"]


# What Enter does is not the same on every keyboard.
PHONE = {"has_touch": True, "is_mobile": True, "viewport": {"width": 390, "height": 800}}
DESK: dict[str, object] = {}


@pytest.mark.parametrize(
    ("device", "setting", "sends"),
    [
        (DESK, "", True),
        (DESK, "send", True),
        (DESK, "line", False),
        (PHONE, "", False),
        (PHONE, "send", True),
        (PHONE, "line", False),
    ],
    ids=lambda value: str(value) if not isinstance(value, dict) else "phone" if value else "desk",
)
async def test_enter_sends_or_starts_a_line(
    opener: Opener, device: dict[str, object], setting: str, sends: bool
) -> None:
    """On a touch keyboard it starts a line; a setting has the last word, also after a reload."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, **device)
        await chat.page.get_by_role("button", name="Settings").click()
        dialog = chat.page.get_by_role("dialog", name="Settings")
        await dialog.get_by_label("Enter key").select_option(setting)
        await dialog.press("Escape")
        await chat.page.reload()
        await expect(chat.model).to_be_enabled()
        await expect(chat.message).to_have_attribute("enterkeyhint", "send" if sends else "enter")
        await chat.page.get_by_role("button", name="Keyboard shortcuts").click()
        keys = chat.page.get_by_role("row", name="Send, in the message").locator("kbd")
        await expect(keys).to_have_text(["Enter"] if sends else ["Ctrl", "Enter"])
        await chat.page.keyboard.press("Escape")
        await chat.message.fill("Hello")
        await chat.message.press("End")
        await chat.message.press("Enter")
        if not sends:
            await expect(chat.message).to_have_value("Hello\n")
            await chat.message.press("Control+Enter")
        await chat.wait_answered()
        await expect(chat.questions).to_have_text("Hello")
