"""Run logs in Redis Streams: many processes behave as one.

The process that started a run owns it. It adds each entry to the run's stream first and then to a
log in its memory, which its own readers follow and which sets the pace: its bound, its waiting for
slow readers and its dropping are what Redis gets too. So nobody here has seen what cannot be read
elsewhere.

The other processes read the stream whenever the owner says that there is news. They tell the owner
where their readers are, and ask it to stop. All of that goes through one mailbox for each process.
Each process has one lease, which it renews; whose lease has run out is dead.
"""

from __future__ import annotations

from dripline_server.run_log.redis.logs import RedisRunLogs

__all__ = ["RedisRunLogs"]
