"""What run logs promise: one suite for all of them, whoever reads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    suppress,
)
from typing import Any, TypeVar

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from dripline_server.run_log import (
    Batch,
    PositionGone,
    PositionUnknown,
    ReadableLog,
    ReaderOvertaken,
    RunLog,
    RunLogs,
    RunLogUnavailable,
    not_now,
)
from dripline_server.run_log.memory import Budget, MemoryRunLogs
from dripline_server.run_log.redis import RedisRunLogs
from tests.support.redis_server import RedisServer, redis_server

T = TypeVar("T")

MODEL = "mistral:latest"
END = b'{"type":"end"}'
PLENTY = 1_000_000
# For what comes by itself, so that a failure is not a hang.
PATIENCE = 20.0


class Owner:
    """What a run is to its log."""

    def __init__(self) -> None:
        self.elsewhere = 0
        self._changed = asyncio.Event()

    def stop(self) -> None:
        raise AssertionError("nobody asked for that")

    def log_lost(self, because: RunLogUnavailable) -> None:
        raise AssertionError("it is there")

    def readers_elsewhere(self, count: int) -> None:
        self.elsewhere = count
        self._changed.set()

    async def wait_elsewhere(self, count: int) -> None:
        """Wait until so many processes read."""
        while self.elsewhere != count:
            self._changed.clear()
            await self._changed.wait()


class Bench:
    """A run's log, and a way to read it.

    Attributes:
        log: The log, as its run has it.
        budget: What it counts against.
        owner: Its run.
    """

    def __init__(self, logs: RunLogs, budget: Budget, elsewhere: RunLogs | None) -> None:
        self.budget = budget
        self.owner = Owner()
        self._logs = logs
        self._elsewhere = elsewhere

    async def create(self, run_id: str) -> None:
        self.run_id = run_id
        self.log: RunLog = await self._logs.create(run_id, MODEL, self.owner)
        if self._elsewhere is None:
            self._readable: ReadableLog = self.log
        else:
            found = await self._elsewhere.find(run_id)
            assert found is not None
            assert (found.id, found.model) == (run_id, MODEL)
            self._found = found

    @property
    def remote(self) -> bool:
        """Whether the readers are those of another process."""
        return self._elsewhere is not None

    def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        readable = self._found if self.remote else self._readable
        return readable.follow(after, deliver_now)

    def forget(self) -> None:
        self._logs.forget(self.run_id)

    async def read(self, after: int = 0, until: int | None = None) -> list[tuple[int, bytes]]:
        """Attach a reader, and return what it gets to the end, or until it has got a `seq`."""
        async with self.follow(after) as batches, aclosing(_flat(batches)) as events:
            got = []
            async for event in events:
                got.append(event)
                if event[0] == until:
                    break
            return got

    async def wait_heard(self) -> None:
        """Wait until the log knows of its reader; here it does at once."""
        if self.remote:
            await self.owner.wait_elsewhere(1)


async def _flat(batches: AsyncIterator[Batch]) -> AsyncGenerator[tuple[int, bytes]]:
    async for batch in batches:
        for seq, payload in enumerate(batch.payloads, start=batch.first):
            yield seq, payload


KINDS = ["memory", "redis", "redis, read elsewhere"]
_names = (f"run-{number}" for number in range(1_000_000))


@asynccontextmanager
async def bench(
    kind: str, redis: RedisServer, max_bytes: int = PLENTY, total: int = PLENTY
) -> AsyncIterator[Bench]:
    """Make a log of a kind."""
    budget = Budget(total)

    def in_redis(budget: Budget) -> RedisRunLogs:
        return RedisRunLogs(redis.url, max_bytes, budget, keep_time=60, lease_time=20)

    async with AsyncExitStack() as stack:
        logs = MemoryRunLogs(max_bytes, budget) if kind == "memory" else in_redis(budget)
        stack.push_async_callback(logs.close)
        elsewhere = in_redis(Budget(total)) if kind == "redis, read elsewhere" else None
        if elsewhere:
            stack.push_async_callback(elsewhere.close)
        made = Bench(logs, budget, elsewhere)
        await made.create(next(_names))
        yield made


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def events(first: int, last: int, size: int = 0) -> list[bytes]:
    """Events that tell their own `seq`, each of at least `size` bytes."""
    return [orjson.dumps({"n": n, "x": "x" * size}) for n in range(first, last + 1)]


def numbered(payloads: list[bytes], first: int = 1) -> list[tuple[int, bytes]]:
    return list(enumerate(payloads, start=first))


async def test_readers_get_what_is_there_and_what_comes(kind: str, redis: RedisServer) -> None:
    """Each from its own place, in order, to the last event."""
    async with bench(kind, redis) as b:
        await b.log.append(events(1, 3))
        await b.log.append(events(4, 4))
        readers = [asyncio.create_task(b.read(after)) for after in range(5)]
        await b.read(0, until=4)
        for n in range(5, 40):
            await b.log.append(events(n, n))
        await b.log.finish([END])
        whole = numbered([*events(1, 39), END])
        for after, reader in enumerate(readers):
            assert await reader == whole[after:]
        for after in (0, 17, 39, 40):
            assert await b.read(after) == whole[after:]
        state = await b.log.state()
        assert (state.first, state.last, state.finished) == (1, 40, True)


async def test_the_state_is_the_same_for_all(kind: str, redis: RedisServer) -> None:
    """Also of a log without events."""
    async with bench(kind, redis) as b:
        for count in (0, 3):
            if count:
                await b.log.append(events(1, count))
            states = [await b.log.state()]
            if b.remote:
                states.append(await b._found.log_state())
            for state in states:
                assert (state.first, state.last, state.finished) == (1, count, False)


async def test_any_text_comes_through(kind: str, redis: RedisServer) -> None:
    """Line breaks of every kind, and what is no character."""
    texts = ["\n", "\r\n", "\u0085", "\u2028", "\0", "\ufeff", "👩‍👩‍👧‍👦", '"\\', ""]
    payloads = [orjson.dumps({"content": text}) for text in texts]
    async with bench(kind, redis) as b:
        await b.log.append(payloads)
        await b.log.finish([END])
        assert await b.read() == numbered([*payloads, END])


async def test_a_position_that_never_was(kind: str, redis: RedisServer) -> None:
    """The newest one is told."""
    async with bench(kind, redis) as b:
        await b.log.append(events(1, 3))
        for after in (4, 99, 10**18):
            with pytest.raises(PositionUnknown) as caught:
                await b.read(after)
            assert caught.value.last == 3


async def test_old_events_are_dropped_where_nobody_needs_them(
    kind: str, redis: RedisServer
) -> None:
    """The first one that is there is told; from there on nothing is missing."""
    async with bench(kind, redis, max_bytes=3000) as b:
        for n in range(1, 101):
            await b.log.append(events(n, n, size=100))
        await b.log.finish([END])
        first = (await b.log.state()).first
        assert 70 < first < 100
        with pytest.raises(PositionGone) as caught:
            await b.read(0)
        # In Redis a little more is left.
        assert caught.value.first == first or (b.remote and first - 10 < caught.value.first < first)
        whole = numbered([*events(1, 100, size=100), END])
        for after in (first - 1, first, 100):
            assert await b.read(after) == whole[after:]


@pytest.mark.parametrize("limit", ["of the log", "of all logs"])
async def test_the_writer_waits_for_an_attached_reader(
    kind: str, redis: RedisServer, limit: str
) -> None:
    """It goes on when the reader does."""
    limits = {"max_bytes": 100_000} if limit == "of the log" else {"total": 100_000}
    async with bench(kind, redis, **limits) as b, b.follow(0) as batches:
        await b.wait_heard()
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(_write(b, 300))
            await _filled(b)
            assert not writer.done()
            got = [event async for event in _flat(batches)]
        assert got == numbered([*events(1, 300, size=1000), END])


async def test_the_writer_goes_on_when_the_reader_leaves(kind: str, redis: RedisServer) -> None:
    """What it did not take is dropped then."""
    async with bench(kind, redis, max_bytes=100_000) as b:
        async with b.follow(0):
            await b.wait_heard()
            writer = asyncio.create_task(_write(b, 300))
            await _filled(b)
            assert not writer.done()
        await writer
        assert (await b.log.state()).first > 150


async def _filled(b: Bench) -> None:
    """Wait until the log holds 100,000 bytes, by reading as many where it is written."""
    async with b.log.follow(0) as batches, aclosing(_flat(batches)) as flat:
        async for seq, _ in flat:
            if seq == 95:
                return


async def _write(b: Bench, count: int) -> None:
    for n in range(1, count + 1):
        await b.log.append(events(n, n, size=1000))
    await b.log.finish([END])


@pytest.mark.parametrize("seed", range(5))
async def test_a_cancelled_append_leaves_no_gap(kind: str, redis: RedisServer, seed: int) -> None:
    """It is added whole or not at all, once; what was acknowledged is there; order is kept."""
    draw = random.Random(seed)
    async with bench(kind, redis) as b:
        acknowledged, tried = [], []
        for n in range(1, 200, 2):
            payloads = events(n, n + 1)
            tried += payloads
            task = asyncio.create_task(b.log.append(payloads))
            for _ in range(draw.randrange(6)):
                await asyncio.sleep(0)
            task.cancel()
            if not (await asyncio.gather(task, return_exceptions=True))[0]:
                acknowledged += payloads
        await b.log.finish([END])
        got = await b.read()
    assert [seq for seq, _ in got] == list(range(1, len(got) + 1))
    *found, last = [payload for _, payload in got]
    assert last == END
    assert found == [payload for payload in tried if payload in set(found)]
    assert set(acknowledged) <= set(found)
    assert len(found) % 2 == 0


async def test_two_may_append_at_once(kind: str, redis: RedisServer) -> None:
    """Their events do not mix within an append, and each one's keep their order."""

    async def write(name: str) -> None:
        for n in range(50):
            await b.log.append([orjson.dumps([name, n, part]) for part in range(2)])

    async def write_both(b: Bench) -> None:
        await asyncio.gather(write("one"), write("other"))
        await b.log.finish([END])

    async with bench(kind, redis, max_bytes=5000) as b, b.follow(0) as batches:
        await b.wait_heard()
        async with asyncio.TaskGroup() as group:
            group.create_task(write_both(b))
            got = [orjson.loads(payload) async for _, payload in _flat(batches)]
    assert got.pop() == orjson.loads(END)
    for name in ("one", "other"):
        assert [one[1:] for one in got if one[0] == name] == [
            [n, p] for n in range(50) for p in (0, 1)
        ]
    assert [one[:2] for one in got[::2]] == [one[:2] for one in got[1::2]]


