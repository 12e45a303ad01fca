"""The tools of a soak's servers; with one of them, a server is asked what its process holds."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import TypedDict

__all__ = ["count", "look_up", "wait"]


class Counted(TypedDict):
    """What only the process itself can count."""

    tasks: int
    blocks: int


def look_up(word: str) -> str:
    """Look a word up, in a thread."""
    time.sleep(0.001)
    return word.upper()


async def wait(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


async def count() -> Counted:
    """Count the tasks, and the blocks of memory that Python's objects are in.

    The blocks are those in use: how they lie in memory, which is what fragments, does not count.
    """
    gc.collect()
    return {"tasks": len(asyncio.all_tasks()), "blocks": sys.getallocatedblocks()}
