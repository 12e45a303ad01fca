"""Many runs at once with faults on both sides: everybody gets an end, and nothing is left over.

`DRIPLINE_SOAK_RUNS` says how many runs (200 where it is not set; `make soak` does 2,000), and
`DRIPLINE_SOAK_SEED` draws other faults.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from dripline import EventDecoder
from dripline.events import End, Error, from_json
from dripline.splits import seeded
from dripline_server.app import Server, serve
from dripline_server.fake_ollama import Ending, Fault, FaultKind, Pace, ReceivedRequest, Script
from tests.support.redis_server import redis_server
from tests.support.stack import Stack, stack

RUNS = int(os.environ.get("DRIPLINE_SOAK_RUNS", "200"))
SEED = int(os.environ.get("DRIPLINE_SOAK_SEED", "1"))
AT_ONCE = 50

STORY = ["word ", "Grüße ", "👩‍👩‍👧‍👦 ", "\x85"] * 10
FAST = Pace(tokens_per_second=4000)
CODES = {
    FaultKind.STATUS: "ollama_failed",
    FaultKind.ERROR: "ollama_error",
    FaultKind.CUT: "upstream_cut",
    FaultKind.TRUNCATED: "upstream_truncated",
    FaultKind.RESET: "upstream_reset",
    FaultKind.STALL: "upstream_stalled",
    FaultKind.GARBAGE: "upstream_garbage",
}
MODELS = {
    "told": Script(STORY, pace=FAST, split=seeded(1)),
    "told-at-once": Script(STORY),
    "told-slowly": Script(STORY, pace=Pace(cold_load=0.05, tokens_per_second=200, jitter=1)),
    "status": Script(STORY, fault=Fault.status(500)),
    "error": Script(STORY, pace=FAST, fault=Fault.error(at_token=9)),
    "cut": Script(STORY, pace=FAST, fault=Fault.cut(at_token=9)),
    "truncated": Script(STORY, pace=FAST, fault=Fault.truncated(at_token=9)),
    "reset": Script(STORY, pace=FAST, fault=Fault.reset(at_token=9)),
    "stall": Script(STORY, pace=FAST, fault=Fault.stall(at_token=9)),
    "garbage": Script(STORY, pace=FAST, fault=Fault.garbage(at_token=9)),
}


class Follower:
    """Reads a run over as many connections as its luck needs; sees each event once."""

    def __init__(self, s: Stack, urls: Sequence[str], draw: random.Random) -> None:
        self.s = s
        self.urls = urls
        self.draw = draw
        self.ids: list[int] = []
        self.ends = 0
        self._response: aiohttp.ClientResponse | None = None
        self._decoder = EventDecoder()

    async def follow(self, run_id: str, response: aiohttp.ClientResponse | None = None) -> None:
        """Follow to the end; each connection is dropped by chance."""
        while not self.ends:
            if response is None:
                position = {"Last-Event-ID": str(self.ids[-1] if self.ids else 0)}
                url = f"{self.draw.choice(self.urls)}/runs/{run_id}/events"
                response = await self.s.http.get(url, headers=position)
                assert response.status == 200, await response.text()
            await self.read(response, drop_after=self.draw.choice([0, 1, 5, 20, None, None]))
            response.close()
            response = None

    async def read(self, response: aiohttp.ClientResponse, drop_after: int | None) -> None:
        """Read a connection on, to its end or until so many events have come."""
        if response is not self._response:
            self._response, self._decoder = response, EventDecoder()
        came = 0
        while drop_after is None or came <= drop_after:
            size = self.draw.choice([1, 17, 4096])
            chunk = await response.content.read(size)
            if not chunk:
                return
            for message in self._decoder.feed(chunk):
                self.ids.append(int(message.id))
                self.ends += isinstance(from_json(message.data), End)
                came += 1


async def live(
    s: Stack, urls: Sequence[str], nth: int, draw: random.Random
) -> tuple[str, list[Follower]]:
    """One run with a drawn fate; returns its id and its followers that read it whole."""
    model = draw.choice(list(MODELS))
    fate = draw.choice(["read", "read", "two readers", "stop", "leave", "leave at once"])
    body = {
        "messages": [{"role": "user", "content": str(nth)}],
        "model": model,
        "on_disconnect": "stop" if fate == "leave at once" else "continue",
    }
    response = await s.http.post(f"{draw.choice(urls)}/chat", json=body)
    assert response.status == 200
    run_id = response.headers["X-Run-Id"]
    followers = [Follower(s, urls, draw) for _ in range(2 if fate == "two readers" else 1)]
    if fate in ("leave", "leave at once"):
        await followers[0].read(response, drop_after=draw.randint(0, 9))
        response.close()
        return run_id, []
    if fate == "stop":
        await followers[0].read(response, drop_after=draw.randint(0, 9))
        answer = await s.http.delete(f"{draw.choice(urls)}/runs/{run_id}")
        assert answer.status in (202, 204)
    first, *others = followers
    await asyncio.gather(first.follow(run_id, response), *(f.follow(run_id) for f in others))
    return run_id, followers


async def ending_of(s: Stack, url: str, run_id: str) -> tuple[str, str]:
    """How the run ended by its log: the status of `end`, and the error's code."""
    response = await s.http.get(f"{url}/runs/{run_id}/events")
    messages = EventDecoder().feed(await response.read())
    assert [int(message.id) for message in messages] == list(range(1, len(messages) + 1))
    events = [from_json(message.data) for message in messages]
    ends = [event for event in events if isinstance(event, End)]
    errors = [event for event in events if isinstance(event, Error)]
    assert len(ends) == 1
    assert events[-1] is ends[0]
    assert len(errors) == (ends[0].status == "failed")
    return ends[0].status, errors[0].code if errors else ""


