"""The page as a wheel has it: bundled, and what is needed later is still found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.async_api import expect

from dripline.testing import Script
from dripline_server.routes import page
from static.bundle_page import bundle
from tests.browser.conftest import Opener
from tests.support.browser import chat_server
from tests.support.programs import ROOT, require_npm_packages

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_bundled_page_draws_code_and_formulas(
    opener: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker, a grammar and the formulas come from their files, and nothing is missed."""
    esbuild = require_npm_packages("static") / "esbuild-wasm/bin/esbuild"
    folder = tmp_path / "static"
    shutil.copytree(ROOT / "static", folder, ignore=shutil.ignore_patterns("esbuild-wasm", ".bin"))
    bundle(folder, str(esbuild))
    monkeypatch.setattr(page, "page_folder", lambda: folder)
    async with chat_server(Script("$a^2$\n\n```python\nreturn 1\n```")) as (_, server):
        chat = await opener(server.url)
        await chat.ask("Both, please")
        await chat.wait_answered()
        await expect(chat.text.locator("math")).to_have_count(1)
        await expect(chat.text.locator(".hljs-keyword")).to_have_text("return")
