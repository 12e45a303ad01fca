"""Redis goes away, hangs, comes back: named errors, and servers that stay up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from redis.asyncio import Redis

from dripline.testing import Ending, Fault, Pace, Script
from tests.support.processes import run_python
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import One, Reader, Several, several

STORY = ["Once", " upon", " a", " time"]
TOLD = Script(STORY)
# Says two tokens, and nothing more until it is stopped.
HALF_TOLD = Script(STORY, fault=Fault.stall(at_token=2))
# 12 seconds long, which no test waits for.
LONG = Script([f"{n} " for n in range(600)], pace=Pace(tokens_per_second=50))
MODELS = {"told": TOLD, "half": HALF_TOLD, "long": LONG}
LOST = ("failed", "run_log_lost")
# What a process says of another one's run while Redis is away.
UNKNOWN = ("failed", "outcome_unknown")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    """A Redis that has what it was given when it is started again."""
    with redis_server("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


AWAY: dict[str, Callable[[RedisServer], None]] = {
    "killed": RedisServer.kill,
    "frozen": RedisServer.freeze,
}
BACK: dict[str, Callable[[RedisServer], None]] = {
    "killed": RedisServer.start,
    "frozen": RedisServer.thaw,
}


@pytest.mark.parametrize("how", AWAY)
async def test_redis_goes_away_and_comes_back(redis: RedisServer, how: str) -> None:
    """Runs and readers end with a named error; new chats are refused, and then work again."""
    async with several(MODELS, redis, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="long")
        there = await s.attach(b, first.run_id)
        await asyncio.gather(first.read(until=5), there.read(until=5))
        AWAY[how](redis)
        for reader, ending in ((first, LOST), (there, UNKNOWN)):
            await reader.read()
            assert reader.ending == ending
            assert reader.whole
            assert reader.seqs == list(range(1, len(reader.seqs) + 1))
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        # Its own runs a server knows even so.
        assert await (await s.attach(a, first.run_id)).read() == first.messages
        for server in s.servers:
            assert await s.health(server) == (503, "disconnected")
            for refused in (
                await s.chat(server, model="told"),
                await s.attach(server, "somebody-elses"),
            ):
                assert refused.response.status == 503
                assert refused.response.headers["Retry-After"]
                assert (await refused.response.json())["error"]["code"] == "run_log_lost"
        BACK[how](redis)
        for server in s.servers:
            assert await s.wait_health(server, "connected") == 200
            assert server.process.returncode is None
        again = await s.chat(a, model="told")
        await again.read()
        assert again.ending == ("completed", "")
        assert await (await s.attach(b, again.run_id)).read() == again.messages


async def test_a_run_that_writes_nothing_meanwhile_lives_on(durable: RedisServer) -> None:
    """A Redis that has just restarted knows no lease; that makes nobody dead."""
    async with several(MODELS, durable, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="half")
        await first.read(until=3)
        durable.kill()
        # Every lease runs out.
        await asyncio.sleep(1.1)
        durable.start()
        there = await s.attach(b, first.run_id)
        await there.read(until=3)
        assert await s.stop(b, first.run_id) == 202
        await first.read()
        assert first.ending == ("cancelled", "")
        assert await there.read() == first.messages


async def test_readers_elsewhere_of_a_silent_run_are_told(redis: RedisServer) -> None:
    """They need not wait for the run's next word."""
    async with several(MODELS, redis, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="half")
        there = await s.attach(b, first.run_id)
        await there.read(until=3)
        redis.kill()
        await there.read()
        assert there.ending == UNKNOWN
        assert await s.stop(a, first.run_id) == 202
        await first.read()
        assert first.ending == ("cancelled", "")


