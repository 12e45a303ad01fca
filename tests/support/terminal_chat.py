"""`dripline chat` on a real terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tests.support.stack import Stack
from tests.support.tmux import Terminal, terminal


def chat(s: Stack, *arguments: str, **options: Any) -> AbstractAsyncContextManager[Terminal]:
    """A chat that waits for the first message."""
    return chat_at(s.url, *arguments, **options)


@asynccontextmanager
async def chat_at(url: str, *arguments: str, **options: Any) -> AsyncIterator[Terminal]:
    """The same, with the server at an address."""
    async with terminal("dripline", "--server", url, "chat", *arguments, **options) as t:
        await t.wait(lambda text: "/help" in text and "\n>" in text)
        yield t


def asked(s: Stack) -> list[str]:
    """The last message of each request."""
    bodies: list[Any] = [chat.body for chat in s.ollama.chats]
    return [body["messages"][-1]["content"] for body in bodies]
