"""Redis hangs while many wait: everybody is answered within the lease time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from dripline.testing import Script
from dripline_server.run_log import RunLogUnavailable
from dripline_server.run_log.redis.pipe import NewConnection, Pipe
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import several
from tests.support.stack import user

MODELS = {"told": Script(["Once", " upon"])}
LEASE = 10.0  # a busy machine is to have time for 1,500 answers too


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        yield client


@pytest.mark.timeout(120)
async def test_many_who_wait_for_a_redis_that_hangs(redis: RedisServer) -> None:
    """1,500 requests are each answered 503 within the lease time, and then all is well again."""
    async with several(MODELS, redis, 1, lease_time=LEASE, max_runs=5000) as s:
        (a,) = s.servers
        assert await s.wait_health(a, "connected") == 200
        loop = asyncio.get_running_loop()
        redis.freeze()

        async def ask() -> tuple[int, float]:
            asked = loop.time()
            body = {"messages": user("Hi"), "model": "told"}
            async with s.http.post(f"{a.url}/chat", json=body) as response:
                return response.status, loop.time() - asked

        answers = await asyncio.gather(*[ask() for _ in range(1500)])
        redis.thaw()
        assert {status for status, _ in answers} == {503}
        assert max(seconds for _, seconds in answers) < LEASE
        assert await s.wait_health(a, "connected") == 200
        told = await s.chat(a, model="told")
        await told.read()
        assert told.ending == ("completed", "")


async def test_what_left_is_not_sent(redis: RedisServer, client: Redis) -> None:
    """A request whose client has left while Redis hung asks nothing of it later."""
    async with several(MODELS, redis, 1, lease_time=10) as s:
        (a,) = s.servers
        assert await s.wait_health(a, "connected") == 200
        await client.client_pause(1000, all=True)
        first = asyncio.create_task(s.health(a))  # its round trip is under way
        await asyncio.sleep(0.2)
        for number in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await s.http.get(f"{a.url}/runs/left-{number}")
        assert (await first)[0] == 200
        said: dict[str, dict[str, int]] = await client.info("commandstats")
        # What /health itself asked, and nothing beside it.
        assert said["cmdstat_get"]["calls"] < 20


@pytest.fixture
async def pipe(redis: RedisServer) -> AsyncIterator[Pipe]:
    async with Redis.from_url(redis.url, protocol=2) as client:
        pipe = Pipe(client, timeout=0.5)
        await pipe.call(("PING",))
        yield pipe
        await pipe.close()


async def test_all_that_waits_fails_with_the_first_time_out(redis: RedisServer, pipe: Pipe) -> None:
    """And not one time-out after the other."""
    redis.freeze()
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = [pipe.send("PING") for _ in range(2000)]
    urgent = pipe.send("PING", urgent=True)
    replies = await asyncio.gather(urgent, *waiting)
    redis.thaw()
    assert {str(reply) for reply in replies} == {"no answer within 0.5 s"}
    assert loop.time() - began < 1


async def test_the_urgent_goes_first(client: Redis, pipe: Pipe) -> None:
    """Before all that waits, in its own order."""
    sent = [pipe.send("RPUSH", "list", n) for n in range(300)]
    urgent = [pipe.send("RPUSH", "list", f"urgent-{n}", urgent=True) for n in range(2)]
    await asyncio.gather(*sent, *urgent)
    found: Any = await client.lrange("list", 0, -1)
    order = [one.decode() for one in found]
    assert order == ["urgent-0", "urgent-1", *map(str, range(300))]


async def test_who_waits_too_long_is_told(client: Redis, pipe: Pipe) -> None:
    """A request's command that could not be sent in time is not sent any more."""
    await client.client_pause(400, all=True)
    first = pipe.send("INCR", "key")
    await asyncio.sleep(0)
    with pytest.raises(RunLogUnavailable, match="too slow"):
        await pipe.call(("INCR", "key"))
    assert await first == 1
    assert await client.get("key") == b"1"


async def test_over_another_connection_it_is_not_sent(client: Redis, pipe: Pipe) -> None:
    """What was meant for a connection that has broken: Redis may have lost what went before."""
    before = pipe.generation
    assert await pipe.send("INCR", "key", generation=before) == 1
    await client.client_kill_filter(_type="normal", skipme=True)
    assert isinstance(await pipe.send("INCR", "key", generation=before), NewConnection)
    assert pipe.generation == before + 1
    assert await pipe.send("INCR", "key", generation=pipe.generation) == 2
