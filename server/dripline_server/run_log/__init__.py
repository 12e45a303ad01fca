"""The log that a run writes and its readers follow.

A log holds events in their JSON form, numbered by `seq` from 1 without a gap. It knows nothing of
HTTP, of dialects, or of what the events mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# What is logged of a run's id: knowing it is the right to read the run, and this finds it again.
ID_SHOWN = 8


class Batch(NamedTuple):
    """Events that follow each other.

    Attributes:
        first: The `seq` of the first one.
        payloads: The events, as `dripline.events.to_json` writes them.
    """

    first: int
    payloads: Sequence[bytes]


def not_now(_: Batch) -> bool:
    """Deliver nothing before the iteration gives it; see `ReadableLog.follow`."""
    return False


class PositionGone(LookupError):
    """A reader asked for events that the log has dropped.

    Attributes:
        first: The first `seq` that is still there.
    """

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first

    def __str__(self) -> str:
        return f"the events before {self.first} have been dropped"


class PositionUnknown(LookupError):
    """A reader asked for what comes after an event that the log has never had.

    Attributes:
        last: The last `seq` that is there.
    """

    def __init__(self, last: int) -> None:
        super().__init__(last)
        self.last = last

    def __str__(self) -> str:
        return f"the last event is {self.last}"


class ReaderOvertaken(ConnectionError):
    """What a reader was to get next has been dropped, so its stream has to break off.

    Only where a log is read from another process, which could not say in time what it needs.
    """


class EndedBefore(LookupError):
    """A run has ended before what its reader has: the log has lost events, and its owner died.

    Attributes:
        payloads: The last events.
    """

    def __init__(self, payloads: Sequence[bytes]) -> None:
        super().__init__()
        self.payloads = payloads

    def __str__(self) -> str:
        return (
            "The run log has lost events that this reader has: the process that ran the chat has"
            " died, and Redis has an earlier state. Ask again."
        )


class RunLogUnavailable(ConnectionError):
    """The log cannot be reached or refuses, so nothing can be written to it or read from it.

    Attributes:
        message: What people are told.
        refused: Whether the log was reached, and refused.
    """

    def __init__(
        self,
        reason: str,
        message: str = "The run log, Redis, cannot be reached. Try again later.",
        *,
        refused: bool = False,
    ) -> None:
        super().__init__(reason)
        self.message = message
        self.refused = refused


class RunTakenOver(RunLogUnavailable):
    """Another process took this one for dead, and has ended the run's log."""


class RunExists(Exception):
    """Another process has begun a run of that id."""


@dataclass(frozen=True, slots=True)
class LogState:
    """Where a log stands.

    Attributes:
        first: The `seq` of the oldest event that is still there.
        last: The `seq` of the newest event; 0 before the first.
        finished: Whether that is the last one.
    """

    first: int
    last: int
    finished: bool


class ReadableLog(Protocol):
    """What a reader needs of a log."""

    async def state(self, seen: int = 0) -> LogState:
        """Return where the log stands.

        Args:
            seen: What a reader says that it has. It may have got that from another process before
                this one knows; then this waits for it.

        Raises:
            RunLogUnavailable: The log cannot be reached.
            EndedBefore: The run has ended, and will never have had what the reader has.
        """
        ...

    def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Give every event with a `seq` beyond `after`, then those to come, to the last.

        The reader counts as attached until the context is left: nothing that it has yet to take
        is dropped. Entering, and each step of the iteration, are safe to cancel.

        Args:
            after: The `seq` of the last event that the reader has.
            deliver_now: May be called with what comes while the iteration waits, in the midst of
                what adds it to the log, so that no task has to be woken. True says that it has
                delivered the batch: the iteration does not give it. The last events are always
                given. What it raises is raised by the iteration.

        Raises:
            PositionGone: Such events have been dropped already.
            PositionUnknown: `after` is beyond the newest event.
            RunLogUnavailable: The log cannot be reached; also from the iteration, where this
                process cannot know any more how the run goes on.
            EndedBefore: See there; also from the iteration.
            ReaderOvertaken: From the iteration.
        """
        ...


class RunLog(ReadableLog, Protocol):
    """What a run, its only writer, needs of its log."""

    @property
    def is_free(self) -> bool:
        """Whether events can be added without waiting for anything."""
        ...

    def add(self, payloads: Sequence[bytes]) -> None:
        """Add events at once; only while `is_free`. See `append`."""
        ...

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Add events, and wait until the log is within its bound again.

        It drops its oldest events for that, but none that an attached reader has yet to take: it
        waits for the reader. Safe to cancel: what is added is added before it waits for readers.

        Args:
            payloads: Each is one line of JSON.

        Raises:
            RunTakenOver: The run has been ended by another process.
            RunLogUnavailable: The log cannot be reached.
        """
        ...

    async def finish(self, payloads: Sequence[bytes]) -> None:
        """Add the last events; every reader ends once it has taken them. Waits for no reader.

        Readers of this process get them even when the log cannot be reached any more. Where the
        run has been taken over, they get what ended it instead.
        """
        ...

    def finish_here(self, payloads: Sequence[bytes]) -> None:
        """Add the last events for the readers of this process, where `finish` has raised."""
        ...


class LogOwner(Protocol):
    """What a log may ask of the run that owns it, on behalf of other processes."""

    __slots__ = ()

    def stop(self) -> None:
        """End the run as cancelled."""
        ...

    def log_lost(self, because: RunLogUnavailable) -> None:
        """End the run as failed: its log cannot be written any more."""
        ...

    def readers_elsewhere(self, count: int) -> None:
        """Hear how many processes have readers attached."""
        ...


class FoundRun(Protocol):
    """A run that was found: one of this process or of another.

    Attributes:
        id: Its id.
        model: The model's name.
        request: The digest of what it was asked to do; "" where that is not known.
    """

    __slots__ = ()

    id: str
    model: str
    request: str

    @property
    def readers(self) -> int:
        """How many readers are attached through this process."""
        ...

    async def log_state(self, seen: int = 0) -> LogState:
        """See `ReadableLog.state`."""
        ...

    def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """See `ReadableLog.follow`."""
        ...

    async def request_stop(self) -> None:
        """Have it end as cancelled; it may take a moment.

        Raises:
            RunLogUnavailable: Its owner cannot be told.
        """
        ...


class RunLogs(Protocol):
    """Makes the logs of this process's runs, and finds those of the other processes."""

    async def create(self, run_id: str, model: str, owner: LogOwner, request: str = "") -> RunLog:
        """Make the log of a new run; `request` is the digest of what it is to do.

        Raises:
            RunExists: Another process has made one of that id.
            RunLogUnavailable: It cannot be made.
        """
        ...

    def forget(self, run_id: str) -> None:
        """Let go of an ended run's log: nobody is to find it any more."""
        ...

    async def find(self, run_id: str) -> FoundRun | None:
        """Return a run of another process, or None where no process knows it.

        Raises:
            RunLogUnavailable: It cannot be known.
        """
        ...

    async def remember(self, name: str, run_id: str, about: bytes) -> None:
        """Keep what a client is to find by `name`, for as long as the run is there.

        A later run's takes the place of an earlier one's, and a run's later name may take the place
        of its earlier one; b"" stands for nothing.

        Raises:
            RunLogUnavailable: It cannot be kept.
        """
        ...

    async def recall(self, name: str) -> bytes:
        """Return what `name` stands for, in whatever process it was said; b"" for nothing.

        Raises:
            RunLogUnavailable: It cannot be known.
        """
        ...

    async def check(self) -> None:
        """Do nothing if logs can be written.

        Raises:
            RunLogUnavailable: They cannot.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
