"""A run's keys and entries in Redis, and the commands for them. No I/O.

A run is a stream with one entry for each append. The entry's ID is the `seq` of its first event.
Redis refuses an ID that is not above the newest one, so only one writer can add the next entry. No
other locking is needed. A process that ends the log of a dead owner adds the next entry. If the
owner is alive after all, its own next entry is refused, and so it learns that it was replaced.

After a restart from a snapshot, or a failover to a replica, Redis may lack the newest entries.
The owner writes them again, perhaps grouped into other entries. So the entry that contains a `seq`
is the newest entry that starts at or before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dripline.errors import ErrorCode
from dripline.events import End, Error, to_json

Argument = str | bytes | int
Command = tuple[Argument, ...]
# As redis-py gives one: its ID, its fields.
RawEntry = tuple[bytes, Mapping[bytes, bytes]]

# Milliseconds for which a name leads to a run: what is known of the run goes with the run.
NAME_TIME = 24 * 60 * 60 * 1000

_EVENTS, _LAST = "events", "last"

# In one step, so that no key is ever left without a time to live. The entry 0-1 holds no event: it
# makes the stream, which `add` does not. A name is given once: of two who want it, one is refused.
_CREATE = """
if redis.call('EXISTS', KEYS[1], KEYS[2]) > 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('XADD', KEYS[2], '0-1', 'created', '')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if redis.call('PEXPIRE', KEYS[3], ARGV[3]) == 0 then
  redis.call('SET', KEYS[3], '', 'PX', ARGV[3])
end
return 1
"""

# The lease's previous value shows whether Redis has lost data since then.
_RENEW = """
local said = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return said or ''
"""

_WITHDRAW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', unpack(KEYS))
"""

_UNLINK_OPEN = """
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest or newest[2][1] == 'last' then return 0 end
return redis.call('UNLINK', unpack(KEYS))
"""

# Restores a run's description; and its stream, unless there is one.
_RESTORE = """
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('XADD', KEYS[2], '0-1', 'created', '')
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 1
"""

# For each stream: the ID of its newest entry and the name of the entry's field, not its contents.
_NEWEST = """
local found = {}
for i, key in ipairs(KEYS) do
  local newest = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
  found[i] = newest and newest[1] .. ' ' .. newest[2][1] or ''
end
return found
"""

# Replaces a stream by the one that was built beside it, in one step: readers always find one.
_REPLACE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 1
"""


def run_key(run_id: str) -> str:
    """Return the key of a run's description: its model and its owner, as JSON."""
    return f"dripline:run:{run_id}"


def log_key(run_id: str) -> str:
    """Return the key of a run's stream."""
    return f"dripline:log:{run_id}"


def stop_key(run_id: str) -> str:
    """Return the key that exists once somebody has asked to stop the run."""
    return f"dripline:stop:{run_id}"


def about_key(run_id: str) -> str:
    """Return the key of the entry that clients look up by name."""
    return f"dripline:about:{run_id}"


def name_key(name: str) -> str:
    """Return the key that says which run a client's name belongs to."""
    return f"dripline:name:{name}"


# What goes when its run goes.
_KEYS = run_key, log_key, about_key


def lease_key(process: str) -> str:
    """Return the key of a process's lease; its value counts the renewals."""
    return f"dripline:lease:{process}"


def mailbox(process: str) -> str:
    """Return the channel on which a process receives messages."""
    return f"dripline:mailbox:{process}"


class Entry(NamedTuple):
    """An entry of a run's stream: events that were added together.

    Attributes:
        first: The `seq` of the first one.
        payloads: The events.
        last: Whether no entry will follow.
    """

    first: int
    payloads: list[bytes]
    last: bool

    @property
    def next_seq(self) -> int:
        """The `seq` of what follows."""
        return self.first + len(self.payloads)


def parse(raw: RawEntry) -> Entry:
    """Return the entry; the one that made the stream is an empty one at the beginning."""
    entry_id, fields = raw
    first = int(entry_id.partition(b"-")[0])
    if first == 0:
        return Entry(1, [], last=False)
    ((name, joined),) = fields.items()
    return Entry(first, joined.split(b"\n"), last=name == _LAST.encode())


def create(run_id: str, about: bytes, process: str, *, lifetime: int, lease: int) -> Command:
    """Make a run's stream, and renew its owner's lease; times are in milliseconds.

    The reply is 1, or 0 if a run with this id exists.
    """
    keys = run_key(run_id), log_key(run_id), lease_key(process)
    return "EVAL", _CREATE, len(keys), *keys, about, lifetime, lease


