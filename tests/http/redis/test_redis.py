"""Several processes on one Redis behave as one."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace

import aiohttp
import pytest
from redis.asyncio import Redis

from dripline import ServerSentEvent, TextMessage
from dripline.events import from_json
from dripline.testing import Ending, Fault, Pace, Script
from dripline_server.app import serve
from tests.support.cutting_proxy import CuttingProxy
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import One, Reader, Several, several
from tests.support.stack import stack, user

STORY = ["Once", " upon", " a", " time"]
# Says two tokens, and nothing more until it is stopped.
HALF_TOLD = Script(STORY, fault=Fault.stall(at_token=2))
# 12 seconds long, which no test waits for.
LONG = Script([f"{n} " for n in range(600)], pace=Pace(tokens_per_second=50))


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def text(messages: list[ServerSentEvent]) -> str:
    found = (from_json(message.data) for message in messages)
    return "".join(event.content for event in found if isinstance(event, TextMessage))


async def test_started_here_followed_there_stopped_elsewhere(redis: RedisServer) -> None:
    """Ollama's socket is closed, and every reader has the same events and one end."""
    async with several(LONG, redis, 3) as s:
        a, b, c = s.servers
        first = await s.chat(a)
        await first.read(until=4)
        there = await s.attach(b, first.run_id)
        assert there.run_id == first.run_id
        await there.read(until=6)
        resumed = await s.attach(b, first.run_id, 3)
        await resumed.read(until=6)
        request = await s.ollama.wait_for_request()
        assert request.ended is None
        assert await s.stop(c, first.run_id) == 202
        await request.wait_closed()
        assert request.ended is Ending.CLIENT_LEFT
        whole = await first.read()
        assert first.ending == ("cancelled", "")
        assert first.seqs == list(range(1, len(whole) + 1))
        assert await there.read() == whole
        assert await resumed.read() == whole[3:]
        for server in s.servers:
            assert await s.stop(server, first.run_id) == 204
            assert await (await s.attach(server, first.run_id)).read() == whole
            assert (await s.attach(server, first.run_id, len(whole))).response.status == 204


async def test_a_stop_is_heard_after_the_owner_was_cut_off(redis: RedisServer) -> None:
    """What was said while its mailbox was closed is found when it opens again."""
    async with several(HALF_TOLD, redis) as s:
        a, b = s.servers
        reader = await s.chat(a)
        await reader.read(until=3)
        async with Redis.from_url(redis.url) as client:
            await client.client_kill_filter(_type="pubsub")
            assert await s.stop(b, reader.run_id) == 202
        await reader.read()
        assert reader.ending == ("cancelled", "")


async def test_what_is_to_be_said_of_a_run_is_the_same_everywhere(redis: RedisServer) -> None:
    """Its state while it goes on and once it has ended, and what it does not have."""
    async with several({"m": HALF_TOLD}, redis) as s:
        reader = await s.chat(s.servers[0], model="m")
        await reader.read(until=3)
        for expected in (("running", "3"), ("ended", "4")):
            states = []
            for server in s.servers:
                async with s.http.get(f"{server.url}/runs/{reader.run_id}") as response:
                    states.append(await response.json())
            assert states[0] == states[1]
            assert (states[0]["status"], states[0]["last_event_id"]) == expected
            assert states[0]["model"] == "m"
            await s.stop(s.servers[1], reader.run_id)
            await reader.read()
        for server in s.servers:
            unknown = await s.attach(server, reader.run_id, 5)
            assert unknown.response.status == 400
            assert "its last event is 4" in await unknown.response.text()
            for run_id in ("nobody", "a b", "x" * 3000):
                assert (await s.attach(server, run_id)).response.status == 404


@pytest.mark.parametrize("seed", range(3))
async def test_cut_and_resumed_anywhere(redis: RedisServer, seed: int) -> None:
    """Cut and resumed on any of the servers, again and again: nothing is missing or doubled."""
    draw = random.Random(seed)
    words = [f"{n}é\u2028\u0085\r\n " for n in range(400)]
    async with several(Script(words, pace=Pace(tokens_per_second=200)), redis, 3) as s:
        reader = await s.chat(s.servers[0])
        run_id, got = reader.run_id, list[ServerSentEvent]()
        cuts = 0
        while not reader.whole:
            await reader.read(until=len(got) + draw.choice([1, 1, 2, 5, 20, 60]))
            got += reader.messages
            if not reader.whole:
                cuts += 1
                reader.leave()
                reader = await s.attach(draw.choice(s.servers), run_id, len(got))
                assert reader.response.status in (200, 204)
        assert cuts  # how many depends on the machine
        assert [int(message.id) for message in got] == list(range(1, 403))
        assert text(got) == "".join(words)
        for server in s.servers:
            assert await (await s.attach(server, run_id)).read() == got


