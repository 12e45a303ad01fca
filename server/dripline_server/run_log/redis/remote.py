"""A run of another process: follows it, stops it, and ends it if that process has died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from dripline_server.run_log import (
    ID_SHOWN,
    Batch,
    EndedBefore,
    LogState,
    PositionGone,
    PositionUnknown,
    ReaderOvertaken,
    RunLogUnavailable,
    not_now,
)
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.link import LOOKS, Link
from dripline_server.run_log.redis.reasons import LOST
from dripline_server.run_log.redis.stream import Entry

logger = logging.getLogger(__name__)

# How many entries a reader reads at once.
COUNT = 32


@dataclass(frozen=True, slots=True)
class About:
    """A run's description in Redis.

    Attributes:
        model: The model's name.
        owner: The process that runs it.
        request: The digest of its request.
        made: A token that tells apart two runs with one id made by the same process.
        caller: The name of the caller to whom it belongs.
    """

    model: str
    owner: str
    request: str = ""
    made: str = ""
    caller: str = ""

    def to_json(self) -> bytes:
        """Return the JSON that is stored in Redis."""
        return orjson.dumps(self)

    @classmethod
    def of_json(cls, text: bytes) -> About:
        """Parse the JSON from Redis, which another version of dripline may have written."""
        known = orjson.loads(text)
        return cls(
            known["model"],
            known["owner"],
            known.get("request", ""),
            known.get("made", ""),
            known.get("caller", ""),
        )


class _Reader:
    """The position of one reader.

    Attributes:
        next_seq: The `seq` of the next event for this reader.
        entered: The `seq` at which it started.
        news: Set when there may be something to read.
        trouble: Why Redis cannot be read at the moment; None if it can.
        since: The time when that trouble began.
    """

    __slots__ = ("entered", "news", "next_seq", "since", "trouble")

    def __init__(self, next_seq: int) -> None:
        self.next_seq = self.entered = next_seq
        self.news = asyncio.Event()
        self.trouble: RunLogUnavailable | None = None
        self.since = 0.0

    def fits(self, entries: list[Entry]) -> bool:
        """Whether the first entry contains the reader's next event."""
        return bool(entries) and entries[0].first <= self.next_seq < entries[0].next_seq

    def advance(self, entries: list[Entry]) -> list[bytes]:
        """Return the events that are new to the reader, up to a gap, and advance it."""
        new: list[bytes] = []
        for entry in entries:
            if not entry.first <= self.next_seq:
                break
            new += entry.payloads[self.next_seq - entry.first :]
            self.next_seq = max(self.next_seq, entry.next_seq)
        return new