def renew(process: str, renewals: int, *, lease: int) -> Command:
    """Renew a process's lease; the reply is its previous value, b"" if it had expired."""
    return "EVAL", _RENEW, 1, lease_key(process), renewals, lease


def withdraw(run_id: str, about: bytes) -> Command:
    """Delete a run's keys now, unless they belong to another run with the same id."""
    return "EVAL", _WITHDRAW, len(_KEYS), *(key(run_id) for key in _KEYS), about


def unlink_open(run_id: str) -> Command:
    """Delete a run's keys now, unless its log has ended."""
    return "EVAL", _UNLINK_OPEN, len(_KEYS), *(key(run_id) for key in _KEYS)


def restore(run_id: str, about: bytes, *, lifetime: int) -> Command:
    """Put back what is known of a run, and its stream unless it is there: 1 if it was not."""
    return "EVAL", _RESTORE, 2, run_key(run_id), log_key(run_id), about, lifetime


def build(run_id: str, about: bytes, *, lifetime: int) -> Command:
    """Put back what is known of a run, and begin its stream anew, beside the one that is there."""
    keys = run_key(run_id), log_key(spare(run_id))
    return "EVAL", _RESTORE, len(keys), *keys, about, lifetime


def newest_of(run_ids: Sequence[str]) -> Command:
    """Get what `newest_is` returns for each of the streams, b"" for one that is not there."""
    return "EVAL", _NEWEST, len(run_ids), *map(log_key, run_ids)


def newest_is(first: int, *, last: bool) -> bytes:
    """Return the reply of `newest_of` if that entry is the newest; 0 is the empty entry."""
    if not first:
        return b"0-1 created"
    return f"{first}-0 {_LAST if last else _EVENTS}".encode()


def spare(run_id: str) -> str:
    """Return the key under which a run's stream is rebuilt."""
    return f"{run_id}:new"


def replace(run_id: str, *, lifetime: int) -> Command:
    """Replace a run's stream by the one that was built anew."""
    return "EVAL", _REPLACE, 2, log_key(spare(run_id)), log_key(run_id), lifetime


def add(
    run_id: str, first: int, payloads: Sequence[bytes], *, last: bool = False, keep_from: int = 0
) -> Command:
    """Add an entry, and drop those before `keep_from`.

    The reply is an error where this is not what comes next (`is_refusal`), and None where the
    stream is not there any more.
    """
    trim = ("MINID", "=", f"{keep_from}-0") if keep_from else ()
    field = _LAST if last else _EVENTS
    # One line for each event: JSON on one line contains no line feed.
    value = b"\n".join(payloads)
    return "XADD", log_key(run_id), "NOMKSTREAM", *trim, f"{first}-0", field, value


def is_refusal(error: BaseException) -> bool:
    """Whether Redis refused an entry because its ID is not above the newest one."""
    return "equal or smaller" in str(error)


def read(run_id: str, first: int, count: int) -> Command:
    """Get entries, starting with the one whose first `seq` is given."""
    return "XRANGE", log_key(run_id), f"{first}-0", "+", "COUNT", count


def oldest(run_id: str) -> Command:
    """Get the oldest entry."""
    return "XRANGE", log_key(run_id), "-", "+", "COUNT", 1


def newest(run_id: str, upto: int | None = None) -> Command:
    """Get the newest entry, or the newest of those that begin with `upto` or before."""
    start = "+" if upto is None else f"{upto}-0"
    return "XREVRANGE", log_key(run_id), start, "-", "COUNT", 1


def expire(run_id: str, milliseconds: int) -> list[Command]:
    """Make the run's keys expire after a time."""
    return [("PEXPIRE", key(run_id), milliseconds) for key in _KEYS]


def unlink(run_id: str) -> Command:
    """Delete the run's keys now."""
    return "UNLINK", *(key(run_id) for key in _KEYS)


def tell(process: str, *words: Argument) -> Command:
    """Send a message to a process; its words must not contain blanks."""
    return "PUBLISH", mailbox(process), " ".join(map(str, words))


def failed_ending(code: ErrorCode, message: str) -> list[bytes]:
    """Return the last events of a run whose owner cannot write them."""
    return [to_json(Error(code, message, code.retryable)), to_json(End("failed"))]


def owner_lost() -> list[bytes]:
    """Return the last events of a run whose owner has died."""
    message = "The server process that ran this chat has died. Ask again."
    return failed_ending(ErrorCode.OWNER_LOST, message)
