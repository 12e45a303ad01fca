"""Models in the page: found, used, described, got with pauses, unloaded and deleted."""

from __future__ import annotations

import pytest
from playwright.async_api import Locator, expect

from dripline.testing import Pace, Script
from tests.browser.conftest import Opener
from tests.support.browser import ChatPage, chat_server
from tests.support.gated_clock import GatedClock

pytestmark = pytest.mark.asyncio(loop_scope="session")

HELD = Pace(first_token=1, tokens_per_second=1)


async def open_models(chat: ChatPage) -> Locator:
    await chat.page.get_by_role("button", name="Models", exact=True).click()
    return chat.page.get_by_role("dialog", name="Models")


def listed(dialog: Locator) -> Locator:
    return dialog.get_by_role("list", name="Models", exact=True).locator(":scope > li")


async def test_models_are_found_used_and_deleted(opener: Opener) -> None:
    """By a part of the name; what is loaded can be unloaded; deleting asks once more."""
    models = {f"model{number}": Script("Yes.") for number in range(49)}
    async with chat_server(models, model="model0") as (_, server):
        chat = await opener(server.url)
        await chat.ask("Hi")
        await chat.wait_answered()
        dialog = await open_models(chat)
        await expect(listed(dialog)).to_have_count(49)
        await dialog.get_by_role("button", name="Unload model0:latest").click()
        await expect(dialog.get_by_text("model0:latest is unloaded.")).to_be_visible()
        await expect(dialog.get_by_role("button", name="Unload")).to_have_count(0)
        await dialog.get_by_label("Find by name").fill("MODEL48")
        await expect(listed(dialog)).to_have_count(1)
        await expect(dialog.get_by_text("1 of 49 models")).to_be_visible()
        await dialog.get_by_text("Details").click()
        await expect(dialog.get_by_text("Q4_K_M")).to_be_visible()
        await dialog.get_by_role("button", name="Use model48:latest").click()
        await expect(chat.model).to_have_value("model48:latest")
        dialog = await open_models(chat)
        await dialog.get_by_label("Find by name").fill("model7")
        await dialog.get_by_role("button", name="Delete model7:latest").click()
        await dialog.get_by_role("button", name="Really delete model7:latest?").click()
        await expect(dialog.get_by_text("model7:latest is deleted.")).to_be_visible()
        await expect(listed(dialog)).to_have_count(0)


async def test_a_model_is_got_with_pauses(opener: Opener) -> None:
    """Its progress is seen, over a reload; paused and resumed it is there in the end."""
    clock = GatedClock()
    registry = {"new": Script("New.", HELD)}
    async with chat_server({"old": Script("")}, clock=clock, registry=registry) as (_, server):
        chat = await opener(server.url)
        dialog = await open_models(chat)
        await dialog.get_by_label("Name, as on").fill("new")
        await dialog.get_by_label("Name, as on").press("Enter")
        pulls = dialog.get_by_role("list", name="Models that are being got")
        clock.let_go(3)
        await expect(pulls).to_contain_text("pulling")
        await chat.page.reload()
        await expect(chat.model).to_have_value("old:latest")
        dialog = await open_models(chat)
        await expect(pulls).to_contain_text("pulling")
        await pulls.get_by_role("button", name="Pause new").click()
        await expect(pulls).to_contain_text("paused")
        clock.let_go(1000)
        await pulls.get_by_role("button", name="Resume new").click()
        await expect(listed(dialog)).to_have_count(2)
        await expect(pulls).not_to_be_visible()


async def test_a_model_that_is_not_there_is_told(opener: Opener) -> None:
    """In a sentence, beside its name, which can be given up."""
    async with chat_server({"old": Script("")}, registry={}) as (_, server):
        chat = await opener(server.url)
        dialog = await open_models(chat)
        await dialog.get_by_label("Name, as on").fill("nothing")
        await dialog.get_by_role("button", name="Get", exact=True).click()
        await expect(dialog.get_by_text("There is no model 'nothing' to get.")).to_be_visible()
        await dialog.get_by_role("button", name="Give up nothing").click()
        await expect(dialog.get_by_text("There is no model")).to_have_count(0)


async def test_where_changes_are_not_allowed(opener: Opener) -> None:
    """Models are looked at and used; nothing offers to get or to delete one."""
    settings = {"allow_model_changes": False}
    async with chat_server({"old": Script("")}, **settings) as (_, server):
        chat = await opener(server.url)
        dialog = await open_models(chat)
        await expect(listed(dialog)).to_have_count(1)
        await expect(dialog.get_by_text("--allow-model-changes")).to_be_visible()
        await expect(dialog.get_by_role("button", name="Delete")).to_have_count(0)
        await expect(dialog.get_by_label("Name, as on")).not_to_be_visible()