class RemoteRun:
    """A run of another process.

    Args:
        run_id: The run's id.
        about: Its description in Redis.
        link: This process's connection to Redis.
    """

    def __init__(self, run_id: str, about: About, link: Link) -> None:
        self.id = run_id
        self.model = about.model
        self.request = about.request
        self.caller = about.caller
        self.owner = about.owner
        self._link = link
        self._readers: set[_Reader] = set()
        # The position last reported to the owner; and whether the owner waits for a newer one.
        self._reported: int | None = None
        self._asked = False
        self._gone = False
        # When the owner was last asked to check that Redis has all events.
        self._doubted = -float("inf")

    @property
    def readers(self) -> int:
        """How many readers are attached in this process."""
        return len(self._readers)

    async def log_state(self, seen: int = 0) -> LogState:
        """See `ReadableLog.state`. A run whose owner has died counts as ended.

        A reader may have events that Redis lost. After an outage the run's owner writes the missing
        entries again; this waits a few periods for that.
        """
        state, _ = await self._look()
        for _ in range(LOOKS):
            if seen <= state.last or state.finished:
                break
            self._doubt()
            await asyncio.sleep(self._link.period)
            state, _ = await self._look()
        if not state.finished and await self._owner_is_dead():
            await self.give_up()
            state, _ = await self._look()
        if state.finished and seen > state.last and await self._owner_is_dead():
            raise EndedBefore(stream.parse(await self._newest()).payloads)
        return state

    @asynccontextmanager
    async def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `ReadableLog.follow`. `deliver_now` is never called: readers have to ask Redis."""
        reader = _Reader(after + 1)
        self._readers.add(reader)
        self.report()
        try:
            await self._enter(reader)
            yield self._batches(reader)
        finally:
            self._readers.discard(reader)
            self.report()

    async def request_stop(self) -> None:
        """See `FoundRun.request_stop`. An owner that misses the message finds the key later."""
        await self._link.pipe.call(
            ("SET", stream.stop_key(self.id), "", "PX", self._link.lifetime),
            stream.tell(self.owner, "stop", self.id),
            urgent=True,
        )

    def report(self) -> None:
        """Report the position of our slowest reader to the owner, or that there are no readers."""
        self._asked, self._reported = False, self._place
        if self._reported is None:
            message = stream.tell(self.owner, "left", self.id, self._link.process)
        else:
            message = stream.tell(self.owner, "read", self.id, self._link.process, self._reported)
        self._link.pipe.send(*message)

    def hear(self, word: str) -> None:
        """Handle a message from the owner."""
        match word:
            case "news":
                self.wake()
            case "where":  # the owner waits for our readers
                self._asked = True
                self._report_if_asked()
            case "gone":  # the owner no longer knows the run
                self.wake(gone=True)

    def _report_if_asked(self) -> None:
        if self._asked and self._place != self._reported:
            self.report()

    @property
    def _place(self) -> int | None:
        return min((reader.next_seq for reader in self._readers), default=None)

    def wake(self, *, gone: bool = False) -> None:
        """Make the readers look for new events; if the owner discarded the run, they end."""
        self._gone = self._gone or gone
        for reader in self._readers:
            reader.news.set()

    async def give_up(self) -> None:
        """End the log in place of its owner, which has died, unless it has ended.

        Does nothing if another process ends the log at the same time, or if the owner still adds to
        it.
        """
        state, _ = await self._look()
        ending = stream.owner_lost()
        if state.finished or not await self._link.end(self.id, state.last + 1, ending):
            return
        logger.warning(
            "run given up, because its process has died",
            extra={"run": self.id[:ID_SHOWN], "owner": self.owner},
        )
        # If the owner is alive after all, it should not generate for nobody.
        self._link.pipe.send(*stream.tell(self.owner, "stop", self.id))
        self.wake()

    async def _owner_is_dead(self) -> bool:
        """Whether the owner repeatedly has no lease while this process has one.

        A Redis that refuses writes lets every lease expire, ours too. Then nobody counts as dead.
        """
        owner, own = stream.lease_key(self.owner), stream.lease_key(self._link.process)
        for look in range(LOOKS):
            if not self._link.can_judge:
                return False
            if look:
                await asyncio.sleep(self._link.period)
            there, we = await self._link.pipe.call(("EXISTS", owner), ("EXISTS", own))
            if there or not we:
                return False
        return True

    def _doubt(self) -> None:
        """Ask the owner to check that Redis has all of the run."""
        if self._link.now - self._doubted > self._link.period:
            self._doubted = self._link.now
            message = stream.tell(self.owner, "audit", self.id, self._link.process)
            self._link.pipe.send(*message)

    async def _look(self, *more: stream.Command) -> tuple[LogState, list[Any]]:
        """Return the position of the log, and the replies to further commands."""
        oldest, newest, *replies = await self._link.pipe.call(
            stream.oldest(self.id), stream.newest(self.id), *more
        )
        if not newest:
            raise RunLogUnavailable("the run's log no longer exists", LOST)
        last = stream.parse(newest[0])
        state = LogState(stream.parse(oldest[0]).first, last.next_seq - 1, last.last)
        return state, replies

    async def _enter(self, reader: _Reader) -> None:
        """Check that the reader's next event is in the log or may still come."""
        place = reader.next_seq
        state, (upto, beyond) = await self._look(
            stream.newest(self.id, place), stream.read(self.id, place, 1)
        )
        entries = [stream.parse(raw) for raw in (*upto, *beyond)]
        if place > state.last + 1:
            if state.finished and await self._owner_is_dead():
                raise EndedBefore(stream.parse(await self._newest()).payloads)
            raise PositionUnknown(state.last)
        if not upto:
            raise PositionGone(state.first)
        if beyond and not any(entry.first <= place < entry.next_seq for entry in entries):
            # Redis lost entries in the middle; the owner may write them again.
            self._doubt()
            raise PositionGone(stream.parse(beyond[0]).first)

    async def _newest(self) -> stream.RawEntry:
        (found,) = await self._link.pipe.call(stream.newest(self.id))
        if not found:
            raise RunLogUnavailable("the run's log no longer exists", LOST)
        newest: stream.RawEntry = found[0]
        return newest

    async def _batches(self, reader: _Reader) -> AsyncIterator[Batch]:
        while True:
            reader.news.clear()
            first, entries = reader.next_seq, await self._read(reader)
            if payloads := reader.advance(entries):
                self._report_if_asked()
                yield Batch(first, payloads)
            if entries and entries[-1].last and reader.next_seq == entries[-1].next_seq:
                return
            if not payloads or len(entries) < COUNT:
                await reader.news.wait()

    async def _read(self, reader: _Reader) -> list[Entry]:
        """Return the entries that start with the reader's next event.

        Returns no entries if the reader has everything. Returns none either while Redis is away or
        lacks entries that the owner may still write again.

        Raises:
            RunLogUnavailable: Redis was away for too long.
            EndedBefore, ReaderOvertaken: See the classes.
        """
        try:
            entries = await self._entries(reader)
        except RunLogUnavailable as error:
            if reader.trouble is None:
                reader.trouble = error
                reader.since = self._link.pipe.away_since or self._link.now
            if self._gone or self._link.now - reader.since >= self._link.patience:
                raise
            return []
        reader.trouble = None
        return entries

    async def _entries(self, reader: _Reader) -> list[Entry]:
        call, place = self._link.pipe.call, reader.next_seq
        (found,) = await call(stream.read(self.id, place, COUNT))
        entries = [stream.parse(raw) for raw in found]
        if reader.fits(entries):
            return entries
        # One of three: there is nothing new; an entry that starts earlier contains the next event,
        # because the log was written again; or Redis lost entries.
        upto, oldest = await call(stream.newest(self.id, place), stream.oldest(self.id))
        if not oldest:
            self._doubt()
            raise RunLogUnavailable("the run's log no longer exists", LOST)
        if not upto:
            raise ReaderOvertaken
        holder = stream.parse(upto[0])
        if holder.next_seq > place:
            return [holder, *entries]
        if holder.last:
            if holder.next_seq == place == reader.entered:
                return [holder]  # the reader came with all events
            if not await self._owner_is_dead():
                self._doubt()
                raise RunLogUnavailable("the run's log lacks its end", LOST)
            raise EndedBefore(holder.payloads)
        if entries or holder.next_seq < place:
            self._doubt()
            raise RunLogUnavailable("the run's log has a gap", LOST)
        if self._gone:
            raise RunLogUnavailable("the run's process no longer knows it", LOST)
        return []