async def test_forgetting_gives_the_memory_back(kind: str, redis: RedisServer) -> None:
    """Once those who read it have left; they get it to the end."""
    async with bench(kind, redis) as b:
        await b.log.append(events(1, 9))
        async with b.follow(0) as batches:
            await b.wait_heard()
            await b.log.finish([END])
            b.forget()
            assert [event async for event in _flat(batches)] == numbered([*events(1, 9), END])
        assert b.budget.used == 0


async def test_a_reader_may_know_more_than_the_owner(redis: RedisServer) -> None:
    """It read elsewhere what Redis has taken, and comes to the owner before Redis's reply."""
    async with bench("redis", redis) as b:
        with Redis.from_url(redis.url) as client:
            writer = asyncio.create_task(b.log.append(events(1, 2)))
            # The client blocks the event loop, so that the owner cannot take the reply.
            while True:
                if client.xlen(f"dripline:log:{b.run_id}") == 2:
                    break
                await asyncio.sleep(0)
            assert (await b.log.state()).last == 0
            async with b.follow(2):
                assert (await b.log.state()).last == 2
            await writer


@pytest.mark.parametrize("after", [0, 2, 3, 4, 5, 6])
async def test_a_hole_is_never_read_over(redis: RedisServer, after: int) -> None:
    """A Redis that lost entries in the middle is given them again by the run's process."""
    async with bench("redis, read elsewhere", redis) as b, asyncio.timeout(PATIENCE):
        for n in range(1, 10, 3):
            await b.log.append(events(n, n + 2))
        with Redis.from_url(redis.url) as client:
            assert client.xdel(f"dripline:log:{b.run_id}", "4-0") == 1
        whole = None
        while whole is None:
            with suppress(PositionGone):  # until the other process has heard of it
                whole = await b.read(after, until=9)
        assert whole == numbered(events(after + 1, 9), after + 1)


