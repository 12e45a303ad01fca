"""What a run looks like on the wire.

A dialect turns a run's events into frames, for one reader, and does no I/O. Every frame has an id.
The last frame that an event becomes is named by the event's `seq` ("12"), and those before it are
numbered ("12.1", "12.2"): so a reader can go on from any frame, whatever the dialect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from dripline_server.run_log import Batch

# An object of JSON, as `orjson` has it.
Json = dict[str, Any]

_POSITION = re.compile(r"([0-9]{1,19})(?:\.([1-9][0-9]{0,8}))?", re.ASCII)


class Position(NamedTuple):
    """How far a reader has come.

    Attributes:
        seq: The event of the last frame that it has seen; 0 before the first.
        part: How many of that event's frames it has seen; 0 stands for all of them.
    """

    seq: int
    part: int = 0

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Return the position that an event ID names, or None where it names none."""
        found = _POSITION.fullmatch(text)
        return cls(int(found[1]), int(found[2] or 0)) if found else None

    def __str__(self) -> str:
        return f"{self.seq}.{self.part}" if self.part else str(self.seq)


class Dialect(Protocol):
    """Writes a run's events for one reader."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the response, beside those of every event stream."""
        ...

    @property
    def read_after(self) -> int:
        """The `seq` after which it has to be given the run's events."""
        ...

    def frames(self, batch: Batch) -> bytes:
        """Return the frames of these events, joined; b"" where the reader needs none of them."""
        ...
