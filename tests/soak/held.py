"""What this process holds: memory, tasks, file descriptors, sockets. Linux only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple


class Held(NamedTuple):
    """What is held at one moment; memory in MiB."""

    memory: float
    tasks: int
    descriptors: int
    sockets: int


def held() -> Held:
    """Return what this process holds now."""
    links = list(_links())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Held(
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(asyncio.all_tasks()),
        len(links),
        sum("socket:" in link for link in links),
    )


def _links() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that by which the folder is read
            yield str(entry.readlink())


@contextmanager
def nothing_left() -> Iterator[None]:
    """Compare what is held before and after, all but the memory."""
    before = held()
    yield
    assert held()[1:] == before[1:]
