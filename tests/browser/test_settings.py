"""What a person chooses: it goes into the next request, is kept, and wrong values are told."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from dripline.testing import FakeOllama, ModelDetails, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, body_of, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENTERED = {
    "Temperature": "0.7",
    "Top P": "0.95",
    "Top K": "50",
    "Repeat penalty": "1.2",
    "Seed": "-7",
    "Context length": "8192",
    "Answer limit": "-1",
    "Stop at": "END\nUser:",
    "Keep in memory": "1h30m",
}
SENT = {
    "temperature": 0.7,
    "top_p": 0.95,
    "top_k": 50,
    "repeat_penalty": 1.2,
    "seed": -7,
    "num_ctx": 8192,
    "num_predict": -1,
    "stop": ["END", "User:"],
}
PLAIN = {"messages", "model", "stream"}


async def open_settings(chat: ChatPage) -> Locator:
    await chat.page.get_by_role("button", name="Settings").click()
    return chat.page.get_by_role("dialog", name="Settings")


async def request_of(chat: ChatPage, ollama: FakeOllama, count: int) -> Any:
    """Ask something, and return what Ollama was sent."""
    await chat.ask("Hello")
    await chat.wait_answered(count)
    return body_of(ollama.chats[-1])


async def test_options_are_sent_only_where_set(opener: Opener) -> None:
    """Nothing is sent that nobody set; what is set goes out, survives a reload, and is reset."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        assert set(await request_of(chat, ollama, 1)) == PLAIN
        dialog = await open_settings(chat)
        for label, text in ENTERED.items():
            await dialog.get_by_label(label, exact=True).fill(text)
        await dialog.get_by_role("button", name="Done").click()
        body = await request_of(chat, ollama, 2)
        assert body["options"] == SENT
        assert body["keep_alive"] == "1h30m"

        await chat.page.reload()
        await expect(chat.model).to_have_value("story:latest")  # before, it hears no clicks
        dialog = await open_settings(chat)
        for label, text in ENTERED.items():
            await expect(dialog.get_by_label(label, exact=True)).to_have_value(text)
        await dialog.get_by_role("button", name="Reset all").click()
        await expect(dialog.get_by_label("Temperature")).to_have_value("")
        await dialog.press("Escape")
        await chat.ask("Hello again")
        await ollama.wait_for_request(3)
        await expect(chat.answers.last).to_have_attribute("aria-busy", "false")
    assert set(body_of(ollama.chats[-1])) == PLAIN


WRONG = [
    ("Temperature", "hot", "Temperature must be a number from 0 to 5."),
    ("Temperature", "-1", "from 0 to 5"),
    ("Temperature", "0x1", "from 0 to 5"),
    ("Temperature", "Infinity", "from 0 to 5"),
    ("Top P", "1.5", "from 0 to 1"),
    ("Top K", "4.5", "Top K must be a whole number"),
    ("Seed", "99999999999", "from -2,147,483,648 to 2,147,483,647"),
    ("Context length", "0", "from 1 to"),
    ("Keep in memory", "a while", "a time such as 30s"),
]


async def test_wrong_values_are_told_as_they_are_typed(opener: Opener) -> None:
    """The sentence names the field and what it can be; what was set before stays in force."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        dialog = await open_settings(chat)
        for label, text, sentence in WRONG:
            field = dialog.get_by_label(label, exact=True)
            await field.fill("1")
            await expect(field).to_have_attribute("aria-invalid", "false")
            await field.fill(text)
            await expect(field).to_have_attribute("aria-invalid", "true")
            told = re.compile(rf"{re.escape(sentence)}.* Until then, 1 is used\.")
            await expect(field).to_have_accessible_description(told)
        await dialog.press("Escape")
        body = await request_of(chat, ollama, 1)
    assert body["options"] == {"temperature": 1, "top_p": 1, "top_k": 1, "seed": 1, "num_ctx": 1}
    assert body["keep_alive"] == 1


# What the page is told of notifications, and what it shows.
NOTIFICATIONS = """(() => {
    globalThis.shown = [];
    const answers = %s;
    globalThis.Notification = class extends EventTarget {
        static permission = "default";
        static async requestPermission() { return (this.permission = answers); }
        constructor(title, { body }) { super(); shown.push(`${title}: ${body}`); }
    };
    Object.defineProperty(document, "hidden", { get: () => globalThis.isHidden ?? false });
})()"""


@pytest.mark.parametrize("permission", ["granted", "denied"])
async def test_notifications_are_asked_for(opener: Opener, permission: str) -> None:
    """Once they are wanted; a hidden tab then tells of its answers, and only where it may."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url, script=NOTIFICATIONS % repr(permission))
        dialog = await open_settings(chat)
        await dialog.get_by_label("Notifications").select_option("on")
        if permission == "denied":
            await expect(dialog.get_by_text("The browser does not allow it.")).to_be_visible()
            await expect(dialog.get_by_label("Notifications")).to_have_value("")
        await dialog.press("Escape")
        await chat.ask("Seen")
        await chat.wait_answered()
        await chat.page.evaluate("globalThis.isHidden = true")
        await chat.ask("Hidden")
        await chat.wait_answered(2)
        shown = ["Answer complete: Seen"] if permission == "granted" else []
        assert await chat.page.evaluate("shown") == shown


