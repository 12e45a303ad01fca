"""The places for what a model generates: how much may go on at once, in all and for each caller."""

from __future__ import annotations

from collections import Counter

from dripline.errors import ErrorCode
from dripline_server.callers import Caller


class RegistryFull(Exception):
    """The server accepts no new run at the moment; `str()` says why.

    Attributes:
        code: The reason: SERVER_FULL, SERVER_SHUTDOWN, or TOO_MANY_RUNS of this caller.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Places:
    """The places of this process.

    Args:
        limit: How many there are (`--max-runs`).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Only callers who have a place, so that it does not grow with the names that there were.
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken.total()

    def take(self, caller: Caller) -> None:
        """Take a place for a caller, until `release`.

        Raises:
            RegistryFull: All places are taken, or all that this caller may have.
        """
        if self.taken >= self._limit:
            raise RegistryFull(
                ErrorCode.SERVER_FULL,
                f"{self.taken} chats are running, the most allowed (--max-runs). Try again later.",
            )
        own = self._taken[caller.name]
        if caller.max_runs is not None and own >= caller.max_runs:
            raise RegistryFull(
                ErrorCode.TOO_MANY_RUNS,
                f"{caller.name} has {own} chats running, the most allowed for this token"
                " (max_runs). Try again when one has ended.",
            )
        self._taken[caller.name] += 1

    def release(self, name: str) -> None:
        """Give back a place of the caller with this name."""
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]
