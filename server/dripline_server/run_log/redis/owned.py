"""The log of a run of this process, in Redis and in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dripline.errors import ErrorCode
from dripline_server.run_log import (
    ID_SHOWN,
    Batch,
    LogOwner,
    LogState,
    PositionGone,
    PositionUnknown,
    RunLogUnavailable,
    RunTakenOver,
    leave,
)
from dripline_server.run_log.memory import LogReader, MemoryRunLog
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.link import Link

logger = logging.getLogger(__name__)

# Redis is trimmed in steps of this part of a log's bound.
TRIM_STEPS = 16


@dataclass(slots=True)
class _Elsewhere:
    """The readers of another process: the last one's place, and until when they count."""

    reader: LogReader
    until: float


class RedisRunLog:
    """The log of a run of this process.

    Args:
        run_id: The run's id.
        memory: What this process's readers follow.
        owner: The run.
        link: This process's way to Redis.
        max_bytes: The log's bound.
    """

    def __init__(
        self, run_id: str, memory: MemoryRunLog, owner: LogOwner, link: Link, max_bytes: int
    ) -> None:
        self._run_id = run_id
        self._memory = memory
        self._owner = owner
        self._link = link
        self._step = max_bytes // TRIM_STEPS
        # The entries at which Redis can be trimmed, about a step apart; how much is in the last.
        self._marks: list[int] = []
        self._unmarked = 0
        # Set while no entry is on its way to Redis.
        self._settled = asyncio.Event()
        self._settled.set()
        self._lost: RunLogUnavailable | None = None
        self._finished = False
        self._elsewhere: dict[str, _Elsewhere] = {}

    @property
    def to_mend(self) -> bool:
        """Whether the run has ended and Redis does not know how."""
        return self._finished and self._lost is not None

    @property
    def going_on(self) -> bool:
        """Whether more is to come."""
        return not self._finished

    async def state(self, seen: int = 0) -> LogState:
        """See `ReadableLog.state`."""
        await self._come_to(seen)
        return await self._memory.state()

    @asynccontextmanager
    async def follow(
        self, after: int, take: Callable[[Batch], bool] = leave
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `ReadableLog.follow`."""
        await self._come_to(after)
        async with self._memory.follow(after, take) as batches:
            yield batches

    async def _come_to(self, seen: int) -> None:
        """Wait for what a reader has got elsewhere: Redis has taken it, and not yet told us so."""
        if seen >= self._memory.next_seq:
            await self._settled.wait()

    @property
    def is_free(self) -> bool:
        """See `RunLog.is_free`."""
        return self._settled.is_set() and not self._lost and self._memory.is_free

    def add(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.add`; should Redis not take it, the owner hears of it."""
        self._send(payloads)

    async def append(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.append`."""
        if payloads:
            await self._turn()
            if not self._lost:
                self._send(payloads)
                await self._settled.wait()
            if self._lost:
                raise self._lost
        await self._memory.wait_for_room(self._ask_where)

    async def finish(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.finish`."""
        await self._turn()
        self._finished = True
        if self._lost:
            self._add_to_memory(payloads, last=True)
        else:
            self._send(payloads, last=True)
            await self._settled.wait()

    def finish_here(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.finish_here`; Redis is told later, by `mend`."""
        self._finished = True
        self._lost = self._lost or RunLogUnavailable("the run's end could not be written")
        self._add_to_memory(payloads, last=True)
        self._settled.set()

    async def _turn(self) -> None:
        """Wait for the entry on its way: where it fails, no later one may get into Redis."""
        while not self._settled.is_set():
            await self._settled.wait()

    def _send(self, payloads: Sequence[bytes], *, last: bool = False) -> None:
        """Add an entry: to Redis, and once that has it to memory. Then it is settled."""
        pipe, first = self._link.pipe, self._memory.next_seq
        keep_from = self._trim(first, payloads)
        self._settled.clear()
        command = stream.add(self._run_id, first, payloads, last=last, keep_from=keep_from)
        pipe.send(*command).add_done_callback(
            lambda reply: self._added(reply.result(), payloads, last=last)
        )
        for process in self._elsewhere:
            pipe.send(*stream.tell(process, "news", self._run_id))
        if last:
            for command in stream.expire(self._run_id, self._link.keep):
                pipe.send(*command)

    def _added(self, reply: object, payloads: Sequence[bytes], *, last: bool) -> None:
        """Take Redis's reply. What it refused because the run has ended is not ours to say."""
        if isinstance(reply, Exception) and stream.is_refusal(reply):
            self._lost = RunTakenOver("another process has ended the run")
            logger.error(
                "run lost: its process was taken for dead", extra={"run": self._run_id[:ID_SHOWN]}
            )
        elif isinstance(reply, Exception):
            self._lost = RunLogUnavailable(str(reply))
        elif reply is None:
            self._lost = RunLogUnavailable("Redis has lost the run's log")
        if last or not isinstance(self._lost, RunTakenOver):
            self._add_to_memory(payloads, last=last)
        self._settled.set()
        if self._lost and not last:
            self._owner.log_lost()

    def _add_to_memory(self, payloads: Sequence[bytes], *, last: bool) -> None:
        if last and isinstance(self._lost, RunTakenOver):
            payloads = stream.failed_ending(ErrorCode.OWNER_LOST)
        self._memory.add(payloads, last=last)

    def _trim(self, first: int, payloads: Sequence[bytes]) -> int:
        """Return the entry before which Redis can let go of what memory has dropped, or 0."""
        self._unmarked += sum(map(len, payloads))
        if self._unmarked > self._step:
            self._marks.append(first)
            self._unmarked = 0
        keep_from = 0
        while self._marks and self._marks[0] <= self._memory.first_seq:
            keep_from = self._marks.pop(0)
        return keep_from

    def hear(self, *words: str) -> None:
        """Take a message from another process."""
        match words:
            case ["stop"]:
                self.stop()
            case ["read", process, next_seq]:
                self._count_readers(process, int(next_seq))
            case ["left", process]:
                self._readers_left(process)

    def _count_readers(self, process: str, next_seq: int) -> None:
        """Count the readers of another process, and keep for them what they have yet to take."""
        until = asyncio.get_running_loop().time() + self._link.lease_time
        # It may be beyond what we have: Redis took that, and has not yet told us so.
        place = max(next_seq, self._memory.first_seq)
        if known := self._elsewhere.get(process):
            known.reader.next_seq, known.until = place, until
            self._memory.moved()
            return
        self._elsewhere[process] = _Elsewhere(LogReader(place), until)
        self._memory.attach(self._elsewhere[process].reader)
        self._owner.readers_elsewhere(len(self._elsewhere))
        # What came between its reading and this went unannounced.
        self._link.pipe.send(*stream.tell(process, "news", self._run_id))

    def _ask_where(self) -> None:
        """Have the others tell when their readers go on, and not only now and then."""
        for process in self._elsewhere:
            self._link.pipe.send(*stream.tell(process, "where", self._run_id))

    def _readers_left(self, process: str) -> None:
        """Hear that a process has no reader any more."""
        if gone := self._elsewhere.pop(process, None):
            self._memory.detach(gone.reader)
            self._owner.readers_elsewhere(len(self._elsewhere))

    def look_after_readers(self, now: float) -> None:
        """Count those no more of which nothing has been heard for too long."""
        for process in [name for name, one in self._elsewhere.items() if one.until < now]:
            self._readers_left(process)

    def stop(self) -> None:
        """Have the run end as cancelled."""
        self._owner.stop()

    async def mend(self) -> None:
        """Write to Redis how the run has ended, now that Redis is there again.

        What Redis lacks is in memory, also an entry of which nobody knows whether Redis took it:
        the `seq` are the same in both. Such an entry may come in as late as now, over a connection
        that we have given up; then it is looked again.

        Raises:
            RunLogUnavailable: Redis is not there.
        """
        ended = False
        while not ended:
            (newest,) = await self._link.pipe.call(stream.newest(self._run_id))
            if not newest or (entry := stream.parse(newest[0])).last:
                break
            rest = await self._rest(entry.next_seq - 1)
            ended = await self._link.end(self._run_id, entry.next_seq, rest)
        self._lost = None

    async def _rest(self, after: int) -> list[bytes]:
        try:
            async with self._memory.follow(after) as batches:
                return [payload async for batch in batches for payload in batch.payloads]
        except (PositionGone, PositionUnknown):
            return stream.failed_ending(ErrorCode.RUN_LOG_LOST)

    def forget(self) -> None:
        """Let go of it here, and in Redis unless others are reading."""
        if not self._elsewhere:
            self._link.pipe.send(*stream.unlink(self._run_id))
        for process in list(self._elsewhere):
            self._readers_left(process)
        self._memory.forget()