@pytest.mark.parametrize("seed", range(10))
async def test_what_is_taken_and_what_is_given(kind: str, redis: RedisServer, seed: int) -> None:
    """Together they are every event in order, whatever is refused; the end is always given."""
    draw = random.Random(seed)
    got: list[tuple[int, bytes]] = []
    taken = 0

    def note(batch: Batch) -> None:
        got.extend(enumerate(batch.payloads, start=batch.first))

    def deliver_now(batch: Batch) -> bool:
        nonlocal taken
        if draw.random() < 0.3:
            return False
        note(batch)
        taken += 1
        return True

    async def read(b: Bench) -> None:
        async with b.follow(0, deliver_now) as batches:
            async for batch in batches:
                note(batch)
                if draw.random() < 0.3:
                    await asyncio.sleep(0)

    async with bench(kind, redis, 2000) as b, asyncio.timeout(PATIENCE):
        reading = asyncio.create_task(read(b))
        await b.wait_heard()
        written: list[bytes] = []
        for _ in range(200):
            payloads = events(len(written) + 1, len(written) + draw.randrange(1, 4), size=20)
            written += payloads
            if b.log.is_free:
                b.log.add(payloads)
            else:
                await b.log.append(payloads)
            for _ in range(draw.randrange(4)):
                await asyncio.sleep(0)
        await b.log.finish([END])
        await reading
    assert got == list(enumerate([*written, END], start=1))
    assert bool(taken) is not b.remote


