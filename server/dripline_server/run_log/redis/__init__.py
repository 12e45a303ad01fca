"""Run logs in Redis Streams: many processes behave as one.

The process that started a run owns it. It adds each entry first to the run's stream in Redis, and
then to a log in its memory, which its own readers follow. So no reader sees an event that other
processes cannot read. The log in memory sets the pace: its size limit, its waiting for slow readers
and its dropping of events apply to Redis as well.

The other processes read the stream whenever the owner announces news. They report their readers'
positions to the owner, and ask it to stop runs. All of these messages go through one mailbox for
each process. Each process has one lease, which it renews. A process whose lease has expired counts
as dead.
"""

from __future__ import annotations

from dripline_server.run_log.redis.logs import RedisRunLogs

__all__ = ["RedisRunLogs"]
