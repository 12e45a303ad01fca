"""The run logs of a server that is one of several processes on one Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from dripline_server.run_log import LogOwner, RunExists, RunLogUnavailable
from dripline_server.run_log.memory import Budget, MemoryRunLog
from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.link import LOOKS, Link
from dripline_server.run_log.redis.mailbox import Mailbox
from dripline_server.run_log.redis.owned import RedisRunLog
from dripline_server.run_log.redis.pipe import Pipe
from dripline_server.run_log.redis.remote import RemoteRun

logger = logging.getLogger(__name__)


class RedisRunLogs:
    """The logs of a server that is one of several processes.

    Args:
        url: Redis's address: "redis://", "rediss://" or "unix://".
        max_bytes: The bound of each log.
        budget: What those of this process may hold in its memory together, and so in Redis too.
        keep_time: Seconds for which ended runs can be read.
        lease_time: Seconds after which everybody knows that a process has died.

    Raises:
        ValueError: The address cannot be.
    """

    def __init__(
        self, url: str, max_bytes: int, budget: Budget, *, keep_time: float, lease_time: float
    ) -> None:
        self._client = Redis.from_url(
            url,
            # With RESP 3, redis-py 8 does not see that a connection was closed while it was idle.
            protocol=2,
            # The pipe and the mailbox have limits of their own. Sending a command a second time,
            # after a connection broke, could add an entry that is there already. With a limit of
            # its own, redis-py 8 eats cancellations on Python 3.11.
            socket_timeout=None,
            socket_connect_timeout=lease_time / 2,
            retry=Retry(NoBackoff(), 0),
        )
        self._max_bytes = max_bytes
        self._budget = budget
        self._owned: dict[str, RedisRunLog] = {}
        # Forgotten runs that have no end in Redis, where nobody is to wait for one. They are few:
        # while Redis is away no run begins.
        self._unended: set[str] = set()
        # One of each at most, for as long as somebody reads or asks.
        self._remote: WeakValueDictionary[str, RemoteRun] = WeakValueDictionary()
        # How often in a row the lease of a process was missing.
        self._missing: Counter[str] = Counter()
        self._refreshed = -float("inf")
        process = secrets.token_hex(8)
        pipe = Pipe(self._client, lease_time / 2)
        self._link = Link(process, pipe, lease_time, keep_time)
        self._mailbox = Mailbox(
            self._client,
            stream.mailbox(process),
            patience=lease_time,
            opened=self._ask_for_stops,
            heard=self._hear,
        )
        self._task = asyncio.create_task(self._beat(), name="redis lease")

    async def create(self, run_id: str, model: str, owner: LogOwner) -> RedisRunLog:
        """See `RunLogs.create`."""
        link = self._link
        about = orjson.dumps({"model": model, "owner": link.process})
        (made,) = await link.pipe.call(
            stream.create(run_id, about, link.process, lifetime=link.lifetime, lease=link.lease)
        )
        if not made:
            raise RunExists(run_id)
        memory = MemoryRunLog(self._max_bytes, self._budget)
        log = self._owned[run_id] = RedisRunLog(run_id, memory, owner, link, self._max_bytes)
        return log

    def forget(self, run_id: str) -> None:
        """See `RunLogs.forget`."""
        log = self._owned.pop(run_id)
        if log.to_mend:
            self._unended.add(run_id)
        log.forget()

    async def find(self, run_id: str) -> RemoteRun | None:
        """See `RunLogs.find`."""
        about, there = await self._link.pipe.call(
            ("GET", stream.run_key(run_id)), ("EXISTS", stream.log_key(run_id))
        )
        if about is None or not there:
            return None
        known = orjson.loads(about)
        found = RemoteRun(run_id, known["model"], known["owner"], self._link)
        return self._remote.setdefault(run_id, found)

    async def remember(self, name: str, run_id: str, about: bytes) -> None:
        """See `RunLogs.remember`."""
        link, key = self._link, stream.name_key(name)
        if about:
            await link.pipe.call(
                ("SET", stream.about_key(run_id), about, "PX", link.lifetime),
                ("SET", key, run_id, "PX", stream.NAME_TIME),
            )
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
        """See `RunLogs.check`."""
        await self._link.pipe.call(self._renewal)

    @property
    def _renewal(self) -> stream.Command:
        return "SET", stream.lease_key(self._link.process), "", "PX", self._link.lease

    async def close(self) -> None:
        """See `RunLogs.close`."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._mailbox.close()
        self._link.pipe.send("DEL", stream.lease_key(self._link.process))
        await self._link.pipe.close()
        await self._client.aclose()

    async def _beat(self) -> None:
        """Renew the lease, and look for what no message tells."""
        while True:
            try:
                await self._tick()
            except RunLogUnavailable:
                pass  # The pipe has logged it; the readers find out when they are woken.
            except Exception:  # Without its lease the process would be taken for dead.
                logger.exception("a fault in dripline")
            for run in self._followed():
                run.wake()
            await asyncio.sleep(self._link.period)

    async def _tick(self) -> None:
        link, now = self._link, asyncio.get_running_loop().time()
        for run in self._followed():
            run.report()
        for log in self._owned.values():
            log.look_after_readers(now)
        await link.pipe.call(
            self._renewal,
            # See `Mailbox.patience`.
            stream.tell(link.process, "ping", ""),
            *self._refreshments(now),
        )
        await self._look_after_followed()
        for log in [log for log in self._owned.values() if log.to_mend]:
            await log.mend()
        for run_id in tuple(self._unended):
            await link.pipe.call(stream.unlink(run_id))
            self._unended.discard(run_id)

    def _refreshments(self, now: float) -> Iterator[stream.Command]:
        """Keep the keys of what goes on from expiring."""
        if now - self._refreshed > self._link.lifetime / 1000 / 4:
            self._refreshed = now
            for run_id, log in self._owned.items():
                if log.going_on:
                    yield from stream.expire(run_id, self._link.lifetime)

    async def _look_after_followed(self) -> None:
        """Give up the runs of the dead, and end the readers of what Redis has lost."""
        runs = self._followed()
        owners = sorted({run.owner for run in runs})
        found = await self._link.pipe.call(
            *[("EXISTS", stream.lease_key(owner)) for owner in owners],
            *[("EXISTS", stream.log_key(run.id)) for run in runs],
        )
        there = dict(zip([*owners, *(run.id for run in runs)], found, strict=True))
        self._missing = Counter({o: self._missing[o] + 1 for o in owners if not there[o]})
        for run in runs:
            if not there[run.id]:
                run.wake(gone=True)
            elif self._missing[run.owner] >= LOOKS:
                await run.give_up()

    def _followed(self) -> list[RemoteRun]:
        return [run for run in self._remote.values() if run.readers]

    def _hear(self, words: list[str]) -> None:
        """Take a message: what it is about, the run, and more."""
        verb, run_id, *rest = words
        if run := self._remote.get(run_id):
            run.hear(verb)
        if log := self._owned.get(run_id):
            log.hear(verb, *rest)

    def _ask_for_stops(self) -> None:
        """Find the runs that somebody asked to stop while the mailbox was closed."""
        for run_id, log in self._owned.items():
            if log.going_on:
                reply = self._link.pipe.send("EXISTS", stream.stop_key(run_id))
                reply.add_done_callback(_stopper(log))


def _stopper(log: RedisRunLog) -> Callable[[asyncio.Future[Any]], None]:
    def stop(reply: asyncio.Future[Any]) -> None:
        if reply.result() == 1:
            log.stop()

    return stop
