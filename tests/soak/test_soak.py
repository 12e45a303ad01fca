"""Many runs at once with faults on both sides: everybody gets an end, and nothing is left over.

`DRIPLINE_SOAK_RUNS` says how many runs (200 where it is not set; `make soak` does 2,000), and
`DRIPLINE_SOAK_SEED` draws other faults.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from dripline_server.app import Server, serve
from tests.soak.held import nothing_left
from tests.soak.lives import (
    FUNCTIONS,
    MODELS,
    Follower,
    asked,
    check_followers,
    check_told,
    ending_of,
    live,
)
from tests.support.redis_server import redis_server
from tests.support.stack import Stack, stack

RUNS = int(os.environ.get("DRIPLINE_SOAK_RUNS", "200"))
SEED = int(os.environ.get("DRIPLINE_SOAK_SEED", "1"))
AT_ONCE = 50


@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts sockets in Linux's /proc")
async def test_soak() -> None:
    """Every reader sees one end, the records agree, and no task, socket, run or log is left."""
    with nothing_left():
        async with soaked("memory") as s:
            await live_through(s, [s.server])


@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts sockets in Linux's /proc")
async def test_soak_of_two_servers_on_one_redis() -> None:
    """The same, whichever server is asked; and what is left in Redis goes by itself."""
    with redis_server() as redis:
        with nothing_left():
            async with soaked(redis.url) as s, serve(s.server.state.settings, FUNCTIONS) as twin:
                await live_through(s, [s.server, twin])
        async with Redis.from_url(redis.url) as client:
            async for key in client.scan_iter():
                # That somebody wanted a run stopped, or was reading it until just now.
                assert not key.startswith(b"dripline:lease:")
                assert await client.pttl(key) > 0


@asynccontextmanager
async def soaked(run_log: str) -> AsyncIterator[Stack]:
    async with stack(
        MODELS,
        functions=FUNCTIONS,
        stall_timeout=5,
        loading_after=0.01,
        heartbeat=0.05,
        keep_runs=RUNS,
        run_log=run_log,
    ) as s:
        yield s
    await asyncio.sleep(0)  # What was closed last goes in the loop's next turn.


async def live_through(s: Stack, servers: Sequence[Server]) -> None:
    """Have all runs live, through any of the servers, and compare what everybody says of them."""
    draw = random.Random(SEED)
    seats = asyncio.Semaphore(AT_ONCE)
    urls = [server.url for server in servers]

    async def one(nth: int, seed: int) -> tuple[str, list[Follower]]:
        async with seats:
            return await live(s, urls, nth, random.Random(seed))

    lives = await asyncio.gather(*(one(nth, draw.getrandbits(32)) for nth in range(RUNS)))
    for server in servers:
        await server.state.runs.drain(60, asyncio.Event())
        assert server.state.runs.active == 0
    requests = {asked(request): request for request in s.ollama.chats}
    endings: Counter[str] = Counter()
    for nth, (run_id, followers) in enumerate(lives):
        status, code = await ending_of(s, draw.choice(urls), run_id)
        endings[status] += 1
        check_followers(followers)
        await check_told(requests.get(str(nth)), status, code)
    assert min(endings[status] for status in ("completed", "cancelled", "failed")) > RUNS / 50
    for server in servers:
        server.state.runs.forget_ended()
        figures = server.state.metrics.text().decode()
        for gauge in ("active_runs", "readers", "log_bytes"):
            assert f"\ndripline_{gauge} 0.0\n" in figures
