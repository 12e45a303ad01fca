"""The time by which everything here waits."""

from __future__ import annotations

import asyncio


def loop_time() -> float:
    """Return the event loop's time, in seconds."""
    return asyncio.get_running_loop().time()
