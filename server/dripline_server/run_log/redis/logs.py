"""The run logs of a server that is one of several processes on one Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from dripline_server.run_log import LogOwner, RunExists, RunLogUnavailable
from dripline_server.run_log.memory import Budget, MemoryRunLog
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.connect import connect
from dripline_server.run_log.redis.link import LOOKS, Link
from dripline_server.run_log.redis.mailbox import Mailbox
from dripline_server.run_log.redis.owned import RedisRunLog
from dripline_server.run_log.redis.pipe import Pipe
from dripline_server.run_log.redis.reasons import LOST, unavailable
from dripline_server.run_log.redis.remote import About, RemoteRun

logger = logging.getLogger(__name__)

# How many logs' newest entries are requested from Redis at once.
AT_ONCE = 64
MAX_TO_DROP = 1000


class RedisRunLogs:
    """The logs of a server that is one of several processes.

    Args:
        url: Redis's address; see `dripline_server.run_log.redis.connect`.
        max_bytes: The size limit of each log.
        budget: The memory that the logs of this process share, and so their size in Redis too.
        keep_time: Seconds that finished runs can be read.
        lease_time: Seconds after which other processes know that a process has died.

    Raises:
        ValueError: The address is invalid.
    """

    def __init__(
        self, url: str, max_bytes: int, budget: Budget, *, keep_time: float, lease_time: float
    ) -> None:
        self._way = connect(url, lease_time / 2)
        self._max_bytes = max_bytes
        self._budget = budget
        self._owned: dict[str, RedisRunLog] = {}
        # Commands that delete keys once Redis is back. Limited, because the keys expire anyway.
        self._to_drop: dict[str, stream.Command] = {}
        # At most one for each run, while somebody reads it or asks for it.
        self._remote: WeakValueDictionary[str, RemoteRun] = WeakValueDictionary()
        # How many times in a row each process's lease was missing.
        self._missing: Counter[str] = Counter()
        self._refreshed = -float("inf")
        # The lease's value: how often it was renewed. If Redis has another value, it has lost data,
        # even if no connection broke.
        self._renewals = 0
        # When Redis was last seen to have lost data.
        self._lost_at = -float("inf")
        # Set when Redis may have lost data; and the runs of which a reader misses entries.
        self._doubt = asyncio.Event()
        self._doubted: set[str] = set()
        self._hurry = asyncio.Event()
        process = secrets.token_hex(8)
        pipe = Pipe(self._way.client, lease_time / 2, self._doubt.set)
        self._link = Link(process, pipe, lease_time, keep_time)
        self._mailbox = Mailbox(
            self._way.client,
            stream.mailbox(process),
            patience=lease_time,
            opened=self._ask_for_stops,
            closed=self._hurry.set,
            heard=self._hear,
        )
        self._tasks = (
            asyncio.create_task(self._beat(), name="redis lease"),
            asyncio.create_task(self._look_again(), name="redis look"),
        )

    async def create(
        self, run_id: str, model: str, owner: LogOwner, request: str = "", caller: str = ""
    ) -> RedisRunLog:
        """See `RunLogs.create`."""
        link = self._link
        about = About(model, link.process, request, secrets.token_hex(4), caller).to_json()
        try:
            generation, (made,) = await link.pipe.look(
                stream.create(
                    run_id,
                    about,
                    link.process,
                    lifetime=link.lifetime,
                    lease=link.lease,
                )
            )
        except BaseException:
            # Redis may have created it all the same; then nobody must find it.
            self._drop(run_id, stream.withdraw(run_id, about))
            raise
        if not made:
            raise RunExists(run_id)
        memory = MemoryRunLog(self._max_bytes, self._budget)
        log = self._owned[run_id] = RedisRunLog(
            run_id, memory, owner, link, self._max_bytes, about=about, generation=generation
        )
        return log

    def forget(self, run_id: str) -> None:
        """See `RunLogs.forget`."""
        log = self._owned.pop(run_id)
        if log.to_mend:
            # Without an end in Redis, readers would wait for it.
            self._drop(run_id, stream.unlink(run_id))
        log.forget()

    def _drop(self, run_id: str, command: stream.Command) -> None:
        self._to_drop[run_id] = command
        if len(self._to_drop) > MAX_TO_DROP:
            del self._to_drop[next(iter(self._to_drop))]
        self._hurry.set()

    async def find(self, run_id: str) -> RemoteRun | None:
        """See `RunLogs.find`."""
        link = self._link
        text, there, lease = await link.pipe.call(
            ("GET", stream.run_key(run_id)),
            ("EXISTS", stream.log_key(run_id)),
            ("EXISTS", stream.lease_key(link.process)),
        )
        if text is None or not there:
            if not lease or link.now - self._lost_at < link.lease_time:
                # Redis may have lost it, and its process may be about to write it again.
                raise RunLogUnavailable("Redis has lost what it had", LOST)
            return None
        about = About.of_json(text)
        if about.owner == self._link.process:
            return None  # a remnant of a run that we have discarded
        return self._remote.setdefault(run_id, RemoteRun(run_id, about, self._link))

    async def remember(self, name: str, run_id: str, about: bytes) -> None:
        """See `RunLogs.remember`."""
        link, key = self._link, stream.name_key(name)
        if about:
            named: Sequence[stream.Command] = (
                ("SET", stream.about_key(run_id), about, "PX", link.lifetime),
                ("SET", key, run_id, "PX", stream.NAME_TIME),
            )
            if log := self._owned.get(run_id):
                log.named = named
            await link.pipe.call(*named)
        else:
            await link.pipe.call(("UNLINK", key))

    async def recall(self, name: str) -> bytes:
        """See `RunLogs.recall`."""
        (run_id,) = await self._link.pipe.call(("GET", stream.name_key(name)))
        if run_id is None:
            return b""
        (about,) = await self._link.pipe.call(("GET", stream.about_key(run_id.decode())))
        return bytes(about or b"")

    async def check(self) -> None:
        """See `RunLogs.check`: tries everything that a run needs, on a run that nobody finds."""
        link = self._link
        probe = f"probe:{link.process}:{secrets.token_hex(4)}"
        about = About("", link.process).to_json()
        if self._mailbox.refused:
            raise unavailable(self._mailbox.refused)
        # Scripts come last: if a right is missing, a plain command names it better.
        await link.pipe.call(
            ("SET", stream.stop_key(probe), "", "PX", link.lease),
            ("GET", stream.run_key(probe)),
            ("EXISTS", stream.lease_key(link.process)),
            stream.add(probe, 1, [b"{}"], keep_from=1),
            stream.newest(probe),
            stream.read(probe, 1, 1),
            *stream.expire(probe, link.lease),
            stream.tell(link.process, "ping", ""),
            stream.create(
                probe,
                about,
                link.process,
                lifetime=link.lease,
                lease=link.lease,
            ),
            stream.newest_of([probe]),
            stream.build(probe, about, lifetime=link.lease),
            stream.replace(probe, lifetime=link.lease),
            stream.unlink(probe),
            ("UNLINK", stream.stop_key(probe)),
            urgent=True,
        )

    async def close(self) -> None:
        """See `RunLogs.close`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._mailbox.close()
        self._link.pipe.send("UNLINK", stream.lease_key(self._link.process))
        await self._link.pipe.close()
        await self._way.close()

    async def _beat(self) -> None:
        """Renew the lease, and check for changes that no message announces."""
        link = self._link
        while True:
            self._hurry.clear()
            try:
                await self._tick()
            except RunLogUnavailable:
                pass  # The pipe has logged it; the readers notice when they are woken.
            except Exception:  # Without its lease the process would count as dead.
                logger.exception("a fault in dripline")
            for run in self._followed():
                run.wake()
            wait = link.retry if link.pipe.away_since else link.period
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._hurry.wait()
                    await asyncio.sleep(link.retry / 5)  # for others that retry at the same time

    async def _tick(self) -> None:
        link, now = self._link, asyncio.get_running_loop().time()
        for run in self._followed():
            run.report()
        for log in self._owned.values():
            log.look_after_readers(now)
        expected, self._renewals = self._renewals, self._renewals + 1
        renewal = stream.renew(link.process, self._renewals, lease=link.lease)
        # See `Mailbox.patience`.
        ping = stream.tell(link.process, "ping", "")
        said, _ = await link.pipe.call(renewal, ping, urgent=True)
        if said != b"%d" % expected:
            if expected:
                self._lost_at = link.now
            link.pipe.doubt()
        elif any(log.in_doubt for log in self._owned.values()):
            self._doubt.set()
        if refreshments := list(self._refreshments(now)):
            await link.pipe.call(*refreshments)
        await self._look_after_followed()
        while self._to_drop:
            run_id, command = next(iter(self._to_drop.items()))
            await link.pipe.call(command)
            if self._to_drop.get(run_id) is command:
                del self._to_drop[run_id]

    def _refreshments(self, now: float) -> Iterator[stream.Command]:
        """Keep the keys of active runs from expiring."""
        if now - self._refreshed > self._link.lifetime / 1000 / 4:
            self._refreshed = now
            for run_id, log in self._owned.items():
                if log.going_on:
                    yield from stream.expire(run_id, self._link.lifetime)

    async def _look_again(self) -> None:
        """Check that Redis still has all confirmed entries, whenever it may have lost some."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                await self._compare()
            except RunLogUnavailable:
                pass  # The next beat checks again.
            except Exception:
                logger.exception("a fault in dripline")

    async def _compare(self) -> None:
        """Compare each log of this process with Redis."""
        doubted, self._doubted = self._doubted, set()
        in_doubt = [run_id for run_id, log in self._owned.items() if log.in_doubt]
        for start in range(0, len(in_doubt), AT_ONCE):
            some = in_doubt[start : start + AT_ONCE]
            generation, (newest,) = await self._link.pipe.look(stream.newest_of(some))
            for run_id, one in zip(some, newest, strict=True):
                if log := self._owned.get(run_id):
                    log.confirm(generation, one)
        for run_id in (*in_doubt, *doubted):
            if log := self._owned.get(run_id):
                await log.look_again(gaps=run_id in doubted)

    async def _look_after_followed(self) -> None:
        """End the runs of dead processes as failed."""
        if not self._link.can_judge:
            self._missing.clear()
            return
        runs = self._followed()
        owners = sorted({run.owner for run in runs})
        found = await self._link.pipe.call(
            *[("EXISTS", stream.lease_key(owner)) for owner in owners]
        )
        there = dict(zip(owners, found, strict=True))
        self._missing = Counter({o: self._missing[o] + 1 for o in owners if not there[o]})
        for run in runs:
            if self._missing[run.owner] >= LOOKS:
                with suppress(RunLogUnavailable):  # its log may have gone
                    await run.give_up()

    def _followed(self) -> list[RemoteRun]:
        return [run for run in self._remote.values() if run.readers]

    def _hear(self, words: list[str]) -> None:
        """Handle a message: its kind, the run, and further words."""
        verb, run_id, *rest = words
        if run := self._remote.get(run_id):
            run.hear(verb)
        log = self._owned.get(run_id)
        if verb in ("read", "audit") and log is None:
            self._forgotten(run_id, rest[0])
        elif verb == "audit":
            self._doubted.add(run_id)
            self._doubt.set()
        elif log:
            log.hear(verb, *rest)

    def _forgotten(self, run_id: str, process: str) -> None:
        """Inform readers in other processes that we discarded a run and Redis has lost it."""
        self._link.pipe.send(*stream.unlink_open(run_id))
        self._link.pipe.send(*stream.tell(process, "gone", run_id))

    def _ask_for_stops(self) -> None:
        """Stop the runs for which a stop request arrived while the mailbox was closed."""
        for run_id, log in self._owned.items():
            if log.going_on:
                reply = self._link.pipe.send("EXISTS", stream.stop_key(run_id), urgent=True)
                reply.add_done_callback(_stopper(log))


def _stopper(log: RedisRunLog) -> Callable[[asyncio.Future[Any]], None]:
    def stop(reply: asyncio.Future[Any]) -> None:
        if reply.result() == 1:
            log.stop()

    return stop
