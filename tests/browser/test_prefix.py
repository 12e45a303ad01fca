"""The page where a proxy serves it below a path of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from dripline.testing import Script
from tests.browser.conftest import Opener
from tests.support.browser import chat_server
from tests.support.free_port import free_port
from tests.support.nginx import run_nginx

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_below_a_path(opener: Opener, tmp_path: Path) -> None:
    """Nothing is configured for it; the chat is there after a reload."""
    port = free_port()
    async with chat_server(Script(["Blue", "."])) as (_, server):
        block = (
            f"server {{ listen 127.0.0.1:{port}; location /chat/ {{ proxy_pass {server.url}/;"
            " proxy_set_header Host $http_host; proxy_buffering off; } }"
        )
        async with run_nginx(block, tmp_path, port):
            chat = await opener(f"http://127.0.0.1:{port}/chat/")
            await chat.ask("Why?")
            await chat.wait_text("Blue.")
            await chat.page.reload()
            await chat.wait_text("Blue.")
