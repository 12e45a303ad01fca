"""The things that all Redis logs of a process share: its name, its connection, its times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.pipe import Pipe
from dripline_server.run_log.redis.reasons import unavailable

# How many times in a row a lease has to be missing. Once is not enough: a Redis that has just
# restarted has no leases.
LOOKS = 3
# The part of the lease time that writers and readers wait for a Redis that is away.
PATIENCE = 0.75


@dataclass(frozen=True, slots=True)
class Link:
    """The things that all Redis logs of a process share.

    Attributes:
        process: The process's name.
        pipe: Its connection to Redis.
        lease_time: Seconds after which other processes know that a process has died. Its lease
            expires after half of them; the other half is for the checks that find it missing.
        keep_time: Seconds that finished runs stay.
    """

    process: str
    pipe: Pipe
    lease_time: float
    keep_time: float

    @property
    def now(self) -> float:
        """The event loop's time."""
        return asyncio.get_running_loop().time()

    @property
    def period(self) -> float:
        """Seconds between two renewals of the lease, and between two checks."""
        return self.lease_time / 2 / LOOKS

    @property
    def retry(self) -> float:
        """Seconds between two attempts while Redis is away."""
        return min(self.period, 0.25)

    @property
    def patience(self) -> float:
        """Seconds that writers and readers wait for a Redis that is away."""
        return self.lease_time * PATIENCE

    @property
    def can_judge(self) -> bool:
        """Whether a missing lease proves that a process is dead.

        It does not just after Redis was away: the other processes may not have reached it again
        yet.
        """
        return self.now - self.pipe.back_since >= self.lease_time / 2

    @property
    def lease(self) -> int:
        """Milliseconds after which a lease expires."""
        return int(self.lease_time / 2 * 1000)

    @property
    def keep(self) -> int:
        """Milliseconds after which a finished run's keys expire; readers may still need them."""
        return int((self.keep_time + self.lease_time) * 1000)

    @property
    def lifetime(self) -> int:
        """Milliseconds after which the keys of a run expire that no process renews."""
        return self.keep + int(4 * self.lease_time * 1000)

    async def end(self, run_id: str, first: int, payloads: Sequence[bytes]) -> bool:
        """Add the last entry to a run's log, and make its keys expire.

        Returns False, without any effect, if another process has added the next entry.

        Raises:
            RunLogUnavailable: It is unknown whether the entry was added.
        """
        reply = await self.pipe.send(*stream.add(run_id, first, payloads, last=True))
        if isinstance(reply, Exception):
            if stream.is_refusal(reply):
                return False
            raise unavailable(reply) from reply
        await self.pipe.call(*stream.expire(run_id, self.keep))
        return True