@pytest.mark.parametrize("kind", ["memory", "redis"])  # elsewhere nothing is offered
async def test_a_fault_in_one_reader_s_take_is_its_own(kind: str, redis: RedisServer) -> None:
    """Neither the run nor another reader sees it."""

    def deliver_now(batch: Batch) -> bool:
        raise ValueError(f"event {batch.first}")

    async with (
        bench(kind, redis) as b,
        asyncio.timeout(PATIENCE),
        b.follow(0, deliver_now) as batches,
        b.follow(0) as others,
    ):
        reading = asyncio.ensure_future(anext(batches))
        other = asyncio.ensure_future(anext(others))
        await asyncio.sleep(0)  # both wait now
        await b.log.append(events(1, 1))
        with pytest.raises(ValueError, match="event 1"):
            await reading
        assert (await other).payloads == events(1, 1)


class LogMachine(RuleBasedStateMachine):
    """Appends, readers and the end in any order; the model is the list of what was appended."""

    readers = Bundle("readers")

    kind: str
    redis: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.written: list[bytes] = []
        self.pending: asyncio.Task[None] | None = None
        self.finished = False
        self.forgotten = False
        self.attached: set[ModelReader] = set()
        self.max_bytes = 1000
        opened = bench(self.kind, self.redis, self.max_bytes)
        self.bench = self.run(self._stack.enter_async_context(opened))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(PATIENCE):
                return await work

        return self._runner.run(bounded())

    def teardown(self) -> None:
        async def end() -> None:
            async with self._stack:
                for reader in tuple(self.attached):
                    await self._leave(reader)
                if self.pending:
                    await self.pending
                if not self.forgotten:
                    self.bench.forget()
                assert self.bench.budget.used == 0

        with self._runner:
            self.run(end())

    @property
    def writable(self) -> bool:
        return not self.finished and self.pending is None

    @precondition(lambda self: self.writable)
    @rule(count=st.integers(0, 5), size=st.sampled_from([0, 10, 150]))
    def append(self, count: int, size: int) -> None:
        """Where a reader is too far behind, it goes on waiting."""
        first = len(self.written) + 1
        payloads = events(first, first + count - 1, size)
        self.written += payloads

        async def begin() -> None:
            self.pending = asyncio.create_task(self.bench.log.append(payloads))
            # It is added, however long Redis takes; what it may wait for then is a reader.
            while True:
                if self.pending.done() or await self._added():
                    break
                await asyncio.sleep(0)
            await self._settle()

        self.run(begin())

    @precondition(lambda self: not self.finished)
    @rule()
    def stop(self) -> None:
        """The run ends; its append is cancelled."""

        async def end() -> None:
            if self.pending:
                self.pending.cancel()
                await asyncio.wait({self.pending})
                self.pending = None
            await self.bench.log.finish([END])

        self.written.append(END)
        self.finished = True
        self.run(end())

    @precondition(lambda self: not self.forgotten)
    @rule(target=readers, back=st.integers(-3, 15))
    def follow(self, back: int) -> ModelReader | None:
        """A reader comes, at any place."""
        after = max(0, len(self.written) - back)
        reader = ModelReader(after + 1)
        first = self.run(self.bench.log.state()).first
        try:
            self.run(reader.enter(self.bench))
        except PositionUnknown:
            assert after > len(self.written)
            return None
        except PositionGone:
            assert after + 1 < first
            return None
        assert after <= len(self.written)
        assert self.bench.remote or after + 1 >= first
        self.attached.add(reader)
        return reader

    @rule(reader=readers)
    def take(self, reader: ModelReader | None) -> None:
        """It gets exactly what comes next, or has nothing to get."""
        if reader not in self.attached:
            return
        available = reader.next_seq <= len(self.written)
        if not (available or self.finished):
            return
        try:
            got = self.run(reader.take())
        except ReaderOvertaken:
            assert self.bench.remote
            self.detach(reader)
            return
        assert bool(got) is available
        start = reader.next_seq - 1
        assert got == self.written[start : start + len(got)]
        reader.next_seq += len(got)
        self.run(self._settle())

    @rule(reader=consumes(readers))
    def detach(self, reader: ModelReader | None) -> None:
        """A reader goes; the others are not touched."""
        if reader in self.attached:
            self.run(self._leave(reader))
            self.run(self._settle())

    @precondition(lambda self: self.finished and not self.forgotten)
    @rule()
    def forget(self) -> None:
        """The log is let go of; those who read it may finish."""

        async def forget() -> None:
            self.bench.forget()

        self.forgotten = True
        self.run(forget())

    @rule()
    def look(self) -> None:
        """The state is what it should be."""
        state = self.run(self.bench.log.state())
        assert (state.last, state.finished) == (len(self.written), self.finished)

    @invariant()
    def the_memory_is_bounded(self) -> None:
        """By the limit and one append; of a log that still grows."""
        used = self.bench.budget.used
        assert used >= 0
        if self.pending is None and not self.finished:
            assert used <= self.max_bytes or self.bench.remote or self.behind()

    def behind(self) -> bool:
        return any(reader.next_seq <= len(self.written) for reader in self.attached)

    @invariant()
    def nothing_is_written_in_vain(self) -> None:
        """Unless a reader is behind, nobody waits."""
        assert self.pending is None or self.bench.remote or self.behind()

    def _reap(self) -> None:
        if self.pending and self.pending.done():
            self.pending.result()
            self.pending = None

    async def _settle(self) -> None:
        """Give a waiting append the moment that it needs to see that there is room."""
        for _ in range(20):
            await asyncio.sleep(0)
        if self.pending and self.bench.remote:  # the reader's place comes by way of Redis
            await asyncio.wait({self.pending}, timeout=0.01)
        self._reap()

    async def _added(self) -> bool:
        return (await self.bench.log.state()).last == len(self.written)

    async def _leave(self, reader: ModelReader) -> None:
        self.attached.discard(reader)
        await reader.leave()


class ModelReader:
    """A reader and what it should get next."""

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self._stack = AsyncExitStack()

    async def enter(self, b: Bench) -> None:
        self._batches = await self._stack.enter_async_context(b.follow(self.next_seq - 1))

    async def take(self) -> list[bytes]:
        try:
            batch = await anext(self._batches)
        except StopAsyncIteration:
            return []
        assert batch.first == self.next_seq
        assert batch.payloads
        return list(batch.payloads)

    async def leave(self) -> None:
        await self._stack.aclose()


def test_any_order_keeps_the_promises(kind: str, redis: RedisServer) -> None:
    """See the machine."""
    machine = type("Machine", (LogMachine,), {"kind": kind, "redis": redis})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
