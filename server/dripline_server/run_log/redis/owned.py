"""The log of a run of this process, in Redis and in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from dripline_server.run_log import (
    ID_SHOWN,
    Batch,
    LogOwner,
    LogState,
    RunLogUnavailable,
    RunTakenOver,
    not_now,
)
from dripline_server.run_log.memory import LogReader, MemoryRunLog
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.link import Link
from dripline_server.run_log.redis.pipe import NewConnection
from dripline_server.run_log.redis.reasons import LOST, unavailable
from dripline_server.run_log.redis.stream import Entry

logger = logging.getLogger(__name__)

# A log's size limit, divided by this, is the step in which Redis is trimmed.
TRIM_STEPS = 16
# How many entries are in flight while a log is written again.
AT_ONCE = 16
# How many comparisons in a row may find a changed log. Another process may write at the same
# time, but only once.
TRIES = 5


@dataclass(slots=True)
class _Elsewhere:
    """The readers of another process: the slowest one's position, and until when they count."""

    reader: LogReader
    until: float


class _Changed(Exception):
    """The run's data in Redis changed between two commands."""


class RedisRunLog:
    """The log of a run of this process.

    Redis may lose even entries that it confirmed: by a restart from a snapshot, by a failover to a
    replica, by `FLUSHALL`. So after each new connection the log first compares Redis's newest entry
    with the entries in memory, and writes the missing ones again. Only then it adds new entries.

    Args:
        run_id: The run's id.
        memory: The log in memory, which this process's readers follow.
        owner: The run.
        link: This process's connection to Redis.
        max_bytes: The log's size limit.
        about: The run's description in Redis.
        generation: The pipe's connection over which the log was created.
    """

    def __init__(
        self,
        run_id: str,
        memory: MemoryRunLog,
        owner: LogOwner,
        link: Link,
        max_bytes: int,
        *,
        about: bytes,
        generation: int,
    ) -> None:
        self._run_id = run_id
        self._memory = memory
        self._owner = owner
        self._link = link
        self._step = max_bytes // TRIM_STEPS
        self._about = about
        # The entries that clients look up by name, kept so that they can be written again.
        self.named: Sequence[stream.Command] = ()
        # The entries at which Redis can be trimmed, about a step apart; how much is in the last.
        self._marks: list[int] = []
        self._unmarked = 0
        # Set while no entry is in flight to Redis.
        self._settled = asyncio.Event()
        self._settled.set()
        # The connection over which Redis was last seen to have all, and its newest entry then.
        self._verified = generation
        self._newest = stream.newest_is(0, last=False)
        self._whole_check = -float("inf")
        self._recovering: asyncio.Task[None] | None = None
        self._lost: RunLogUnavailable | None = None
        self._finished = False
        self._elsewhere: dict[str, _Elsewhere] = {}

    @property
    def to_mend(self) -> bool:
        """Whether the run has ended, but Redis lacks its last events."""
        return self._finished and self._lost is not None

    @property
    def going_on(self) -> bool:
        """Whether more events are to come."""
        return not self._finished

    @property
    def in_doubt(self) -> bool:
        """Whether Redis may lack entries, and no task repairs that yet."""
        if not self._settled.is_set() or (self._lost and not self._finished):
            return False
        return self._verified != self._link.pipe.generation or self.to_mend

    async def state(self, seen: int = 0) -> LogState:
        """See `ReadableLog.state`."""
        await self._come_to(seen)
        return await self._memory.state()

    @asynccontextmanager
    async def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `ReadableLog.follow`."""
        await self._come_to(after)
        async with self._memory.follow(after, deliver_now) as batches:
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
        """See `RunLog.add`. If Redis refuses the entry, the owner is informed."""
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
        self._finished = True  # so that nobody waits for Redis while it is away
        await self._turn()
        if self._lost:
            self._add_to_memory(payloads, last=True)
        else:
            self._send(payloads, last=True)
            await self._settled.wait()

    def finish_here(self, payloads: Sequence[bytes]) -> None:
        """See `RunLog.finish_here`. `look_again` writes the end to Redis later."""
        self._finished = True
        self._lost = self._lost or RunLogUnavailable("the run's end could not be written")
        self._add_to_memory(payloads, last=True)
        self._settled.set()

    async def _turn(self) -> None:
        """Wait for the entry in flight: if it fails, no later one may get into Redis."""
        while not self._settled.is_set():
            await self._settled.wait()

    def _send(self, payloads: Sequence[bytes], *, last: bool = False) -> None:
        """Add an entry to Redis, and after that to memory."""
        pipe, first, since = (
            self._link.pipe,
            self._memory.next_seq,
            self._link.now,
        )
        keep_from = self._trim(first, payloads)
        self._settled.clear()
        command = stream.add(self._run_id, first, payloads, last=last, keep_from=keep_from)
        pipe.send(*command, generation=self._verified).add_done_callback(
            lambda reply: self._added(reply.result(), payloads, last=last, since=since)
        )
        self._tell_news()
        if last:
            self._expire()

    def _tell_news(self) -> None:
        for process in self._elsewhere:
            self._link.pipe.send(*stream.tell(process, "news", self._run_id))

    def _expire(self) -> None:
        for command in stream.expire(self._run_id, self._link.keep):
            self._link.pipe.send(*command)

    def _added(self, reply: object, payloads: Sequence[bytes], *, last: bool, since: float) -> None:
        """Handle Redis's reply; if it is an error, compare with Redis."""
        if not isinstance(reply, Exception) and reply is not None:
            self._newest = stream.newest_is(self._memory.next_seq, last=last)
            self._settle(payloads, last=last)
        elif last and isinstance(reply, RunLogUnavailable):
            self._settle(payloads, last=last, lost=reply)  # our readers need not wait
        else:
            self._recovering = asyncio.create_task(
                self._recover(payloads, last=last, since=since),
                name=f"recover {self._run_id[:ID_SHOWN]}",
            )

    async def _recover(self, payloads: Sequence[bytes], *, last: bool, since: float) -> None:
        """Write an entry that Redis may or may not have; the run waits meanwhile."""
        lost: RunLogUnavailable | None = None
        while True:
            try:
                await self._reconcile(payloads, last=last)
                self._tell_news()
                if last:
                    self._expire()
                break
            except RunTakenOver as taken:
                lost = taken
                break
            except RunLogUnavailable as error:
                if self._finished or self._link.now - since >= self._link.patience:
                    lost = error
                    break
            except Exception as fault:  # Otherwise the run would wait for ever.
                logger.exception("a fault in dripline")
                lost = RunLogUnavailable(repr(fault))
                break
            await asyncio.sleep(self._link.retry)
        self._settle(payloads, last=last, lost=lost)

    def _settle(
        self, payloads: Sequence[bytes], *, last: bool, lost: RunLogUnavailable | None = None
    ) -> None:
        """Add an entry to memory and let the run continue, unless another process ended the log."""
        if lost:
            self._lose(lost)
        if last or not isinstance(lost, RunTakenOver):
            self._add_to_memory(payloads, last=last)
        self._settled.set()
        if lost and not last:
            self._owner.log_lost(lost)

    def _lose(self, lost: RunLogUnavailable) -> None:
        self._lost = lost
        if isinstance(lost, RunTakenOver):
            run = self._run_id[:ID_SHOWN]
            logger.error(
                "run lost: another process considered its process dead", extra={"run": run}
            )

    def _add_to_memory(self, payloads: Sequence[bytes], *, last: bool) -> None:
        if last and isinstance(self._lost, RunTakenOver):
            payloads = stream.owner_lost()
        self._memory.add(payloads, last=last)

    def _trim(self, first: int, payloads: Sequence[bytes]) -> int:
        """Return the entry before which Redis can drop all that memory has dropped; 0 for none."""
        self._unmarked += sum(map(len, payloads))
        if self._unmarked > self._step:
            self._marks.append(first)
            self._unmarked = 0
        keep_from = 0
        while self._marks and self._marks[0] <= self._memory.first_seq:
            keep_from = self._marks.pop(0)
        return keep_from

    def hear(self, *words: str) -> None:
        """Handle a message from another process."""
        match words:
            case ["stop"]:
                self.stop()
            case ["read", process, next_seq]:
                self._count_readers(process, int(next_seq))
            case ["left", process]:
                self._readers_left(process)

    def _count_readers(self, process: str, next_seq: int) -> None:
        """Count the readers of another process, and keep the events that they still need."""
        until = self._link.now + self._link.lease_time
        # The position may be beyond our log: Redis has the entry, but its reply has not arrived.
        place = max(next_seq, self._memory.first_seq)
        if known := self._elsewhere.get(process):
            known.reader.next_seq, known.until = place, until
            self._memory.moved()
            return
        self._elsewhere[process] = _Elsewhere(LogReader(place), until)
        self._memory.attach(self._elsewhere[process].reader)
        self._owner.readers_elsewhere(len(self._elsewhere))
        # Entries added between its reading and this message were not announced to it.
        self._link.pipe.send(*stream.tell(process, "news", self._run_id))

    def _ask_where(self) -> None:
        """Ask the other processes to report their readers' positions as soon as they change."""
        for process in self._elsewhere:
            self._link.pipe.send(*stream.tell(process, "where", self._run_id))

    def _readers_left(self, process: str) -> None:
        """Note that a process has no reader any more."""
        if gone := self._elsewhere.pop(process, None):
            self._memory.detach(gone.reader)
            self._owner.readers_elsewhere(len(self._elsewhere))

    def look_after_readers(self, now: float) -> None:
        """Stop counting processes that have been silent for too long."""
        for process in [name for name, one in self._elsewhere.items() if one.until < now]:
            self._readers_left(process)

    def stop(self) -> None:
        """End the run as cancelled."""
        self._owner.stop()

    def confirm(self, generation: int, newest: bytes) -> None:
        """Note Redis's newest entry; see `stream.newest_of`."""
        if self.in_doubt and not self.to_mend and newest == self._newest:
            self._verified = generation

    async def look_again(self, *, gaps: bool = False) -> None:
        """Compare Redis with memory, and write the missing entries.

        That is whatever Redis lost, how a run has ended while Redis was away, and an entry of which
        nobody knows whether Redis took it: the `seq` are the same in both. Such an entry may come
        in as late as now, over a connection that we have given up; then it is looked again.

        Args:
            gaps: Whether to look for gaps too, which takes reading all of it; that is done now and
                then only.

        Raises:
            RunLogUnavailable: Redis is not there.
        """
        await self._turn()
        gaps = gaps and self._link.now - self._whole_check > self._link.lease_time
        if not (self.in_doubt or gaps):
            return
        self._settled.clear()
        try:
            if gaps:
                self._whole_check = self._link.now
            await self._reconcile(gaps=gaps)
            self._lost = None
        except RunTakenOver as taken:
            self._lose(taken)
            if not self._finished:
                self._owner.log_lost(taken)
        finally:
            self._settled.set()
        self._tell_news()

    async def _reconcile(
        self, payloads: Sequence[bytes] = (), *, last: bool = False, gaps: bool = False
    ) -> None:
        """Make Redis hold all entries in memory, and then one more if one is given.

        Raises:
            RunTakenOver: Somebody else has ended the log.
            RunLogUnavailable: Redis is not there, or refuses.
        """
        with self._attached() as reader:
            for _ in range(TRIES):
                try:
                    await self._write_missing(reader, payloads, last=last, gaps=gaps)
                    return
                except _Changed:
                    pass
        raise RunLogUnavailable("the stream in Redis changes at each check")

    @contextmanager
    def _attached(self) -> Iterator[LogReader]:
        """Keep what is in memory there."""
        reader = LogReader(self._memory.first_seq)
        self._memory.attach(reader)
        try:
            yield reader
        finally:
            self._memory.detach(reader)

    async def _write_missing(
        self, reader: LogReader, payloads: Sequence[bytes], *, last: bool, gaps: bool
    ) -> None:
        memory, run_id = self._memory, self._run_id
        generation, (newest,) = await self._link.pipe.look(stream.newest(run_id))
        restored = False
        if not newest:
            await self._restore(run_id)
            restored, entry = True, Entry(1, [], last=False)
        else:
            entry = stream.parse(newest[0])
        target = memory.next_seq + len(payloads)
        complete = entry.next_seq == target
        anew = entry.next_seq < memory.first_seq
        if entry.last:
            ours = payloads or self._newest_in_memory()
            as_ours = complete and entry.payloads[-1] == ours[-1]
            if as_ours or isinstance(self._lost, RunTakenOver):
                pass
            elif not memory.finished:
                raise RunTakenOver("another process has ended the run")
            else:  # Redis had lost our end, which readers have been told, and somebody gave it up.
                anew, complete = True, False
        elif entry.next_seq > target:
            raise RunTakenOver("another process writes the run's log")
        if gaps and not anew and not restored and await self._has_gap():
            anew, complete = True, False
        if complete or (entry.last and not anew):
            self._newest = stream.newest_is(entry.first if entry.payloads else 0, last=entry.last)
        else:
            if not restored:
                logger.warning(
                    "Redis had lost events of a run; they are written again",
                    extra={"run": run_id[:ID_SHOWN], "upto": entry.next_seq - 1},
                )
            await self._write(reader, entry.next_seq, payloads, generation, last=last, anew=anew)
        self._verified = generation
        lifetime = self._link.keep if memory.finished else self._link.lifetime
        await self._link.pipe.call(*stream.expire(run_id, lifetime))

    def _newest_in_memory(self) -> Sequence[bytes]:
        batch = self._memory.read(LogReader(self._memory.next_seq - 1))
        return batch.payloads if batch else (b"",)

    async def _restore(self, run_id: str) -> None:
        """Write the run's description and an empty stream to Redis again."""
        logger.warning("%s", LOST, extra={"run": self._run_id[:ID_SHOWN]})
        restore = stream.restore(run_id, self._about, lifetime=self._link.lifetime)
        await self._link.pipe.call(restore, *self.named)

    async def _write(
        self,
        reader: LogReader,
        first: int,
        payloads: Sequence[bytes],
        generation: int,
        *,
        last: bool,
        anew: bool,
    ) -> None:
        """Write all from `first` on; or all there is, into a stream that takes the old one's place.

        Raises:
            _Changed: Redis has something else than was seen.
        """
        memory, pipe, run_id = self._memory, self._link.pipe, self._run_id
        into, keep_from = run_id, 0
        if anew:
            into, first = stream.spare(run_id), memory.first_seq
            keep_from = first if first > 1 else 0
            await pipe.call(("UNLINK", stream.log_key(into)))
            about = stream.build(run_id, self._about, lifetime=self._link.lifetime)
            await pipe.call(about, *self.named)
        # The entries have new boundaries now, so the old trim points are invalid.
        self._marks.clear()
        self._unmarked = 0
        sent: list[asyncio.Future[Any]] = []
        reader.next_seq = first
        written = first, False
        while batch := memory.read(reader):
            ends = memory.finished and reader.next_seq == memory.next_seq
            written = batch.first, ends
            command = stream.add(into, *batch, last=ends, keep_from=keep_from)
            sent.append(pipe.send(*command, generation=generation))
            if len(sent) >= AT_ONCE:
                await self._confirmed(sent)
        if payloads and first <= memory.next_seq:
            written = memory.next_seq, last
            command = stream.add(into, memory.next_seq, payloads, last=last, keep_from=keep_from)
            sent.append(pipe.send(*command, generation=generation))
        await self._confirmed(sent)
        if anew:
            await pipe.call(stream.replace(run_id, lifetime=self._link.lifetime))
        self._newest = stream.newest_is(written[0], last=written[1])

    async def _confirmed(self, sent: list[asyncio.Future[Any]]) -> None:
        """Wait for the replies, and check that none is an error."""
        replies = await asyncio.gather(*sent)
        sent.clear()
        for reply in replies:
            if reply is None or isinstance(reply, NewConnection):
                raise _Changed
            if isinstance(reply, Exception):
                if stream.is_refusal(reply):
                    raise _Changed from reply
                raise unavailable(reply) from reply

    async def _has_gap(self) -> bool:
        """Whether Redis lacks an entry before its newest one that memory still has."""
        next_seq = 0
        while True:
            read = stream.read(self._run_id, next_seq, AT_ONCE)
            (found,) = await self._link.pipe.call(read)
            entries = [stream.parse(raw) for raw in found]
            for entry in entries:
                if entry.first > max(next_seq, self._memory.first_seq):
                    return True
                next_seq = max(next_seq, entry.next_seq)
            if len(entries) < AT_ONCE:
                return False

    def forget(self) -> None:
        """Discard the log here, and also in Redis unless other processes read it."""
        if not self._elsewhere:
            self._link.pipe.send(*stream.unlink(self._run_id))
        for process in list(self._elsewhere):
            self._readers_left(process)
        self._memory.forget()