async def test_the_owner_may_be_the_last_to_know(redis: RedisServer) -> None:
    """A reader that got elsewhere what Redis has yet to tell the owner is not refused there."""
    async with (
        CuttingProxy(redis.url) as way,
        stack(HALF_TOLD, run_log=way.url.replace("http", "redis"), lease_time=60) as owner,
        serve(replace(owner.server.state.settings, run_log=redis.url)) as other,
    ):
        chat = {"messages": user("Hi"), "on_disconnect": "continue"}
        async with owner.http.post(f"{owner.url}/chat", json=chat) as response:
            run = f"/runs/{response.headers['X-Run-Id']}"
        async with owner.http.get(f"{other.url}{run}/events") as response:
            there = Reader(response)
            await there.read(until=3)
            way.hold_at = b"cancelled"
            async with owner.http.delete(owner.url + run):
                await there.read()
        assert there.seqs == [1, 2, 3, 4]
        coming = asyncio.create_task(owner.http.get(f"{owner.url}{run}/events?after=4"))
        async with owner.http.get(owner.url + run) as response:
            assert (await response.json())["last_event_id"] == "3"
        way.flowing.set()
        async with await coming as response:
            assert response.status == 204


async def test_many_at_once(redis: RedisServer) -> None:
    """Thirty runs on three servers, each read through all of them."""
    script = Script([f"{n} " for n in range(60)], pace=Pace(tokens_per_second=100))
    async with several(script, redis, 3) as s:

        async def one(number: int) -> None:
            first = await s.chat(s.servers[number % 3])
            readers = [first, *[await s.attach(server, first.run_id) for server in s.servers]]
            whole, *others = await asyncio.gather(*[reader.read() for reader in readers])
            assert first.ending == ("completed", "")
            assert first.seqs == list(range(1, 63))
            assert all(other == whole for other in others)

        await asyncio.gather(*[one(number) for number in range(30)])


async def test_the_grace_time_counts_the_readers_of_all(redis: RedisServer) -> None:
    """A run goes on while one reads it anywhere, and stops after the last has left."""
    async with several(LONG, redis, grace=0.3) as s:
        a, b = s.servers
        first = await s.chat(a)
        await first.read(until=3)
        there = await s.attach(b, first.run_id)
        await there.read(until=3)
        first.leave()
        # A second: more than three times the grace.
        await there.read(until=int(there.messages[-1].id) + 50)
        request = await s.ollama.wait_for_request()
        assert request.ended is None
        there.leave()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        again = await s.attach(b, first.run_id)
        await again.read()
        assert again.ending == ("cancelled", "")


async def test_readers_that_died_with_their_process_count_no_more(redis: RedisServer) -> None:
    """The grace time begins once nothing has been heard of them for the lease time."""
    async with several(HALF_TOLD, redis, grace=0.1, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a)
        await first.read(until=3)
        there = await s.attach(b, first.run_id)
        await there.read(until=3)
        first.leave()
        b.process.kill()
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_a_slow_reader_elsewhere_holds_the_model_back(redis: RedisServer) -> None:
    """The log keeps its bound here and in Redis, and the reader gets everything."""
    count, bound = 8000, 200_000
    script = Script(["x" * 1000] * count)
    async with (
        several(script, redis, log_bytes=bound) as s,
        Redis.from_url(redis.url) as client,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=small_socket), read_bufsize=1024
        ) as slow,
    ):
        a, b = s.servers
        first = await s.chat(a, on_disconnect="continue")
        async with slow.get(f"{b.url}/runs/{first.run_id}/events") as response:
            there = Reader(response)
            await there.read(until=1)
            first.leave()
            for until in range(1, count, 200):
                await there.read(until=until)
                used = await client.memory_usage(f"dripline:log:{first.run_id}", samples=0)
                # An upstream read of up to half a megabyte is one entry; the bound cuts two. The
                # answer is 8 MB: the rest waits with the model, or in the system's buffers.
                assert (used or 0) < bound + 1_600_000
            await there.read()
        assert there.ending == ("completed", "")
        assert there.seqs == list(range(1, count + 3))