@pytest.mark.parametrize("model", ["half", "long"])
async def test_redis_comes_back_empty(redis: RedisServer, model: str) -> None:
    """What Redis has lost, the run's process writes again; nobody sees a hole."""
    async with several(MODELS, redis, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model=model)
        there = await s.attach(b, first.run_id)
        await asyncio.gather(first.read(until=3), there.read(until=3))
        async with Redis.from_url(redis.url) as client:
            await client.flushall()
        if model == "long":
            await asyncio.gather(first.read(until=40), there.read(until=40))
        while (status := await s.stop(b, first.run_id)) in (404, 503):  # until it is written
            pass
        assert status == 202
        whole = await first.read()
        assert first.ending == ("cancelled", "")
        assert await there.read() == whole
        assert first.seqs == list(range(1, len(whole) + 1))
        assert await (await s.attach(b, first.run_id)).read() == whole


@pytest.mark.parametrize("how", AWAY)
async def test_an_ending_that_redis_missed_is_made_up_for(durable: RedisServer, how: str) -> None:
    """Who comes later through another server sees what the owner's readers saw."""
    async with several(MODELS, durable, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="half")
        await first.read(until=3)
        AWAY[how](durable)
        assert await s.stop(a, first.run_id) == 202
        whole = await first.read()
        assert first.ending == ("cancelled", "")
        BACK[how](durable)
        assert await (await s.attach(b, first.run_id)).read() == whole


@pytest.mark.parametrize("how", AWAY)
async def test_an_entry_in_doubt(durable: RedisServer, how: str) -> None:
    """Whether Redis took the last entry or not: in the end both logs say the same."""
    async with several(MODELS, durable, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="long")
        await first.read(until=5)
        AWAY[how](durable)
        whole = await first.read()
        assert first.ending == LOST
        BACK[how](durable)
        assert await (await s.attach(b, first.run_id)).read() == whole


async def test_a_reader_that_was_cut_off_while_redis_was_away(durable: RedisServer) -> None:
    """It knows more than Redis does, until the owner has made up for that: it is waited for."""
    async with several(MODELS, durable, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="half")
        await first.read(until=3)
        durable.kill()
        assert await s.stop(a, first.run_id) == 202
        whole = await first.read()
        durable.start()
        assert (await s.attach(b, first.run_id, len(whole))).response.status == 204
        assert (await s.attach(b, first.run_id, len(whole) + 1)).response.status == 400


async def test_few_connections_and_no_storm(redis: RedisServer) -> None:
    """Two connections for each server, however much goes on; few attempts while Redis hangs."""
    async with several(MODELS, redis, lease_time=2) as s, Redis.from_url(redis.url) as client:
        readers = await asyncio.gather(*[s.chat(s.servers[n % 2], model="long") for n in range(40)])
        readers += await asyncio.gather(
            *[s.attach(s.servers[n % 2], reader.run_id) for n, reader in enumerate(readers, 1)]
        )
        await asyncio.gather(*[reader.read(until=20) for reader in readers])
        assert len(await client.client_list()) == 2 * len(s.servers) + 1
        before = (await client.info("stats"))["total_connections_received"]
        redis.freeze()
        await asyncio.gather(*[reader.read() for reader in readers])
        assert [reader.ending for reader in readers] == [LOST] * 40 + [UNKNOWN] * 40
        redis.thaw()
        for server in s.servers:
            await s.wait_health(server, "connected")
        after = (await client.info("stats"))["total_connections_received"]
        assert after - before < 40


async def _keys(redis: RedisServer) -> dict[str, int]:
    """Each key, with its milliseconds to live; -1 is for ever."""
    async with Redis.from_url(redis.url) as client:
        names = [str(key, "ascii") for key in await client.keys("*") if isinstance(key, bytes)]
        return {name: await client.pttl(name) for name in names}