def agrees(request: ReceivedRequest, status: str, code: str) -> bool:
    """Whether the fake Ollama's record and the run's ending tell the same story."""
    match status:
        case "completed":
            return request.ended is Ending.FINISHED
        case "cancelled":
            # A fault may have struck just before the client left, or all have been on its way.
            return (
                request.ended in (Ending.CLIENT_LEFT, Ending.FINISHED) or request.fault is not None
            )
        case _:
            return request.fault is not None and CODES[request.fault.kind] == code


def asked(request: ReceivedRequest) -> str:
    """What the request asks: the number of its run."""
    assert isinstance(request.body, dict)
    return str(request.body["messages"][-1]["content"])


def sockets() -> int:
    """How many sockets this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum("socket:" in str(link.readlink()) for link in links)


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
            async with soaked(redis.url) as s, serve(s.server.state.settings) as twin:
                await live_through(s, [s.server, twin])
        async with Redis.from_url(redis.url) as client:
            async for key in client.scan_iter():
                # That somebody wanted a run stopped, or was reading it until just now.
                assert not key.startswith(b"dripline:lease:")
                assert await client.pttl(key) > 0


@contextmanager
def nothing_left() -> Iterator[None]:
    """Count this process's tasks and sockets, before and after."""
    tasks_before, sockets_before = len(asyncio.all_tasks()), sockets()
    yield
    assert len(asyncio.all_tasks()) == tasks_before
    assert sockets() == sockets_before


@asynccontextmanager
async def soaked(run_log: str) -> AsyncIterator[Stack]:
    async with stack(
        MODELS,
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
        for follower in followers:
            assert follower.ends == 1
            assert follower.ids == list(range(1, len(follower.ids) + 1))
        if request := requests.get(str(nth)):
            await request.wait_ended()
            assert agrees(request, status, code), (nth, request, status, code)
        else:
            assert status == "cancelled"  # stopped before the request was sent
    assert min(endings[status] for status in ("completed", "cancelled", "failed")) > RUNS / 50
    for server in servers:
        server.state.runs.forget_ended()
        figures = server.state.metrics.text().decode()
        for gauge in ("active_runs", "readers", "log_bytes"):
            assert f"\ndripline_{gauge} 0.0\n" in figures
