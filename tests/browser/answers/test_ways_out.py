"""For everything that can go wrong there is a way out, in words and as a button."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from dripline.errors import ErrorCode
from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_code_has_a_way_out(opener: Opener) -> None:
    """Each of the server's codes is in the page's table, and offers something to do."""
    async with chat_server(Script("")) as (_, server):
        chat = await opener(server.url)
        ways = await chat.page.evaluate(
            "async () => ({ ...(await import('/static/view/ways-out.js')).WAYS_OUT })"
        )
        assert set(ErrorCode) - set(ways) == set()
        assert [code for code, way in ways.items() if not way["actions"]] == []
        found = await chat.page.evaluate(
            """async () => {
                const { wayOut } = await import("/static/view/ways-out.js");
                const code = "model_not_found";
                return [
                    wayOut({ code, message: "", model: "qwen3:4b" }).command,
                    wayOut({ code, message: "", model: "x; rm -rf ~" }).command,
                    wayOut({ code: "constructor", message: "" }).actions,
                ];
            }"""
        )
        assert found == ["ollama pull qwen3:4b", None, ["retry"]]


async def test_a_line_to_copy(opener: Opener) -> None:
    """Where a command helps, it stands there to be copied, and the button says that it was."""
    async with chat_server({}) as (ollama, server):
        chat = await opener(server.url, permissions=["clipboard-read", "clipboard-write"])
        await expect(chat.problem).to_contain_text("Ollama has no models yet.")
        await chat.stop_time()
        await chat.problem.get_by_role("button", name="Copy").click()
        await expect(chat.problem.get_by_role("button", name="Copied")).to_be_visible()
        copied = await chat.page.evaluate("navigator.clipboard.readText()")
        assert copied == "ollama pull llama3.2"
        await ollama.close()
        await chat.problem.get_by_role("button", name="Try again").click()
        await expect(chat.problem).to_contain_text("No Ollama answers at")
        await expect(chat.problem.locator(".command")).to_contain_text("ollama serve")
        chat.expect_complaints("503")


async def test_a_server_that_asks_for_its_token(opener: Opener) -> None:
    """The page asks for it, says where it was wrong, keeps it, and goes on by itself."""
    token = "correct horse battery staple"
    async with chat_server(Script("Welcome."), token=token) as (_, server):
        chat = await opener(server.url)
        asks = chat.page.get_by_role("dialog", name="This server needs a token")
        await expect(asks.get_by_label("Token")).to_be_focused()
        await chat.page.keyboard.press("Escape")
        await chat.problem.get_by_role("button", name="Enter the token").click()
        await asks.get_by_label("Token").fill("wrong horse battery staple")
        await chat.page.keyboard.press("Enter")
        await expect(asks).to_contain_text("is wrong, or no longer valid")
        await asks.get_by_label("Token").fill(token)
        await chat.page.keyboard.press("Enter")
        await expect(chat.model).to_be_enabled()
        await expect(asks).to_be_hidden()
        await chat.page.reload()
        await expect(chat.model).to_be_enabled()
        await chat.ask("Hello")
        await chat.wait_text("Welcome.")
        await chat.wait_answered()
        chat.expect_complaints("401")
