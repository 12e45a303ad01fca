"""React pages: bundled by esbuild, and used in Chromium on a server's own origin."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.async_api import Page, Route, expect

from dripline.testing import Script
from tests.readme.blocks import Block
from tests.support.browser import body_of, chromium
from tests.support.processes import run
from tests.support.programs import ROOT, require_npm_packages, require_program
from tests.support.stack import Stack, stack

HTML = '<!doctype html><meta charset="utf-8"><body><script src="/main.js"></script></body>'
MAIN = """
import { createRoot } from "react-dom/client";
import Page from "./page.jsx";

createRoot(document.body.appendChild(document.createElement("main"))).render(<Page id="chat-1" />);
"""


async def use_page(block: Block, folder: Path) -> None:
    """Ask, read the answer, and read it again after a reload.

    CopilotKit takes half a gigabyte to install: a page with it is compiled alone.
    """
    if "@copilotkit/" in block.text:
        await _bundle(block, folder, "--external:@copilotkit/*")
        return
    script = await _bundle(block, folder)
    async with (
        stack({"mistral": Script(["Blue", "."], capabilities=["completion"])}) as s,
        chromium() as browser,
    ):
        page = await browser.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await _serve(page, s, script)
        async with page.expect_response("**/stream"):  # it asks for an answer to go on with
            await page.goto(f"{s.url}/page")
        await page.get_by_role("textbox").fill("Why is the sky blue?")
        await page.get_by_role("textbox").press("Enter")
        await expect(page.locator("main")).to_contain_text("Why is the sky blue?Blue.")
        await page.reload()
        await expect(page.locator("main")).to_contain_text("Blue.")
        assert [body_of(chat)["model"] for chat in s.ollama.chats] == ["mistral"]
        assert complaints == []


async def _bundle(block: Block, folder: Path, *options: str) -> Path:
    """Return the script that shows the page; whatever esbuild warns of is an error."""
    (folder / "page.jsx").write_text(block.text)
    (folder / "main.jsx").write_text(MAIN)
    (folder / "agui-fetch.js").symlink_to(ROOT / "static/net/agui-fetch.js")
    packages = require_npm_packages("tests/js")
    code, _, err = await run(
        require_program("node"),
        str(packages / "esbuild/bin/esbuild"),
        *("main.jsx", "--bundle", "--jsx=automatic", "--minify", "--outfile=main.js", *options),
        *("--log-level=warning", '--define:process.env.NODE_ENV="production"'),
        environment={"NODE_PATH": str(packages), "PATH": os.environ["PATH"]},
        folder=folder,
    )
    assert (code, err) == (0, ""), err
    return folder / "main.js"


async def _serve(page: Page, s: Stack, script: Path) -> None:
    """Give the browser the page and its script as if the server had them."""

    async def html(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=HTML)

    async def javascript(route: Route) -> None:
        await route.fulfill(content_type="text/javascript", path=script)

    await page.route(f"{s.url}/page", html)
    await page.route(f"{s.url}/main.js", javascript)
