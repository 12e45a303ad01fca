"""A mixed load for some minutes: memory, tasks, sockets and file descriptors stay as they are.

`DRIPLINE_SOAK_MINUTES` says how long (`make soak` does 10); it is skipped where that is not set.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import count
from statistics import median
from typing import Any

import pytest

from dripline.testing import ReceivedRequest
from dripline_server.app import serve
from tests.soak.held import Held, held, nothing_left
from tests.soak.lives import (
    FUNCTIONS,
    MODELS,
    asked,
    check_followers,
    check_told,
    ending_of,
    live,
)
from tests.support.redis_server import redis_server
from tests.support.stack import Stack, stack

MINUTES = float(os.environ.get("DRIPLINE_SOAK_MINUTES", "0"))
SEED = int(os.environ.get("DRIPLINE_SOAK_SEED", "1"))
# Of each of the two worlds: one server, and two on one Redis.
AT_ONCE = 150
SAMPLES = 60
# What a quarter may have beyond an earlier one, where nothing leaks: luck, and the allocator.
GROWTH = 1.1
# What the fake remembers, and what each server keeps: more than come while one is compared, and so
# few that there are as many long before the end.
REMEMBERED = 1500
KEPT = 500


class World:
    """Servers that behave as one, and a load on them."""

    def __init__(self, s: Stack, urls: Sequence[str]) -> None:
        self.s = s
        self.urls = urls
        self.endings: Counter[str] = Counter()
        self._numbers = count()

    async def seat(self, draw: random.Random, until: float) -> None:
        """Live one life after the other."""
        while asyncio.get_running_loop().time() < until:
            nth = next(self._numbers)
            run_id, followers = await live(self.s, self.urls, nth, draw)
            check_followers(followers)
            status, code = await ending_of(self.s, draw.choice(self.urls), run_id)
            self.endings[status] += 1
            await check_told(self._request(str(nth)), status, code)

    def _request(self, name: str) -> ReceivedRequest | None:
        chats = (r for r in reversed(self.s.ollama.requests) if r.path == "/api/chat")
        return next((request for request in chats if asked(request) == name), None)


@pytest.mark.timeout(MINUTES * 60 + 300)
@pytest.mark.skipif(not MINUTES, reason="takes minutes; make soak")
@pytest.mark.skipif(sys.platform != "linux", reason="counts in Linux's /proc")
async def test_minutes() -> None:
    """Every reader sees one end, the records agree, and what is held is flat and then gone."""
    settings: dict[str, Any] = {
        "functions": FUNCTIONS,
        "max_requests": REMEMBERED,
        "stall_timeout": 8,  # more than 300 runs at once hold up the event loop for
        "loading_after": 0.01,
        "heartbeat": 0.05,
        "keep_runs": KEPT,
    }
    with redis_server() as redis, nothing_left():
        async with (
            stack(MODELS, **settings) as alone,
            stack(MODELS, run_log=redis.url, **settings) as one,
            serve(one.server.state.settings, FUNCTIONS) as other,
        ):
            worlds = [World(alone, [alone.url]), World(one, [one.url, other.url])]
            samples = await load(worlds)
            for server in (alone.server, one.server, other):
                await server.state.runs.drain(60, asyncio.Event())
                server.state.runs.forget_ended()
                assert server.state.metrics.text().decode().count("dripline_log_bytes 0.0") == 1
        await asyncio.sleep(0)  # What was closed last goes in the loop's next turn.
    report(samples, worlds)
    quarter = len(samples) // 4
    for name in Held._fields:
        earlier, last = (
            median(getattr(sample, name) for sample in part)
            for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        assert last <= earlier * GROWTH, name


async def load(worlds: Sequence[World]) -> list[Held]:
    """Have the worlds' seats taken for the time, and look now and then what is held."""
    loop, draw = asyncio.get_running_loop(), random.Random(SEED)
    begun = loop.time()
    samples = []
    async with asyncio.TaskGroup() as seats:
        for world in worlds:
            for _ in range(AT_ONCE):
                seat = world.seat(random.Random(draw.getrandbits(32)), begun + MINUTES * 60)
                seats.create_task(seat)
        for nth in range(1, SAMPLES + 1):
            await asyncio.sleep(begun + nth * MINUTES * 60 / SAMPLES - loop.time())
            gc.collect()
            samples.append(held())
    return samples


def report(samples: Sequence[Held], worlds: Sequence[World]) -> None:
    """Say what was seen; shown by pytest -s, and where the test fails."""
    for world in worlds:
        sys.stdout.write(f"\n{world.endings.total():,} runs: {dict(world.endings)}\n")
    for sample in samples[:: SAMPLES // 12]:
        sys.stdout.write(f"{sample}\n")
