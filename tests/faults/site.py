"""What a series happens to: three servers, each a process of its own, on one Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp

from dripline.testing import FakeOllama, Pace, Script
from tests.support.processes import command, line
from tests.support.redis_server import RedisServer, Replicated, redis_server, replicated
from tests.support.several import One

LEASE, HEARTBEAT = 2.0, 1.0
WORDS = [f"{n} " for n in range(150)]
MODEL = "story"
# A series takes about as long as this answer: a second and a half.
SCRIPT = Script(WORDS, pace=Pace(tokens_per_second=100))
COUNT = 3


class Site:
    """The servers, and what they stand on.

    Attributes:
        ollama: Who answers.
        redis: The Redis that they use now.
        replicated: Its replica and Sentinel, where it has one.
        servers: The servers; one that has ended is replaced by `restore`.
    """

    def __init__(
        self,
        stack: AsyncExitStack,
        ollama: FakeOllama,
        redis: RedisServer | Replicated,
        http: aiohttp.ClientSession,
    ) -> None:
        self.replicated = redis if isinstance(redis, Replicated) else None
        self._redis = redis
        self._stack = stack
        self.ollama = ollama
        self.http = http
        self.servers: list[One] = []

    @property
    def redis(self) -> RedisServer:
        return self._redis.master() if isinstance(self._redis, Replicated) else self._redis

    async def start(self) -> One:
        """Start one more server."""
        flags = {
            "port": 0,
            "ollama": self.ollama.url,
            "model": MODEL,
            "run-log": self._redis.url,
            "lease-time": LEASE,
            "heartbeat": HEARTBEAT,
            "drain-time": 1,
            "log-level": "error",
        }
        arguments = [f"--{name}={value}" for name, value in flags.items()]
        made = command("dripline-server", *arguments, stderr=asyncio.subprocess.DEVNULL)
        process = await self._stack.enter_async_context(made)
        return One(process, (await line(process)).removeprefix("dripline is at "))

    async def restore(self) -> None:
        """Have as many servers as there were, and all of them well."""
        for number, server in enumerate(self.servers):
            if server.process.returncode is not None:
                self.servers[number] = await self.start()
        async with asyncio.timeout(60):
            for server in self.servers:
                while not await self._is_well(server):
                    await asyncio.sleep(0.05)

    async def _is_well(self, server: One) -> bool:
        try:
            async with self.http.get(f"{server.url}/health") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def site(*, behind_sentinel: bool = False) -> AsyncIterator[Site]:
    """Run three servers on one Redis."""
    async with AsyncExitStack() as stack:
        redis: RedisServer | Replicated
        if behind_sentinel:
            redis = stack.enter_context(replicated())
        else:
            redis = stack.enter_context(redis_server())
        ollama = await stack.enter_async_context(FakeOllama({MODEL: SCRIPT}, max_requests=100_000))
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        found = Site(stack, ollama, redis, http)
        found.servers += await asyncio.gather(*[found.start() for _ in range(COUNT)])
        yield found
