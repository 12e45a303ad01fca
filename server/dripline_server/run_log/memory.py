"""Run logs in this process's memory: the default, which needs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from dripline_server.run_log import (
    Batch,
    FoundRun,
    LogOwner,
    LogState,
    PositionGone,
    PositionUnknown,
    not_now,
)

# What an event costs beside its JSON: the bytes object's header and its place in the list.
OVERHEAD = 48
# A reader far behind gets at most about this many bytes at once, so that its buffers stay small.
BATCH_BYTES = 64 * 1024
BATCH_EVENTS = 1024
# What may be between a reader's place here and what it has received: a batch, aiohttp's buffer and
# the kernel's.
RESUME_MARGIN = 512 * 1024

# Makes a batch of a tuple in half of the time of Batch(...); one is made for each token.
_new = tuple.__new__


class Budget:
    """What all logs of a process may hold together.

    Args:
        limit: Bytes.
    """

    __slots__ = ("_make_room", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._make_room: Callable[[], None] = lambda: None

    def when_exceeded(self, make_room: Callable[[], None]) -> None:
        """Have `make_room` called when the logs are beyond the limit.

        It lets go of what is least needed; one alone can do that: who keeps the ended runs.
        """
        self._make_room = make_room

    @property
    def exceeded(self) -> bool:
        """Whether the logs are beyond the limit, after making what room there is."""
        if self.used > self.limit:
            self._make_room()
        return self.used > self.limit


class LogReader:
    """One reader's place: the next `seq` it is to get, and what it waits with.

    Attributes:
        next_seq: The next `seq` that it is to get.
        deliver_now: Is called with what comes while it waits; see `ReadableLog.follow`.
        news: What it waits for; None while it does not.
    """

    __slots__ = ("deliver_now", "news", "next_seq")

    def __init__(self, next_seq: int, deliver_now: Callable[[Batch], bool] = not_now) -> None:
        self.next_seq = next_seq
        self.deliver_now = deliver_now
        self.news: asyncio.Future[None] | None = None


class MemoryRunLog:
    """A bounded list of events.

    Args:
        max_bytes: The bound; one append, and the last events, may go beyond it for a moment.
        budget: What this log and all others may hold together.

    Attributes:
        is_free: See `RunLog.is_free`; whether it was within its bound after what was added last.
    """

    __slots__ = (
        "_budget",
        "_bytes",
        "_finished",
        "_forgotten",
        "_head",
        "_max_bytes",
        "_next_seq",
        "_payloads",
        "_readers",
        "_room",
        "is_free",
    )

    def __init__(self, max_bytes: int, budget: Budget) -> None:
        self.is_free = True
        self._max_bytes = max_bytes
        self._budget = budget
        self._payloads: list[bytes] = []
        # Payloads before this index are dropped; they are cut off the list in bulk.
        self._head = 0
        self._next_seq = 1
        self._bytes = 0
        self._finished = False
        self._forgotten = False
        self._readers: set[LogReader] = set()
        self._room: asyncio.Event | None = None  # made when one waits: 0.7 KB

    @property
    def first_seq(self) -> int:
        """The `seq` of the oldest event still held; the next one's where none is."""
        return self._next_seq - (len(self._payloads) - self._head)

    @property
    def next_seq(self) -> int:
        """The `seq` that the next event will get."""
        return self._next_seq

    @property
    def finished(self) -> bool:
        """Whether the last events are there."""
        return self._finished

    def read(self, reader: LogReader) -> Batch | None:
        """Return what an attached reader gets next, and move it on; None where it has all."""
        return self._next_batch(reader) if reader.next_seq < self._next_seq else None

    async def state(self, seen: int = 0) -> LogState:
        """See `ReadableLog.state`."""
        return LogState(self.first_seq, self._next_seq - 1, self._finished)

    async def append(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.append`."""
        if payloads:
            self.add(payloads)
        await self.wait_for_room()

    async def finish(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.finish`."""
        self.finish_here(payloads)

    def finish_here(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.finish_here`."""
        self.add(payloads, last=True)

    def add(self, payloads: Sequence[bytes], *, last: bool = False) -> None:
        """Add events, and deliver them to the readers that wait, or wake those.

        In one call, and what one token needs in its first lines: see docs/life-of-a-token.md.

        Args:
            payloads: The events.
            last: Whether no more will come.
        """
        first, number = self._next_seq, len(payloads)
        self._payloads += payloads
        self._next_seq = following = first + number
        size = len(payloads[0]) if number == 1 else sum(map(len, payloads))
        self._bytes += size + OVERHEAD * number
        budget = self._budget
        budget.used += size + OVERHEAD * number
        self.is_free = self._bytes <= self._max_bytes and (
            budget.used <= budget.limit or not budget.exceeded
        )
        self._finished = last
        batch: Batch = _new(Batch, (first, payloads))
        for reader in self._readers:
            news = reader.news
            if news is None or news.done():
                continue
            # It has all that came before.
            try:
                if not last and size <= BATCH_BYTES and reader.deliver_now(batch):
                    reader.next_seq = following
                else:
                    news.set_result(None)
            except Exception as error:  # noqa: BLE001 (its own iteration raises it)
                news.set_exception(error)

    async def wait_for_room(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Wait until the log is within its bound, dropping what no reader needs. Safe to cancel.

        Args:
            waiting: Called whenever it begins to wait for a reader.
        """
        while self._beyond() and not self._drop():
            if self._room is None or self._room.is_set():
                self._room = asyncio.Event()
            waiting()
            await self._room.wait()
        self.is_free = True

    @asynccontextmanager
    async def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `ReadableLog.follow`."""
        if after + 1 < self.first_seq:
            raise PositionGone(self.first_seq)
        if after >= self._next_seq:
            raise PositionUnknown(self._next_seq - 1)
        reader = LogReader(after + 1, deliver_now)
        self.attach(reader)
        try:
            yield self._batches(reader)
        finally:
            self.detach(reader)

    def attach(self, reader: LogReader) -> None:
        """Drop nothing that this reader has yet to take."""
        self._readers.add(reader)

    def detach(self, reader: LogReader) -> None:
        """Care for the reader no longer."""
        self._readers.discard(reader)
        self.moved()
        if self._forgotten:
            self.forget()

    def moved(self) -> None:
        """Hear that a reader has gone on, or gone: there may be room now."""
        if self._room:
            self._room.set()

    def forget(self) -> None:
        """Let go of everything, once the readers that are still attached have taken it."""
        self._forgotten = True
        if not self._readers:
            self._count(-self._bytes)
            self._payloads.clear()
            self._head = 0

    async def _batches(self, reader: LogReader) -> AsyncIterator[Batch]:
        while True:
            if reader.next_seq < self._next_seq:
                yield self._next_batch(reader)
            elif self._finished:
                return
            else:
                reader.news = asyncio.get_running_loop().create_future()
                await reader.news

    def _next_batch(self, reader: LogReader) -> Batch:
        """Return what comes next for a reader, and move it on."""
        first = reader.next_seq
        index = len(self._payloads) - (self._next_seq - first)
        payloads = self._payloads[index : index + BATCH_EVENTS]
        while len(payloads) > 1 and sum(map(len, payloads)) > BATCH_BYTES:
            del payloads[len(payloads) // 2 :]
        reader.next_seq += len(payloads)
        self.moved()
        return Batch(first, payloads)

    def _beyond(self) -> bool:
        return self._bytes > self._max_bytes or self._budget.exceeded

    def _drop(self) -> bool:
        """Drop the oldest events while the log is beyond its bound.

        Returns False where a reader still needs the next one to go.
        """
        needed = min([self._next_seq, *(reader.next_seq for reader in self._readers)])
        droppable = self._before_margin(needed) - self.first_seq
        # An eighth more than it must, so that appends at the bound do not each look again.
        goal = self._max_bytes - self._max_bytes // 8
        end = self._head + droppable
        while self._head < end and (self._bytes > goal or self._budget.exceeded):
            # Over the budget one by one: it may have been made room in elsewhere.
            over = self._bytes - goal if self._bytes > goal else 1
            self._drop_some(over, end)
        if self._head * 2 > len(self._payloads):
            del self._payloads[: self._head]
            self._head = 0
        return not self._beyond() or needed == self._next_seq

    def _drop_some(self, over: int, end: int) -> None:
        """Drop events before the index `end` until so many bytes are gone."""
        payloads, head, freed = self._payloads, self._head, 0
        while head < end and freed < over:
            freed += len(payloads[head]) + OVERHEAD
            payloads[head] = b""
            head += 1
        self._head = head
        self._count(-freed)

    def _before_margin(self, needed: int) -> int:
        """Return the `seq` from which a reader at `needed` may still have to resume.

        What it has taken may be on its way, in buffers, and be lost with its connection.
        """
        if not self._readers or self._budget.exceeded:
            return needed
        margin = min(RESUME_MARGIN, self._max_bytes // 2)
        payloads, first = self._payloads, self._head
        index = end = len(payloads) - (self._next_seq - needed)
        while index > first and margin > 0:
            index -= 1
            margin -= len(payloads[index]) + OVERHEAD
        return needed - (end - index)

    def _count(self, change: int) -> None:
        self._bytes += change
        self._budget.used += change


class MemoryRunLogs:
    """The logs of a server that is one process; nothing else knows its runs."""

    def __init__(self, max_bytes: int, budget: Budget) -> None:
        self._max_bytes = max_bytes
        self._budget = budget
        self._logs: dict[str, MemoryRunLog] = {}
        # What clients call their runs, and by the run the newest name that it has.
        self._abouts: dict[str, tuple[str, bytes]] = {}
        self._names: dict[str, str] = {}

    async def create(
        self, run_id: str, model: str, owner: LogOwner, request: str = ""
    ) -> MemoryRunLog:
        """See `RunLogs.create`."""
        log = self._logs[run_id] = MemoryRunLog(self._max_bytes, self._budget)
        return log

    def forget(self, run_id: str) -> None:
        """See `RunLogs.forget`."""
        self._logs.pop(run_id).forget()
        self._forget_name(run_id)

    async def find(self, run_id: str) -> FoundRun | None:
        """See `RunLogs.find`."""
        return None

    async def remember(self, name: str, run_id: str, about: bytes) -> None:
        """See `RunLogs.remember`."""
        if about and run_id in self._logs:  # it may have ended, and been let go of, meanwhile
            self._forget_name(run_id)
            self._abouts[name] = (run_id, about)
            self._names[run_id] = name
        else:
            self._abouts.pop(name, None)

    def _forget_name(self, run_id: str) -> None:
        name = self._names.pop(run_id, "")
        if self._abouts.get(name, ("", b""))[0] == run_id:
            del self._abouts[name]

    async def recall(self, name: str) -> bytes:
        """See `RunLogs.recall`."""
        _, about = self._abouts.get(name, ("", b""))
        return about

    async def check(self) -> None:
        """See `RunLogs.check`."""

    async def close(self) -> None:
        """See `RunLogs.close`."""
