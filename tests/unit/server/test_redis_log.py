"""What goes on between a run's log in memory and the one in Redis, at its rarest moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import orjson
import pytest
from redis.asyncio import Redis

from dripline_server.run_log import RunLogUnavailable
from dripline_server.run_log.memory import Budget, MemoryRunLog
from dripline_server.run_log.redis import RedisRunLogs, stream
from dripline_server.run_log.redis.link import Link
from dripline_server.run_log.redis.owned import RedisRunLog
from dripline_server.run_log.redis.pipe import Pipe
from tests.support.redis_server import RedisServer, redis_server

RUN = "a-run"
END = b'{"type":"end"}'
BOUND = 10_000


class Owner:
    """A run that nobody stops."""

    def stop(self) -> None: ...

    def log_lost(self, because: RunLogUnavailable) -> None: ...

    def readers_elsewhere(self, count: int) -> None: ...


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        yield client


@asynccontextmanager
async def owned(client: Redis) -> AsyncIterator[RedisRunLog]:
    """A run's log of a process that does nothing by itself."""
    link = Link("owner", Pipe(client, timeout=1), lease_time=60, keep_time=60)
    about = b"{}"
    create = stream.create(RUN, about, link.process, lifetime=99_999, lease=99_999)
    generation, _ = await link.pipe.look(create)
    memory = MemoryRunLog(BOUND, Budget(BOUND))
    try:
        yield RedisRunLog(RUN, memory, Owner(), link, BOUND, about=about, generation=generation)
    finally:
        await link.pipe.close()


async def wait_blocked(client: Redis, count: int) -> None:
    """Wait until so many clients wait for Redis to let them write."""
    while (await client.info("clients"))["blocked_clients"] != count:
        pass


async def test_a_connection_that_was_closed_while_it_was_idle(redis: RedisServer) -> None:
    """It is noticed before anything is sent, so nothing is in doubt."""
    async with (
        Redis.from_url(redis.url) as client,
        Redis.from_url(redis.url, protocol=2) as other,
    ):
        pipe = Pipe(other, timeout=60)
        assert await pipe.call(("PING",)) == [True]
        await client.client_kill_filter(_type="normal", skipme=True)
        assert await pipe.call(("SET", "key", "value"), ("GET", "key")) == [True, b"value"]
        await pipe.close()


async def test_replies_that_come_too_late_are_for_nobody(client: Redis) -> None:
    """Each later command has its own, and so has each beside one that Redis refuses."""
    pipe = Pipe(client, timeout=0.2)
    await client.client_pause(60_000, all=False)
    with pytest.raises(RunLogUnavailable, match=r"no answer within 0\.2 s"):
        await pipe.call(("SET", "key", "late"))
    await client.client_unpause()
    refused, *replies = await asyncio.gather(
        pipe.send("INCR", "key", "too many"), pipe.send("GET", "key"), pipe.send("ECHO", "e")
    )
    assert "wrong number of arguments" in str(refused)
    assert replies == [None, b"e"]
    await pipe.close()


def events(first: int, last: int) -> list[bytes]:
    return [orjson.dumps({"n": n}) for n in range(first, last + 1)]


async def test_an_entry_in_doubt_that_comes_in_while_the_end_is_made_up_for(
    client: Redis,
) -> None:
    """The end is added after it, and nothing comes twice."""
    async with owned(client) as log:
        other = Pipe(client, timeout=60)
        await log.append(events(1, 2))
        # Reads are answered, as `mend` begins with one.
        await client.client_pause(60_000, all=False)
        doubtful = events(3, 4)
        with pytest.raises(RunLogUnavailable):
            await log.append(doubtful)
        await log.finish([END])
        # Redis let go of that command with its connection; here it is, as from a slow network.
        late = other.send(*stream.add(RUN, 3, doubtful))
        await wait_blocked(client, 1)
        mending = asyncio.create_task(log.look_again())
        await wait_blocked(client, 2)
        await client.client_unpause()
        await asyncio.gather(late, mending)
        (raw,) = await other.call(stream.read(RUN, 1, 10))
        await other.close()
        entries = [stream.parse(entry) for entry in raw]
        assert [p for entry in entries for p in entry.payloads] == [*events(1, 4), END]
        assert [entry.last for entry in entries] == [False, False, True]
        assert not log.to_mend
        # The time of an ended run, and not of one that goes on.
        assert await client.pttl(stream.log_key(RUN)) > 100_000


async def test_a_run_that_was_forgotten_while_redis_was_away(redis: RedisServer) -> None:
    """It has no end there, so nobody is to find it and to wait for one."""
    logs = RedisRunLogs(redis.url, BOUND, Budget(BOUND), keep_time=60, lease_time=0.5)
    log = await logs.create(RUN, "m", Owner())
    await log.append(events(1, 2))
    redis.kill()
    await log.finish([END])
    logs.forget(RUN)
    with pytest.raises(RunLogUnavailable):
        await logs.check()
    redis.start()
    async with asyncio.timeout(20):
        while True:
            if await logs.find(RUN) is None:
                break
            await asyncio.sleep(0.02)
    await logs.close()


async def test_what_is_known_by_a_name_goes_with_its_run(redis: RedisServer, client: Redis) -> None:
    """A run has one, however many names it had; the newest run that took a name has it."""
    logs = RedisRunLogs(redis.url, BOUND, Budget(BOUND), keep_time=60, lease_time=10)
    for run_id in ("one", "two"):
        await logs.create(run_id, "m", Owner())
        for n in range(3):
            await logs.remember(f"{run_id}-{n}", run_id, b"x" * 1000)
        await logs.remember("chat", run_id, run_id.encode())
    assert await logs.recall("chat") == b"two"
    logs.forget("one")
    assert await logs.recall("one-0") == b""
    assert await logs.recall("chat") == b"two"
    assert await client.keys("dripline:about:*") == [b"dripline:about:two"]
    assert 0 < await client.pttl("dripline:about:two") < 200_000
    assert await client.get("dripline:name:chat") == b"two"
    assert 0 < await client.pttl("dripline:name:chat") <= stream.NAME_TIME
    await logs.remember("chat", "", b"")
    assert await logs.recall("chat") == b""
    await logs.close()


async def test_a_reader_elsewhere_that_is_further_than_its_owner(client: Redis) -> None:
    """It read what Redis has taken before the owner heard so: nobody waits for it."""
    async with owned(client) as log:
        writer = asyncio.create_task(log.append([b"x" * BOUND * 2, *events(2, 3)]))
        await asyncio.sleep(0)  # It is on its way.
        assert (await log.state()).last == 0
        log.hear("read", "other", "4")
        async with asyncio.timeout(20):
            await writer
        assert (await log.state()).first > 1


async def test_an_end_that_was_told_here_alone(client: Redis) -> None:
    """It comes to Redis later."""
    async with owned(client) as log:
        await log.append(events(1, 2))
        log.finish_here([END])
        async with log.follow(0) as batches:
            assert [p async for batch in batches for p in batch.payloads] == [*events(1, 2), END]
        assert log.to_mend
        await log.look_again()
        other = Pipe(client, timeout=60)
        ((newest,),) = await other.call(stream.newest(RUN))
        await other.close()
        assert stream.parse(newest) == (3, [END], True)
