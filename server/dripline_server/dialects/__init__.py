"""Dialects: the formats in which a run's events are sent.

A dialect turns a run's events into frames for one reader, without I/O. Every frame has an id. If an
event becomes several frames, the last one has the event's `seq` as its id ("12"), and those before
it are numbered ("12.1", "12.2"). So a reader can resume after any frame, in every dialect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from dripline_server.run_log import Batch

# A JSON object, as `orjson` returns it.
Json = dict[str, Any]

_POSITION = re.compile(r"([0-9]{1,19})(?:\.([1-9][0-9]{0,8}))?", re.ASCII)


class Position(NamedTuple):
    """The position of a reader.

    Attributes:
        seq: The event of the last frame that the reader has; 0 before the first.
        part: How many of that event's frames it has; 0 stands for all of them.
    """

    seq: int
    part: int = 0

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Parse an event ID; return None if it is no position."""
        found = _POSITION.fullmatch(text)
        return cls(int(found[1]), int(found[2] or 0)) if found else None

    def __str__(self) -> str:
        return f"{self.seq}.{self.part}" if self.part else str(self.seq)


class Dialect(Protocol):
    """Writes a run's events for one reader."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the response, besides those of every event stream."""
        ...

    @property
    def read_after(self) -> int:
        """The `seq` after which the dialect needs the run's events."""
        ...

    def frames(self, batch: Batch) -> bytes:
        """Return the frames of these events, joined; b"" if the reader needs none of them."""
        ...