def small_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that takes little before its reader does."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


async def test_a_reader_that_was_overtaken_is_told(redis: RedisServer) -> None:
    """Its process slept for too long: its stream ends with an error, and coming back is a 410."""
    script = Script(["x" * 1000] * 3000, pace=Pace(tokens_per_second=2000))
    async with several(script, redis, log_bytes=100_000, lease_time=2, grace=600) as s:
        a, b = s.servers
        first = await s.chat(a)
        there = await s.attach(b, first.run_id)
        await there.read(until=10)
        b.signal(signal.SIGSTOP)
        await first.read()
        assert first.ending == ("completed", "")
        b.signal(signal.SIGCONT)
        await there.read()
        assert there.ending == ("failed", "position_gone")
        assert there.seqs == list(range(1, len(there.seqs) + 1))
        assert len(there.seqs) < len(first.seqs)
        again = await s.attach(b, first.run_id, there.seqs[-1])
        assert again.response.status == 410
        start = int(again.response.headers["X-First-Event-Id"])
        rest = await (await s.attach(b, first.run_id, start - 1)).read()
        assert rest == first.messages[start - 1 :]


async def test_a_killed_owner(redis: RedisServer) -> None:
    """Within the lease time its readers elsewhere are told, and all who come later."""
    lease_time = 3.0
    async with several(LONG, redis, 4, lease_time=lease_time) as s:
        a, b, c, d = s.servers
        loop = asyncio.get_running_loop()
        first = await s.chat(a)
        await first.read(until=5)
        readers = [await s.attach(b, first.run_id), await s.attach(c, first.run_id, 4)]
        for reader in readers:
            await reader.read(until=6)
        a.process.kill()
        killed = loop.time()
        await asyncio.gather(*(reader.read() for reader in readers))
        # And a second for the machine.
        assert loop.time() - killed < lease_time + 1
        whole, rest = (reader.messages for reader in readers)
        assert rest == whole[4:]
        for server in (b, c, d):
            later = await s.attach(server, first.run_id)
            assert await later.read() == whole
            assert later.seqs == list(range(1, len(whole) + 1))
            assert later.ending == ("failed", "owner_lost")
            assert await s.stop(server, first.run_id) == 204


@pytest.mark.parametrize("ask", ["attach", "state", "stop"])
async def test_a_killed_owner_without_readers(redis: RedisServer, ask: str) -> None:
    """Whoever asks first finds out."""
    async with several(HALF_TOLD, redis, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a)
        await first.read(until=3)
        a.process.kill()
        await a.process.wait()
        await _wait_lease(redis, 1)
        if ask == "state":
            async with s.http.get(f"{b.url}/runs/{first.run_id}") as response:
                state = await response.json()
            assert (state["status"], state["last_event_id"]) == ("ended", "5")
        elif ask == "stop":
            assert await s.stop(b, first.run_id) == 204
        later = await s.attach(b, first.run_id)
        await later.read()
        assert later.ending == ("failed", "owner_lost")
        assert later.seqs == [1, 2, 3, 4, 5]


async def _wait_lease(redis: RedisServer, count: int) -> None:
    """Wait until so many processes hold a lease."""
    async with Redis.from_url(redis.url) as client:
        while True:
            if len(await client.keys("dripline:lease:*")) == count:
                return
            await asyncio.sleep(0.05)


async def test_an_owner_that_slept_too_long(redis: RedisServer) -> None:
    """It is taken for dead, and finds out: its readers hear the same, and Ollama is let go."""
    async with several(LONG, redis, lease_time=2) as s:
        a, b = s.servers
        first = await s.chat(a)
        await first.read(until=5)
        there = await s.attach(b, first.run_id)
        await there.read(until=5)
        a.signal(signal.SIGSTOP)
        whole = await there.read()
        assert there.ending == ("failed", "owner_lost")
        a.signal(signal.SIGCONT)
        assert await first.read() == whole
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        assert await (await s.attach(a, first.run_id)).read() == whole
        assert (await _chat_to_end(s, a)).ending == ("completed", "")


async def _chat_to_end(s: Several, server: One) -> Reader:
    reader = await s.chat(server, options={"num_predict": 3})
    await reader.read()
    assert len(text(reader.messages).split()) == 3
    return reader
