"""Run logs in this process's memory: the default, which needs no other service."""

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

# Bytes that an event needs besides its JSON: the bytes object's header and its slot in the list.
OVERHEAD = 48
# A reader far behind gets at most about this many bytes at once, so that its buffers stay small.
BATCH_BYTES = 64 * 1024
BATCH_EVENTS = 1024
# Bytes that may lie between a reader's position in the log and the data that it has received: one
# batch, aiohttp's buffer and the kernel's buffer.
RESUME_MARGIN = 512 * 1024

# Creates a Batch from a tuple twice as fast as Batch(...). Every token needs one.
_new = tuple.__new__


class Budget:
    """The memory that all logs of a process share.

    Args:
        limit: The limit in bytes.
    """

    __slots__ = ("_make_room", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._make_room: Callable[[], None] = lambda: None

    def when_exceeded(self, make_room: Callable[[], None]) -> None:
        """Call `make_room` whenever the logs exceed the limit.

        There is only one such function, because only the keeper of the finished runs can discard
        the least needed one.
        """
        self._make_room = make_room

    @property
    def exceeded(self) -> bool:
        """Whether the logs still exceed the limit after making as much room as possible."""
        if self.used > self.limit:
            self._make_room()
        return self.used > self.limit


class LogReader:
    """The position of one reader.

    Attributes:
        next_seq: The `seq` of the next event for this reader.
        deliver_now: Called with new events while the reader waits; see `ReadableLog.follow`.
        news: The future that the reader waits for; None while it does not wait.
    """

    __slots__ = ("deliver_now", "news", "next_seq")

    def __init__(self, next_seq: int, deliver_now: Callable[[Batch], bool] = not_now) -> None:
        self.next_seq = next_seq
        self.deliver_now = deliver_now
        self.news: asyncio.Future[None] | None = None


class MemoryRunLog:
    """A bounded list of events.

    Args:
        max_bytes: The size limit. One append, or the last events, may exceed it for a moment.
        budget: The memory that this log shares with all others.

    Attributes:
        is_free: See `RunLog.is_free`: whether the log was within its limit after the last addition.
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
        # Payloads before this index have been dropped. They are deleted from the list in bulk.
        self._head = 0
        self._next_seq = 1
        self._bytes = 0
        self._finished = False
        self._forgotten = False
        self._readers: set[LogReader] = set()
        self._room: asyncio.Event | None = None  # created when first needed: it takes 0.7 KB

    @property
    def first_seq(self) -> int:
        """The `seq` of the oldest event that the log holds; if it is empty, of the next one."""
        return self._next_seq - (len(self._payloads) - self._head)

    @property
    def next_seq(self) -> int:
        """The `seq` that the next event will get."""
        return self._next_seq

    @property
    def finished(self) -> bool:
        """Whether the last events have been added."""
        return self._finished

    def read(self, reader: LogReader) -> Batch | None:
        """Return the next batch for an attached reader and advance it; None if it has all."""
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
        """Add events, then deliver them to the waiting readers or wake those.

        All of it stands in one function, because each further call would cost every token; see
        docs/life-of-a-token.md.

        Args:
            payloads: The events.
            last: Whether these are the last events.
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
            # A reader that waits has all earlier events.
            try:
                if not last and size <= BATCH_BYTES and reader.deliver_now(batch):
                    reader.next_seq = following
                else:
                    news.set_result(None)
            except Exception as error:  # noqa: BLE001 (its own iteration raises it)
                news.set_exception(error)

    async def wait_for_room(self, waiting: Callable[[], None] = lambda: None) -> None:
        """Drop what no reader needs, until the log is within its limit. Safe to cancel.

        Args:
            waiting: Called whenever this starts to wait for a reader.
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
        """Attach a reader: from now on nothing is dropped that it has not read."""
        self._readers.add(reader)

    def detach(self, reader: LogReader) -> None:
        """Detach a reader: its unread events may be dropped."""
        self._readers.discard(reader)
        self.moved()
        if self._forgotten:
            self.forget()

    def moved(self) -> None:
        """Wake `wait_for_room`, because a reader has advanced or left."""
        if self._room:
            self._room.set()

    def forget(self) -> None:
        """Free all events, as soon as the readers that are still attached have left."""
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
        """Return the next batch for a reader, and advance it."""
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
        """Drop the oldest events while the log exceeds its limit.

        Returns False if a reader still needs the next event to drop.
        """
        needed = min([self._next_seq, *(reader.next_seq for reader in self._readers)])
        droppable = self._before_margin(needed) - self.first_seq
        # Drop an eighth more than necessary, so that not every append at the limit comes here.
        goal = self._max_bytes - self._max_bytes // 8
        end = self._head + droppable
        while self._head < end and (self._bytes > goal or self._budget.exceeded):
            # If only the shared budget is exceeded, drop one at a time: other logs may have freed
            # enough meanwhile.
            over = self._bytes - goal if self._bytes > goal else 1
            self._drop_some(over, end)
        if self._head * 2 > len(self._payloads):
            del self._payloads[: self._head]
            self._head = 0
        return not self._beyond() or needed == self._next_seq

    def _drop_some(self, over: int, end: int) -> None:
        """Drop events before the index `end` until `over` bytes are freed."""
        payloads, head, freed = self._payloads, self._head, 0
        while head < end and freed < over:
            freed += len(payloads[head]) + OVERHEAD
            payloads[head] = b""
            head += 1
        self._head = head
        self._count(-freed)

    def _before_margin(self, needed: int) -> int:
        """Return the first `seq` to keep for a reader at `needed` that loses its connection.

        Events that it was given may still be in buffers, and are lost with the connection. It then
        resumes before `needed`.
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
    """The logs of a server with one process; no other process knows its runs."""

    def __init__(self, max_bytes: int, budget: Budget) -> None:
        self._max_bytes = max_bytes
        self._budget = budget
        self._logs: dict[str, MemoryRunLog] = {}
        # Each name with its run and entry; and each run's newest name.
        self._abouts: dict[str, tuple[str, bytes]] = {}
        self._names: dict[str, str] = {}

    async def create(
        self, run_id: str, model: str, owner: LogOwner, request: str = "", caller: str = ""
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
        if about and run_id in self._logs:  # the run may have been discarded meanwhile
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
