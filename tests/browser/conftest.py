"""One browser for the session; a profile, and so a page, of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import ChatPage, chromium, open_page

Opener = Callable[..., Awaitable[ChatPage]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def opener(browser: Browser) -> AsyncIterator[Opener]:
    """Opens pages; each must have been without complaint by the end of the test."""
    opened: list[ChatPage] = []
    async with AsyncExitStack() as pages:

        async def open_one(url: str, **context: Any) -> ChatPage:
            opened.append(await pages.enter_async_context(open_page(browser, url, **context)))
            return opened[-1]

        yield open_one
        assert [page.faults for page in opened] == [[] for _ in opened]
