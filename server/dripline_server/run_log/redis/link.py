"""What the logs of a process share: its name, its way to Redis, and its times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from dripline_server.run_log.redis import stream
from dripline_server.run_log.redis.pipe import Pipe
from dripline_server.run_log.redis.reasons import unavailable

# How often in a row a lease has to be missing: a Redis that has just restarted knows no lease.
LOOKS = 3
# Of the lease time: how long writers and readers wait for a Redis that has gone away.
PATIENCE = 0.75


@dataclass(frozen=True, slots=True)
class Link:
    """What the logs of a process share.

    Attributes:
        process: The process's name.
        pipe: Its way to Redis.
        lease_time: Seconds after which everybody knows that a process has died: its lease runs out
            after half of them, and the other half is for the looks that find it missing.
        keep_time: Seconds for which ended runs stay.
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
        """Seconds between two renewals, and between two looks."""
        return self.lease_time / 2 / LOOKS

    @property
    def retry(self) -> float:
        """Seconds between two tries while Redis is away."""
        return min(self.period, 0.25)

    @property
    def patience(self) -> float:
        """Seconds for which writers and readers wait for a Redis that has gone away."""
        return self.lease_time * PATIENCE

    @property
    def can_judge(self) -> bool:
        """Whether a process without a lease is dead: not just after Redis was away for us.

        Then others may not have reached it again yet, for as long as a round trip may take them.
        """
        return self.now - self.pipe.back_since >= self.lease_time / 2

    @property
    def lease(self) -> int:
        """Milliseconds after which a lease runs out."""
        return int(self.lease_time / 2 * 1000)

    @property
    def keep(self) -> int:
        """Milliseconds after which an ended run's keys go: time for those who still read it."""
        return int((self.keep_time + self.lease_time) * 1000)

    @property
    def lifetime(self) -> int:
        """Milliseconds after which the keys of a run go that nobody cares for any more."""
        return self.keep + int(4 * self.lease_time * 1000)

    async def end(self, run_id: str, first: int, payloads: Sequence[bytes]) -> bool:
        """Add the last entry of a run's log, and let its keys go in time.

        Returns False, and has done nothing, where somebody else has added what comes next.

        Raises:
            RunLogUnavailable: Whether it was added is not known.
        """
        reply = await self.pipe.send(*stream.add(run_id, first, payloads, last=True))
        if isinstance(reply, Exception):
            if stream.is_refusal(reply):
                return False
            raise unavailable(reply) from reply
        await self.pipe.call(*stream.expire(run_id, self.keep))
        return True