async def test_every_key_expires(redis: RedisServer) -> None:
    """An ended run's soon; and if a process is killed, its run's and its lease too."""
    lease_time, keep_time = 2, 0.1
    async with several(MODELS, redis, lease_time=lease_time, keep_time=keep_time) as s:
        a, b = s.servers
        ended = await s.chat(a, model="told")
        await ended.read()
        while True:
            keys = await _keys(redis)
            assert all(left > 0 for left in keys.values())
            if all(name.startswith("dripline:lease:") for name in keys):
                break
            await asyncio.sleep(0.05)
        assert (await s.attach(b, ended.run_id)).response.status == 404
        left = await s.chat(a, model="half")
        await left.read(until=3)
        there = await s.attach(b, left.run_id)
        await there.read(until=3)
        assert await s.stop(b, "no-such-run") == 404
        for server in s.servers:
            server.process.kill()
            await server.process.wait()
        before = await _keys(redis)
        assert {name.split(":")[1] for name in before} == {"lease", "run", "log"}
        assert all(0 < left <= 1000 * (keep_time + 5 * lease_time) for left in before.values())
        while True:
            after = await _keys(redis)
            if all(after.get(name, 0) < before[name] for name in before):
                break


async def test_a_long_run_keeps_its_keys(redis: RedisServer) -> None:
    """Their time to live is renewed for as long as the run goes on."""
    async with several(MODELS, redis, 1, lease_time=2, keep_time=0) as s:
        first = await s.chat(s.servers[0], model="half")
        await first.read(until=3)
        keys = f"dripline:log:{first.run_id}", f"dripline:run:{first.run_id}"
        last = await _keys(redis)
        renewed = 0
        while renewed < 2:
            await asyncio.sleep(0.05)
            now = await _keys(redis)
            assert all(0 < now[key] <= 10_000 for key in keys)
            renewed += all(now[key] > last[key] for key in keys)
            last = now


async def test_ended_runs_are_bounded_in_redis_too(redis: RedisServer) -> None:
    """What its owner lets go of early is gone for all."""
    async with several(MODELS, redis, keep_runs=1) as s:
        a, b = s.servers
        runs = [await _told(s, a) for _ in range(3)]
        *old, last = runs
        assert {name for name in await _keys(redis) if ":log:" in name} == {
            f"dripline:log:{last.run_id}"
        }
        for reader in old:
            assert (await s.attach(b, reader.run_id)).response.status == 404
        assert await (await s.attach(b, last.run_id)).read() == last.messages


async def _told(s: Several, server: One) -> Reader:
    reader = await s.chat(server, model="told")
    await reader.read()
    assert reader.ending == ("completed", "")
    return reader


async def test_an_owner_that_shuts_down(redis: RedisServer) -> None:
    """Readers elsewhere see how it ended the run, and so do those who come later."""
    async with several(MODELS, redis, drain_time=0) as s:
        a, b = s.servers
        first = await s.chat(a, model="half")
        there = await s.attach(b, first.run_id)
        await there.read(until=3)
        a.process.terminate()
        assert await a.process.wait() == 0
        whole = await there.read()
        assert there.ending == ("failed", "server_shutdown")
        assert await first.read() == whole
        assert await (await s.attach(b, first.run_id)).read() == whole
        assert len([name for name in await _keys(redis) if ":lease:" in name]) == 1


async def test_a_server_may_start_before_redis(redis: RedisServer) -> None:
    """It says so, and works once Redis is there."""
    redis.kill()
    async with several(MODELS, redis, 1) as s:
        (a,) = s.servers
        assert await s.health(a) == (503, "disconnected")
        redis.start()
        assert await s.wait_health(a, "connected") == 200
        await _told(s, a)


async def test_without_the_redis_package() -> None:
    """The message says what to install."""
    code, _, err = await run_python(
        "import sys; sys.modules['redis'] = None\n"
        "from dripline_server.cli import main\n"
        "main(['--port', '0', '--ollama', 'http://127.0.0.1:1', '--run-log', 'redis://x'])"
    )
    assert code == 2
    assert "--run-log" in err
    assert "pip install 'dripline[redis]'" in err
    assert "Traceback" not in err
