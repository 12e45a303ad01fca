"""What a process holds: memory, file descriptors, and what it says of itself. Linux only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def memory(pid: int) -> int:
    """Return the bytes of memory that a process has of its own in RAM."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def descriptors(pid: int) -> int:
    """Return how many file descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def nothing_left() -> Iterator[None]:
    """Compare the tasks and file descriptors of this process before and after."""
    before = _own()
    yield
    assert _own() == before


def _own() -> tuple[int, int]:
    return len(asyncio.all_tasks()), descriptors(os.getpid())
