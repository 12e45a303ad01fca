"""The log that a run writes and its readers follow.

A log holds events as JSON, numbered by `seq` from 1 without gaps. It knows nothing about HTTP,
about dialects, or about the meaning of the events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# Log records show only this many characters of a run's id: whoever knows the whole id may read the
# run, and the first characters are enough to find it.
ID_SHOWN = 8


class Batch(NamedTuple):
    """Consecutive events.

    Attributes:
        first: The `seq` of the first event.
        payloads: The events, as `dripline.events.to_json` writes them.
    """

    first: int
    payloads: Sequence[bytes]


def not_now(_: Batch) -> bool:
    """Deliver nothing early: leave every batch to the iteration. See `ReadableLog.follow`."""
    return False


class PositionGone(LookupError):
    """A reader asked for events that the log has dropped.

    Attributes:
        first: The first `seq` that the log still holds.
    """

    def __init__(self, first: int) -> None:
        super().__init__(first)
        self.first = first

    def __str__(self) -> str:
        return f"the events before {self.first} have been dropped"


class PositionUnknown(LookupError):
    """A reader says that it has an event which the log never had.

    Attributes:
        last: The last `seq` that the log holds.
    """

    def __init__(self, last: int) -> None:
        super().__init__(last)
        self.last = last

    def __str__(self) -> str:
        return f"the last event is {self.last}"


class ReaderOvertaken(ConnectionError):
    """The log dropped the event that a reader needs next, so the reader's stream breaks off.

    This happens only to readers in another process, which reported their position too late.
    """


class EndedBefore(LookupError):
    """A run ended earlier than its reader has read: the log lost events, and its owner died.

    Attributes:
        payloads: The run's last events.
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
    """The log can be neither written nor read: it cannot be reached, or it refuses.

    Attributes:
        message: The message for the user.
        refused: Whether the log was reached and refused the command.
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
    """Another process considered this one dead and ended the run's log."""


class RunExists(Exception):
    """Another process has already started a run with this id."""


@dataclass(frozen=True, slots=True)
class LogState:
    """The position of a log.

    Attributes:
        first: The `seq` of the oldest event that the log still holds.
        last: The `seq` of the newest event; 0 before the first one.
        finished: Whether no event will follow.
    """

    first: int
    last: int
    finished: bool


class ReadableLog(Protocol):
    """The part of a log that readers use."""

    async def state(self, seen: int = 0) -> LogState:
        """Return the position of the log.

        Args:
            seen: The last `seq` that the reader says it has. If this process has not received that
                event yet, because the reader got it through another process, this waits for it.

        Raises:
            RunLogUnavailable: The log cannot be reached.
            EndedBefore: The run ended before the event that the reader has.
        """
        ...

    def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AbstractAsyncContextManager[AsyncIterator[Batch]]:
        """Yield every event with a `seq` above `after`, then each new one, up to the last.

        The reader stays attached until the context is left. While it is attached, the log drops
        nothing that it has not read yet. Entering and each step of the iteration are safe to
        cancel.

        Args:
            after: The `seq` of the last event that the reader has.
            deliver_now: A shortcut for a reader that has everything and waits. The log may call it
                with a new batch, inside the call that adds the batch, so that no task has to be
                woken. It returns True if it delivered the batch; the iteration then skips it. The
                iteration always yields the last events. It also raises what `deliver_now` raises.

        Raises:
            PositionGone: The log has dropped some of these events.
            PositionUnknown: `after` is beyond the newest event.
            RunLogUnavailable: The log cannot be reached. The iteration raises it too, when this
                process can no longer learn how the run continues.
            EndedBefore: See the class. The iteration raises it too.
            ReaderOvertaken: Only the iteration raises it.
        """
        ...


class RunLog(ReadableLog, Protocol):
    """The part of a log that its run uses. The run is its only writer."""

    @property
    def is_free(self) -> bool:
        """Whether `add` may be called now: no reader and no connection has to be waited for."""
        ...

    def add(self, payloads: Sequence[bytes]) -> None:
        """Add events without waiting. Call it only while `is_free`; see `append`."""
        ...

    async def append(self, payloads: Sequence[bytes]) -> None:
        """Add events, then wait until the log is within its size limit again.

        To get there the log drops its oldest events. It never drops an event that an attached
        reader still needs: it waits for the reader instead. Safe to cancel: the events are in the
        log before any wait for a reader.

        Args:
            payloads: The events, each one line of JSON.

        Raises:
            RunTakenOver: Another process has ended the run.
            RunLogUnavailable: The log cannot be reached.
        """
        ...

    async def finish(self, payloads: Sequence[bytes]) -> None:
        """Add the last events, without waiting for readers. Each reader ends after reading them.

        Readers in this process get them even if the log cannot be reached. If another process has
        taken the run over, they get that process's last events instead.
        """
        ...

    def finish_here(self, payloads: Sequence[bytes]) -> None:
        """Add the last events for the readers in this process only, after `finish` has failed."""
        ...


class LogOwner(Protocol):
    """The requests that a log passes from other processes to the run that owns it."""

    __slots__ = ()

    def stop(self) -> None:
        """End the run as cancelled."""
        ...

    def log_lost(self, because: RunLogUnavailable) -> None:
        """End the run as failed, because its log can no longer be written."""
        ...

    def readers_elsewhere(self, count: int) -> None:
        """Update how many other processes have readers attached to the run."""
        ...


class FoundRun(Protocol):
    """A run of this process or of another one.

    Attributes:
        id: The run's id.
        model: The model's name.
        request: The digest of the run's request; "" if it is not known.
        caller: The name of the caller to whom the run belongs.
    """

    __slots__ = ()

    id: str
    model: str
    request: str
    caller: str

    @property
    def readers(self) -> int:
        """How many readers are attached in this process."""
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
        """Ask the run to end as cancelled. It may end a moment later.

        Raises:
            RunLogUnavailable: The request cannot be sent to the run's owner.
        """
        ...


class RunLogs(Protocol):
    """Creates the logs of this process's runs, and finds the runs of other processes."""

    async def create(
        self, run_id: str, model: str, owner: LogOwner, request: str = "", caller: str = ""
    ) -> RunLog:
        """Create the log of a new run.

        Args:
            run_id: The run's id.
            model: The model's name.
            owner: The run, or its stand-in until it has been made.
            request: The digest of the run's request.
            caller: The name of the caller to whom the run belongs.

        Raises:
            RunExists: Another process has a run with this id.
            RunLogUnavailable: The log cannot be created.
        """
        ...

    def forget(self, run_id: str) -> None:
        """Discard the log of a finished run, so that nobody finds it any more."""
        ...

    async def find(self, run_id: str) -> FoundRun | None:
        """Return a run of another process; None if no process knows it.

        Raises:
            RunLogUnavailable: The other processes' runs cannot be looked up.
        """
        ...

    async def remember(self, name: str, run_id: str, about: bytes) -> None:
        """Store `about` under `name` for as long as the run is kept, for clients to look up.

        A later run replaces an earlier run's entry of the same name. A run's later name may replace
        its earlier one. Storing b"" removes the entry.

        Raises:
            RunLogUnavailable: The entry cannot be stored.
        """
        ...

    async def recall(self, name: str) -> bytes:
        """Return what any process stored under `name`; b"" if there is no entry.

        Raises:
            RunLogUnavailable: The entry cannot be read.
        """
        ...

    async def check(self) -> None:
        """Check that logs can be written.

        Raises:
            RunLogUnavailable: They cannot be written.
        """
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
