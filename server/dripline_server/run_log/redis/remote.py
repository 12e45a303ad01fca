"""A run of another process: followed, stopped, and given up if that process has died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from dripline.errors import ErrorCode
from dripline_server.run_log import (
    ID_SHOWN,
    Batch,
    LogState,
    PositionGone,
    PositionUnknown,
    ReaderOvertaken,
    RunLogUnavailable,
    leave,
)
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.link import LOOKS, Link
from dripline_server.run_log.redis.stream import Entry

logger = logging.getLogger(__name__)

# Entries that a reader takes at once.
COUNT = 32


class _Reader:
    """One reader's place: the next event it is to get, and the entry in which that is."""

    __slots__ = ("entry", "news", "next_seq")

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.entry = next_seq
        self.news = asyncio.Event()

    def take(self, entry: Entry) -> list[bytes]:
        """Return what is new to the reader, and move it on."""
        if entry.first > self.next_seq:
            raise ReaderOvertaken
        new = entry.payloads[self.next_seq - entry.first :]
        self.next_seq = self.entry = entry.next_seq
        return new


class RemoteRun:
    """A run of another process.

    Args:
        run_id: Its id.
        model: Its model.
        owner: The process that runs it.
        link: This process's way to Redis.
    """

    def __init__(self, run_id: str, model: str, owner: str, link: Link) -> None:
        self.id = run_id
        self.model = model
        self.owner = owner
        self._link = link
        self._readers: set[_Reader] = set()
        # The place that the owner was told last; whether it waits for another one.
        self._told: int | None = None
        self._asked = False
        self._gone = False

    @property
    def readers(self) -> int:
        """How many readers are attached through this process."""
        return len(self._readers)

    async def log_state(self, seen: int = 0) -> LogState:
        """See `ReadableLog.state`; a run whose owner has died has ended.

        Redis has whatever a reader was given anywhere. Only where it was away, it has some of that
        when the owner has made up for it, which takes a few looks.
        """
        state, _ = await self._look()
        for _ in range(LOOKS):
            if seen <= state.last or state.finished:
                break
            await asyncio.sleep(self._link.period)
            state, _ = await self._look()
        if not state.finished and await self._owner_is_dead():
            await self.give_up()
            state, _ = await self._look()
        return state

    @asynccontextmanager
    async def follow(
        self, after: int, take: Callable[[Batch], bool] = leave
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """See `ReadableLog.follow`; `take` is offered nothing, since readers have to ask Redis."""
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
        """See `FoundRun.request_stop`. An owner that does not hear it finds the key later."""
        await self._link.pipe.call(
            ("SET", stream.stop_key(self.id), "", "PX", self._link.lifetime),
            stream.tell(self.owner, "stop", self.id),
        )

    def report(self) -> None:
        """Tell the owner how far the last of our readers is, or that there is none."""
        self._asked, self._told = False, self._place
        if self._told is None:
            message = stream.tell(self.owner, "left", self.id, self._link.process)
        else:
            message = stream.tell(self.owner, "read", self.id, self._link.process, self._told)
        self._link.pipe.send(*message)

    def hear(self, word: str) -> None:
        """Take a message from the owner: there is news, or it waits for our readers."""
        match word:
            case "news":
                self.wake()
            case "where":
                self._asked = True
                self._report_if_asked()

    def _report_if_asked(self) -> None:
        if self._asked and self._place != self._told:
            self.report()

    @property
    def _place(self) -> int | None:
        return min((reader.next_seq for reader in self._readers), default=None)

    def wake(self, *, gone: bool = False) -> None:
        """Have the readers look for news; where the log has gone they end."""
        self._gone = self._gone or gone
        for reader in self._readers:
            reader.news.set()

    async def give_up(self) -> None:
        """End the log for its owner, which has died, unless it has ended.

        Does nothing if somebody adds to the log meanwhile: another one who gives it up, or the
        owner.
        """
        state, _ = await self._look()
        ending = stream.failed_ending(ErrorCode.OWNER_LOST)
        if state.finished or not await self._link.end(self.id, state.last + 1, ending):
            return
        logger.warning(
            "run given up, because its process has died",
            extra={"run": self.id[:ID_SHOWN], "owner": self.owner},
        )
        # Should its owner live after all, it is not to go on for nothing.
        self._link.pipe.send(*stream.tell(self.owner, "stop", self.id))

    async def _owner_is_dead(self) -> bool:
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(self._link.period)
            (there,) = await self._link.pipe.call(("EXISTS", stream.lease_key(self.owner)))
            if there:
                return False
        return True

    async def _look(self, *more: stream.Command) -> tuple[LogState, list[Any]]:
        """Return where the log stands, and the replies to further commands."""
        oldest, newest, *replies = await self._link.pipe.call(
            stream.oldest(self.id), stream.newest(self.id), *more
        )
        if not newest:
            raise RunLogUnavailable("the run's log has gone")
        last = stream.parse(newest[0])
        state = LogState(stream.parse(oldest[0]).first, last.next_seq - 1, last.last)
        return state, replies

    async def _enter(self, reader: _Reader) -> None:
        """Find the entry in which the reader's next event is, or will be."""
        state, (upto, beyond) = await self._look(
            stream.newest(self.id, reader.next_seq), stream.read(self.id, reader.next_seq, 1)
        )
        if reader.next_seq > state.last + 1:
            raise PositionUnknown(state.last)
        if not upto:
            raise PositionGone(state.first)
        entry = stream.parse(upto[0])
        if beyond and entry.next_seq < reader.next_seq:
            # A Redis that lost its newest entries, and was written on to.
            raise PositionGone(stream.parse(beyond[0]).first)
        reader.entry = entry.first

    async def _batches(self, reader: _Reader) -> AsyncIterator[Batch]:
        while True:
            reader.news.clear()
            first, entries = reader.next_seq, await self._read(reader)
            if payloads := [payload for entry in entries for payload in reader.take(entry)]:
                self._report_if_asked()
                yield Batch(first, payloads)
            if entries and entries[-1].last:
                return
            if len(entries) < COUNT:
                await reader.news.wait()

    async def _read(self, reader: _Reader) -> list[Entry]:
        try:
            if self._gone:
                raise RunLogUnavailable("the run's log has gone")
            (found,) = await self._link.pipe.call(stream.read(self.id, reader.entry, COUNT))
        except RunLogUnavailable:
            return [Entry(reader.next_seq, stream.failed_ending(ErrorCode.RUN_LOG_LOST), last=True)]
        return [stream.parse(raw) for raw in found]
