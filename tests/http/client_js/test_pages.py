"""The JavaScript client in pages of another origin: in React, and without a build."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Page, expect

from dripline.testing import Script
from tests.support.browser import chromium
from tests.support.client_js import PACKAGE
from tests.support.programs import require_npm_packages
from tests.support.stack import Stack, stack

WORDS = ["Grüße", " 👋", " aus", " Zürich."]
NO_BUILD = """<!doctype html><p></p><script type="module">
import { ChatClient } from "SERVER/static/client.js";
const { text } = await new ChatClient("SERVER").ask("Hi");
document.querySelector("p").textContent = text;
</script>"""


@pytest.fixture(scope="module")
def bundle(project: Path) -> str:
    """The example, compiled by esbuild as its users would."""
    packages = require_npm_packages("tests/js")
    shutil.copytree(PACKAGE / "examples/react", project / "react")
    for name in ("react", "react-dom", "scheduler"):
        (project / "node_modules" / name).symlink_to(packages / name)
    built: list[str | Path] = [packages / ".bin/esbuild", "page.tsx", "--bundle", "--jsx=automatic"]
    made = subprocess.run(built, cwd=project, check=True, capture_output=True, text=True)
    return made.stdout


@asynccontextmanager
async def page_of(html: str, script: str = "") -> AsyncIterator[tuple[Page, Stack, str]]:
    """A page at an origin of its own, and the stack, which allows it; SERVER is its address."""
    app = web.Application()
    runner = web.AppRunner(app)
    shown = html

    async def index(_: web.Request) -> web.Response:
        return web.Response(text=shown, content_type="text/html")

    async def code(_: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript")

    app.router.add_get("/", index)
    app.router.add_get("/page.js", code)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with stack(Script(WORDS), cors_origins=(origin,)) as s, chromium() as browser:
            shown = html.replace("SERVER", s.url)
            yield await browser.new_page(), s, origin
    finally:
        await runner.cleanup()


REACT = '<!doctype html><div id="chat"></div><script src="/page.js"></script>'


async def test_the_seeds_front_end_in_react(bundle: str) -> None:
    """Its 30 lines show every token at any split; the usual loop beside them loses messages."""
    async with page_of(REACT, bundle) as (page, s, origin):
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        for pieces in (1, 7, 1000):
            await page.goto(f"{origin}?server={s.url}&pieces={pieces}")
            await page.get_by_role("textbox").fill("Change color to red")
            await page.keyboard.press("Enter")
            await expect(page.locator(".assistant")).to_have_text("".join(WORDS))
            await expect(page.locator("form")).to_have_css("background-color", "rgb(255, 0, 0)")
            messages, error = await page.evaluate("usual('Hi')")
            whole = len(WORDS) + 2  # start and end
            assert (messages == whole and not error) is (pieces == 1000)
        assert faults == []


async def test_a_page_without_a_build() -> None:
    """`/static/client.js` of the server is all that it imports, also from another origin."""
    async with page_of(NO_BUILD) as (page, _, origin):
        await page.goto(origin)
        await expect(page.locator("p")).to_have_text("".join(WORDS))


def test_the_example_is_short() -> None:
    """It is what the README says: 30 lines."""
    lines = (PACKAGE / "examples/react/Chat.tsx").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 30
    assert not re.search(r"getReader|TextDecoder|split", "\n".join(lines))
