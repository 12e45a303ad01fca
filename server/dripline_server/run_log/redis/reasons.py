"""Turns Redis's refusals into messages for users."""

from __future__ import annotations

from dripline_server.run_log import RunLogUnavailable

_CLUSTER = (
    "The run log is a Redis Cluster, which dripline does not work with; use a single Redis, or one"
    " behind Redis Sentinel."
)
_LOGIN = "The run log, Redis, rejects this server's user name or password ({code})."

# The messages by the first word of Redis's reply.
_MESSAGES = {
    "NOPERM": "The run log, Redis, denies this server a right that it needs (NOPERM)."
    " The server's log names it.",
    "WRONGPASS": _LOGIN,
    "NOAUTH": _LOGIN,
    "OOM": "The run log, Redis, is out of memory (OOM). Try again later.",
    "READONLY": "The run log is a read-only Redis replica (READONLY). Try again in a moment.",
    "LOADING": "The run log, Redis, is still loading its data (LOADING). Try again in a moment.",
    "MISCONF": "The run log, Redis, refuses writes because it cannot save its data (MISCONF).",
    "NOREPLICAS": "The run log, Redis, refuses writes because it has too few replicas"
    " (NOREPLICAS).",
    "MASTERDOWN": "The run log is a Redis replica that has lost its master (MASTERDOWN).",
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
}
_OTHER = "The run log, Redis, refuses what this server asks of it ({code})."

_IN_A_SCRIPT = "user executing the script can't run this command"

# redis-py removes the first word from the replies that it knows.
_CODES = {
    "NoPermissionError": "NOPERM",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "MovedError": "MOVED",
    "AskError": "ASK",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "ClusterCrossSlotError": "CROSSSLOT",
    "AuthenticationError": "WRONGPASS",
}
LOST = (
    "The run log, Redis, has lost this chat: its data was deleted, or is that of an earlier time."
)


def code_of(error: BaseException) -> str:
    """Return the first word of Redis's error reply, for example "OOM"; "" if there is none."""
    if _IN_A_SCRIPT in str(error):
        return "NOPERM"  # Redis 7 omits the word inside scripts
    code = getattr(error, "status_code", None)
    if isinstance(code, str) and code.isupper():
        return code
    word = str(error).partition(" ")[0]
    if len(word) > 2 and word.isalpha() and word.isupper():
        return word
    return _CODES.get(type(error).__name__, "")


def words_of(error: BaseException) -> str:
    """Return Redis's own words, including the first one."""
    code, text = code_of(error), str(error)
    return text if not code or text.startswith(code) else f"{code} {text}"


def unavailable(error: BaseException) -> RunLogUnavailable:
    """Return the exception to raise for an error reply from Redis."""
    if isinstance(error, RunLogUnavailable):
        return error
    code = code_of(error)
    if not code:
        return RunLogUnavailable(words_of(error))
    message = _MESSAGES.get(code, _OTHER).format(code=code)
    return RunLogUnavailable(words_of(error), message, refused=True)
