"""What a chat has of its own: model, options and presets, and how much of the context it takes."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.browser.test_chats import new_chat, titles
from tests.browser.test_settings import open_settings, request_of
from tests.support.browser import body_of, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_chat_has_options_of_its_own(opener: Opener) -> None:
    """They come before those of all chats, are kept with the chat, and are nobody else's."""
    async with chat_server(Script("Yes.")) as (ollama, server):
        chat = await opener(server.url)
        await new_chat(chat, "First")
        dialog = await open_settings(chat)
        await dialog.get_by_label("Seed").fill("1")
        await dialog.get_by_label("These options are for").select_option("This chat only")
        await expect(dialog.get_by_label("Seed")).to_have_attribute("placeholder", "1")
        await dialog.get_by_label("Seed").fill("2")
        await dialog.get_by_label("Top K").fill("7")
        await dialog.press("Escape")
        assert (await request_of(chat, ollama, 2))["options"] == {"seed": 2, "top_k": 7}
        await new_chat(chat, "Second")
        assert body_of(ollama.chats[-1])["options"] == {"seed": 1}
        await chat.reload()
        await titles(chat).filter(has_text="First").click()
        await chat.wait_answered(2)
        await chat.page.keyboard.press("Control+Shift+Enter")
        await ollama.wait_for_request(4)
        assert body_of(ollama.chats[-1])["options"] == {"seed": 2, "top_k": 7}


async def test_a_chat_remembers_its_model(opener: Opener) -> None:
    """Regenerate asks it again, whatever was chosen in another chat since."""
    models = {"one": Script("One."), "two": Script("Two.")}
    async with chat_server(models, model="one") as (ollama, server):
        chat = await opener(server.url)
        await new_chat(chat, "First")
        await chat.page.get_by_role("button", name="New chat").click()
        await chat.model.select_option("two:latest")
        await chat.ask("Second")
        await chat.wait_text("Two.")
        await chat.reload()
        await titles(chat).filter(has_text="First").click()
        await expect(chat.model).to_have_value("one:latest")
        await chat.answers.get_by_role("button", name="Regenerate").click()
        await ollama.wait_for_request(3)
        await chat.wait_answered()
    assert [body_of(sent)["model"] for sent in ollama.chats] == [
        "one:latest",
        "two:latest",
        "one:latest",
    ]


async def test_presets_are_saved_and_used(opener: Opener) -> None:
    """System prompt, model and options under a name, in another chat and after a reload."""
    models = {"one": Script("One."), "two": Script("Two.")}
    async with chat_server(models, model="one") as (ollama, server):
        chat = await opener(server.url)
        await chat.model.select_option("two:latest")
        dialog = await open_settings(chat)
        await dialog.get_by_label("For this chat").fill("Be a pirate.")
        await dialog.get_by_label("These options are for").select_option("This chat only")
        await dialog.get_by_label("Temperature").fill("1.5")
        await dialog.get_by_label("Save what this chat uses as").fill("Pirate")
        await dialog.get_by_label("Save what this chat uses as").press("Enter")
        await expect(dialog.get_by_label("Saved presets")).to_have_value("Pirate")
        await dialog.press("Escape")
        await chat.page.reload()
        await chat.model.select_option("one:latest")
        dialog = await open_settings(chat)
        await expect(dialog.get_by_label("Temperature")).to_have_value("")
        await dialog.get_by_role("button", name="Use in this chat").click()
        await expect(dialog.get_by_label("For this chat")).to_have_value("Be a pirate.")
        await dialog.press("Escape")
        body = await request_of(chat, ollama, 1)
        assert body["model"] == "two:latest"
        assert body["options"] == {"temperature": 1.5}
        assert body["messages"][0] == {"role": "system", "content": "Be a pirate."}
        dialog = await open_settings(chat)
        await dialog.get_by_role("button", name="Delete").click()
        await expect(dialog.get_by_label("Saved presets")).not_to_be_visible()


async def test_the_context_is_measured(opener: Opener) -> None:
    """Tokens of what the model sees; a warning comes before the beginning is dropped."""
    async with chat_server(Script("Yes.")) as (_, server):
        chat = await opener(server.url)
        context = chat.page.locator("#context")
        warning = chat.page.locator("#context-warning")
        await expect(context).not_to_be_visible()
        await chat.ask("Hello")
        await chat.wait_answered()
        await expect(context).to_contain_text("of 4,096 tokens")  # as it was loaded
        dialog = await open_settings(chat)
        await dialog.get_by_label("Context length").fill("300")
        await dialog.press("Escape")
        await expect(context).to_contain_text("of 300 tokens")
        await expect(warning).not_to_be_visible()
        await chat.message.fill("word " * 240)
        await expect(warning).to_contain_text("nearly fills the 300 tokens")
        await chat.message.fill("")
        await expect(warning).not_to_be_visible()
        await chat.ask("word " * 400)
        await chat.wait_answered(2)
        await expect(warning).to_contain_text("Ollama has dropped the beginning of this chat")
