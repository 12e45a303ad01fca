"""Many runs at once with faults on both sides: everybody gets an end, and nothing is kept.

The servers are processes of their own with the usual time-outs, one on the memory log and two on a
Redis. `DRIPLINE_SOAK_RUNS` says how many runs warm up, and how many are counted out then (200 where
it is not set; `make soak` does 2,000); `DRIPLINE_SOAK_MINUTES`, for how long as many as can be come
on each of the logs (`make soak` does 10; skipped where it is not set); and `DRIPLINE_SOAK_SEED`
draws other faults.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import NamedTuple

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from dripline import EventDecoder, ToolResult
from dripline.events import from_json
from dripline.testing import FakeOllama, ReceivedRequest
from tests.soak.held import descriptors, memory, nothing_left
from tests.soak.lives import (
    COUNTING,
    MODELS,
    asked,
    check_followers,
    check_told,
    ending_of,
    live,
)
from tests.soak.tools import Counted
from tests.support.redis_server import redis_server
from tests.support.several import One, servers_of

RUNS = int(os.environ.get("DRIPLINE_SOAK_RUNS", "200"))
MINUTES = float(os.environ.get("DRIPLINE_SOAK_MINUTES", "0"))
SEED = int(os.environ.get("DRIPLINE_SOAK_SEED", "1"))
AT_ONCE = 50
# The one time that is not the usual one, which is 300 seconds: nothing can be counted before the
# ended runs have gone. It is more than it takes to come back to a run and read its log.
KEEP_TIME = 3
# The minutes are in so many parts, with a sample after each; the first one warms up.
PARTS = 4
# What the fake remembers: more than begin while one is compared.
REMEMBERED = 1500

# What a server may have beyond what it had after as long a load, once all runs have gone. Some is
# had once: pools, caches, and pages that the allocator cannot give back, because something small
# lies in each. The rest is for each run, of which nothing is to be kept.
#
# Blocks in use do not depend on how they lie. Over 3,000 runs 600 at most have been seen to come; a
# kept run has about a hundred.
BLOCKS, BLOCKS_A_RUN = 1500, 0.5
# Pages do: fragmentation has an end, since holes are filled again. It comes in steps, when more
# runs than ever are at the same point: 5 MiB at once have been seen. A kept run has some 20 KiB.
MEMORY, MEMORY_A_RUN = 8 * 2**20, 1024
# Redis keeps its buffers for clients, and a table for keys that is as large as it once had to be.
REDIS_MEMORY, REDIS_MEMORY_A_RUN = 2 * 2**20, 100


class Held(NamedTuple):
    """What a server holds once its runs have gone; memory in bytes."""

    memory: int
    blocks: int
    tasks: int
    descriptors: int


class Kept(NamedTuple):
    """What Redis has once the runs have gone; memory in bytes. `lasting` keys never go."""

    memory: int
    keys: list[bytes]
    lasting: list[bytes]


class Sample(NamedTuple):
    """What is held after so many runs."""

    runs: int
    servers: list[Held]
    redis: Kept | None


class World:
    """Servers that behave as one, and a load on them."""

    def __init__(self, servers: list[One], ollama: FakeOllama, redis: Redis | None) -> None:
        self.servers = servers
        self.urls = [server.url for server in servers]
        self.ollama = ollama
        self.redis = redis
        self.endings: Counter[str] = Counter()
        self.draw = random.Random(SEED)

    async def load(self, more: Callable[[int], bool]) -> None:
        """Have lives lived at every seat, one after the other, while there are to be more."""
        numbers = count(self.endings.total())
        begun = 0

        async def seat(draw: random.Random) -> None:
            nonlocal begun
            while more(begun):
                begun += 1
                await self._live(http, next(numbers), draw)

        connector = aiohttp.TCPConnector(limit=0)
        # Its connections are closed before anything is counted.
        async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as seats:
            for _ in range(AT_ONCE):
                seats.create_task(seat(random.Random(self.draw.getrandbits(32))))

    async def _live(self, http: aiohttp.ClientSession, nth: int, draw: random.Random) -> None:
        run_id, model, followers = await live(http, self.urls, nth, draw)
        check_followers(followers)
        status, code = await ending_of(http, draw.choice(self.urls), run_id)
        self.endings[status] += 1
        await check_told(self._request(str(nth)), status, code, model)

    def _request(self, name: str) -> ReceivedRequest | None:
        chats = (r for r in reversed(self.ollama.requests) if r.path == "/api/chat")
        return next((request for request in chats if asked(request) == name), None)

    async def sample(self) -> Sample:
        """Count what is held, once the runs have gone."""
        async with aiohttp.ClientSession() as http:
            for server in self.servers:
                await self._gone(http, server)
            redis = await self._kept(self.redis) if self.redis else None
            servers = [await self._held(http, server) for server in self.servers]
        return Sample(self.endings.total(), servers, redis)

    async def _gone(self, http: aiohttp.ClientSession, server: One) -> None:
        """Wait until a server has no run, no reader and no log."""
        gauges = [f"\ndripline_{name} 0.0\n" for name in ("active_runs", "readers", "log_bytes")]
        async with asyncio.timeout(60):
            while True:
                async with http.get(f"{server.url}/metrics") as response:
                    figures = await response.text()
                if all(gauge in figures for gauge in gauges):
                    return
                await asyncio.sleep(0.05)

    async def _held(self, http: aiohttp.ClientSession, server: One) -> Held:
        body = {"model": COUNTING, "messages": [{"role": "user", "content": "?"}]}
        async with http.post(f"{server.url}/chat", json=body) as response:
            messages = EventDecoder().feed(await response.read())
        events = [from_json(message.data) for message in messages]
        result = next(event for event in events if isinstance(event, ToolResult))
        counted: Counted = orjson.loads(result.content)
        pid = server.process.pid
        return Held(memory(pid), counted["blocks"], counted["tasks"], descriptors(pid))

    async def _kept(self, redis: Redis) -> Kept:
        info = await redis.info("memory")
        keys = [key async for key in redis.scan_iter()]
        lasting = [key for key in keys if await redis.pttl(key) == -1]
        return Kept(info["used_memory"], keys, lasting)


@contextmanager
def run_log(name: str) -> Iterator[str]:
    if name == "memory":
        yield name
    else:
        with redis_server() as server:
            yield server.url


@asynccontextmanager
async def world(log: str) -> AsyncIterator[World]:
    """Run servers on a log, and see that they end well and leave nothing behind."""
    options = {"run_log": log, "keep_time": KEEP_TIME, "tools": "tests.soak.tools"}
    options |= {"agents": "tests.soak.agents"}
    number = 1 if log == "memory" else 2
    async with (
        FakeOllama(MODELS, max_requests=REMEMBERED) as ollama,
        servers_of(ollama, number, log_level="error", **options) as servers,
    ):
        redis = None if log == "memory" else Redis.from_url(log)
        try:
            yield World(servers, ollama, redis)
            for server in servers:
                server.process.terminate()
                assert await server.process.wait() == 0
        finally:
            if redis:
                await redis.aclose()


LOGS = pytest.mark.parametrize("name", ["memory", "redis"])
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="counts in Linux's /proc")


@LINUX
@LOGS
@pytest.mark.timeout(900)
async def test_runs(name: str) -> None:
    """Every reader sees one end, the records agree, and nothing is kept of a run."""
    with run_log(name) as log, nothing_left():
        async with world(log) as w:
            samples = []
            for _ in range(2):
                await w.load(lambda begun: begun < RUNS)
                samples.append(await w.sample())
        await asyncio.sleep(0)  # What was closed last goes in the loop's next turn.
    report(samples, w)
    check(samples)
    assert min(w.endings[status] for status in ("completed", "cancelled", "failed")) > RUNS / 50


@LINUX
@LOGS
@pytest.mark.timeout(MINUTES * 60 + 300)
@pytest.mark.skipif(not MINUTES, reason="takes minutes; make soak")
async def test_minutes(name: str) -> None:
    """The same for a long time, whose first part warms up."""
    loop = asyncio.get_running_loop()
    with run_log(name) as log, nothing_left():
        async with world(log) as w:
            samples = []
            for _ in range(PARTS):
                until = loop.time() + MINUTES * 60 / PARTS
                await w.load(lambda _, until=until: loop.time() < until)  # type: ignore[misc]
                samples.append(await w.sample())
        await asyncio.sleep(0)
    report(samples, w)
    check(samples)


def check(samples: list[Sample]) -> None:
    """See that nothing was kept of the runs between the first sample and the last."""
    first, last = samples[0], samples[-1]
    runs = last.runs - first.runs
    for before, after in zip(first.servers, last.servers, strict=True):
        assert after.tasks == before.tasks
        assert after.descriptors == before.descriptors
        assert after.blocks - before.blocks <= BLOCKS + BLOCKS_A_RUN * runs
        assert after.memory - before.memory <= MEMORY + MEMORY_A_RUN * runs
    if first.redis and last.redis:
        grown = last.redis.memory - first.redis.memory
        assert grown <= REDIS_MEMORY + REDIS_MEMORY_A_RUN * runs
        # The servers' leases; and what has its own time to go: that somebody wanted a run stopped,
        # and the names of the AI SDK's chats, a day.
        kinds = {key.split(b":")[1] for key in last.redis.keys}
        assert kinds <= {b"lease", b"stop", b"name"}
        assert not last.redis.lasting


def report(samples: list[Sample], w: World) -> None:
    """Say what was seen; shown by pytest -s, and where the test fails."""
    sys.stdout.write(f"\n{w.endings.total():,} runs: {dict(w.endings)}\n")
    for sample in samples:
        sys.stdout.write(f"after {sample.runs:,}: {sample.servers}")
        if sample.redis:
            keys = Counter(key.split(b":")[1].decode() for key in sample.redis.keys)
            sys.stdout.write(f", Redis {sample.redis.memory:,} bytes, {dict(keys)}")
        sys.stdout.write("\n")
