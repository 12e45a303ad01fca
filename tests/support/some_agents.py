"""Agents of servers in other processes, which get `--agents tests.support.some_agents`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from dripline_server.agents import Chat


async def numbers(chat: Chat) -> AsyncGenerator[str]:
    """Say as many numbers as the user asks for, as fast as they can be said."""
    for number in range(int(chat.last_text)):
        yield f"{number} "


async def ticks(chat: Chat) -> AsyncGenerator[str]:
    """Say a number now and then, for ever."""
    number = 0
    while True:
        yield f"{number} "
        number += 1
        await asyncio.sleep(0.01)


async def flood(chat: Chat) -> AsyncGenerator[str]:
    """Say words for ever, as fast as they can be said."""
    while True:
        for word in (" the", " sky", " is", " blue", ",", " because", " sunlight", ".", "\n\n"):
            yield word