THINKERS = {
    "plain": Script("Yes."),
    "thinker": Script("Yes.", capabilities=["completion", "thinking"]),
    "leveled": Script(
        "Yes.", capabilities=["completion", "thinking"], details=ModelDetails(family="gptoss")
    ),
}


async def test_thinking_is_what_the_model_has(opener: Opener) -> None:
    """On and off, or levels, or nothing; a choice that the model does not have is not sent."""
    async with chat_server(THINKERS) as (ollama, server):
        chat = await opener(server.url)
        think = chat.page.get_by_role("combobox", name="Thinking")
        sent: list[object] = []
        for model, choices, choice in [
            ("plain", [], None),
            ("thinker", ["default", "on", "off"], None),
            ("thinker", ["default", "on", "off"], "off"),
            ("leveled", ["default", "low", "medium", "high"], None),
            ("leveled", ["default", "low", "medium", "high"], "high"),
            ("thinker", ["default", "on", "off"], None),
        ]:
            await chat.model.select_option(f"{model}:latest")
            await expect(think.get_by_role("option")).to_have_text(
                [f"Thinking: {choice}" for choice in choices]
            )
            await expect(think).to_be_visible(visible=bool(choices))
            if choice:
                await think.select_option(choice)
            sent.append((await request_of(chat, ollama, len(sent) + 1)).get("think"))
    assert sent == [None, None, False, None, "high", None]


async def test_system_prompts(opener: Opener) -> None:
    """A chat's own system prompt goes before the one for all chats."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        dialog = await open_settings(chat)
        await dialog.get_by_label("For all other chats").fill("Be brief.")
        await dialog.press("Escape")
        first = await request_of(chat, ollama, 1)
        dialog = await open_settings(chat)
        own = dialog.get_by_label("For this chat")
        await expect(own).to_have_attribute("placeholder", "Be brief.")
        await own.fill("Be kind.")
        await dialog.press("Escape")
        second = await request_of(chat, ollama, 2)
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert second["messages"][0] == {"role": "system", "content": "Be kind."}
    assert [message["role"] for message in second["messages"]].count("system") == 1


async def test_chats_can_be_kept_from_changing_the_page(opener: Opener) -> None:
    """Where the person does not want it, a message is only a message."""
    async with chat_server(Script("No.")) as (ollama, server):
        chat = await opener(server.url)
        dialog = await open_settings(chat)
        await dialog.get_by_role("checkbox", name="Let chats change").uncheck()
        await dialog.press("Escape")
        await chat.ask("Change color to navy")
        await chat.wait_answered()
        await expect(chat.page.get_by_role("button", name="Undo the colour")).to_be_hidden()
    assert len(body_of(ollama.chats[0])["messages"]) == 1


async def test_model_is_kept_and_its_traits_are_told(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list tells size, abilities and what is loaded, anew when it opens; the choice is kept."""
    monkeypatch.setattr("dripline_server.upstream.model_memory.PS_FRESH", 0.0)
    models = {
        "small": Script("Yes.", details=ModelDetails(size=523_000_000)),
        "large": Script("Yes.", capabilities=["completion", "vision", "tools", "thinking"]),
    }
    async with chat_server(models) as (ollama, server):
        chat = await opener(server.url)
        options = chat.model.get_by_role("option")
        await expect(options).to_have_text(
            ["small:latest 523 MB", "large:latest 2.0 GB · sees images · thinks · uses tools"]
        )
        await chat.model.select_option("large:latest")
        await chat.ask("Hello")
        await chat.wait_answered()
        await chat.model.focus()
        await expect(options.last).to_contain_text("loaded")
        await chat.page.reload()
        await expect(chat.model).to_have_value("large:latest")

        ollama.models["new"] = Script("Yes.")
        await chat.model.focus()
        await expect(options).to_have_count(3)
        await expect(chat.model).to_have_value("large:latest")
        del ollama.models["large"]
        await chat.message.focus()
        await chat.model.focus()
        await expect(options).to_have_count(2)
        await expect(chat.model).to_have_value("new:latest")


async def test_other_tabs_and_broken_stores(opener: Opener) -> None:
    """Another tab's change holds here too; what is kept and cannot be is left out."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        await chat.page.evaluate(
            """() => localStorage.setItem("dripline.settings", JSON.stringify({
                temperature: "boiling", top_k: 5, top_p: "0.5", appearance: "dark", evil: "x",
            }))"""
        )
        await chat.page.reload()
        await expect(chat.page.locator(":root")).to_have_css("color-scheme", "dark")
        await expect(chat.model).to_be_enabled()
        other = (await chat.new_tab(server.url)).page
        await other.get_by_role("button", name="Settings").click()
        await other.get_by_label("Top K", exact=True).fill("9")
        await other.get_by_label("Appearance").select_option("light")
        await expect(chat.page.locator(":root")).to_have_css("color-scheme", "light")
        assert (await request_of(chat, ollama, 1))["options"] == {"top_p": 0.5, "top_k": 9}
        for broken in ("", "null", "[", "7", '"x"'):
            await chat.page.evaluate(
                "broken => localStorage.setItem('dripline.settings', broken)", broken
            )
            await chat.page.reload()
            await expect(chat.model).to_be_enabled()
