"""Agents on several servers that share a Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dripline import Start, TextMessage
from dripline.testing import Script
from tests.http.redis.test_redis import text
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import several


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


AGENTS = "tests.support.some_agents"


async def test_followed_and_stopped_elsewhere(redis: RedisServer) -> None:
    """Any server follows an agent's run and stops it; the agent runs once."""
    async with several(Script("Hi"), redis, agents=AGENTS) as s:
        a, b = s.servers
        first = await s.chat(a, model="ticks")
        await first.read(until=5)
        there = await s.attach(b, first.run_id, 2)
        await there.read(until=3)
        assert await s.stop(b, first.run_id) in (202, 204)
        whole = await first.read()
        assert await there.read() == whole[2:]
        assert first.ending == ("cancelled", "")
        start, *_ = first.events
        assert isinstance(start, Start)
        assert start.agent == "ticks"


async def test_a_killed_owner_of_an_agent(redis: RedisServer) -> None:
    """Readers elsewhere are told, and the agent is not begun again anywhere."""
    async with several(Script("Hi"), redis, agents=AGENTS, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a, model="ticks", run_id="r" * 22)
        await first.read(until=4)
        there = await s.attach(b, first.run_id)
        await there.read(until=4)
        a.process.kill()
        whole = await there.read()
        assert there.ending == ("failed", "owner_lost")
        again = await s.chat(b, model="ticks", run_id="r" * 22)
        assert await again.read() == whole


async def test_as_fast_as_it_can(redis: RedisServer) -> None:
    """What it yields while Redis is written to is collected; nothing is lost or out of order."""
    async with several(Script("Hi"), redis, agents=AGENTS) as s:
        a, b = s.servers
        first = await s.chat(a, model="numbers", messages=[{"role": "user", "content": "20000"}])
        there = await s.attach(b, first.run_id)
        whole = await there.read()
        assert await first.read() == whole
        assert text(whole) == "".join(f"{number} " for number in range(20_000))
        assert sum(isinstance(event, TextMessage) for event in there.events) == 20_000
        assert there.seqs == list(range(1, len(whole) + 1))
