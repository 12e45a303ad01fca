r"""Recordings: the bytes of a stream in the pieces in which they were read, with their times.

A recording is a JSON Lines file, made to be read and reviewed by people, and to be appended to
while the stream goes on::

    {"format":"dripline recording","version":1}
    {"at":0,"request":{"method":"POST","url":"http://...","headers":[["Accept","*/*"]],"text":""}}
    {"at":0.012,"response":{"status":200,"headers":[["Content-Type","text/event-stream"]]}}
    {"at":0.105,"text":"id: 1\ndata: "}
    {"at":0.106,"base64":"R3LD"}
    {"at":0.201,"end":"eof"}

`at` is in seconds since the file was begun. A piece is `text` where its bytes are UTF-8 and else,
for example where it ends inside a character, `base64`. Characters that do not print are escaped.
A file without its `end` line is the recording of a stream whose recorder died: it is unfinished.

One file holds any number of exchanges, such as the rounds of an agent, or a client that comes back
after a lost connection. Their lines are mixed as they came, and all but those of the first carry a
name: `"part":"2"`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Self

from dripline.bounded_read import MIB, read_file
from dripline.errors import DriplineError
from dripline.http.redaction import Redaction
from dripline.recordings.exchange import Exchange, ExchangeEnding, Piece, Request, Response
from dripline.recordings.lines import (
    FIRST_PART,
    FORMAT,
    Head,
    LineReader,
    NotAnObject,
    end_line,
    first_line,
    piece_line,
    request_line,
    response_line,
)
from dripline.recordings.splits import SplitPlan
from dripline.recordings.writer import open_private

__all__ = [
    "BadRecording",
    "Exchange",
    "ExchangeEnding",
    "Piece",
    "Recording",
    "Request",
    "Response",
    "load_parts",
    "parse",
]

# Of a file; a day of tokens, 20 a second, takes 200 MiB.
MAX_SIZE = 512 * MIB


class BadRecording(DriplineError, ValueError):
    """A file is not a recording, or not a right one.

    Attributes:
        name: The file.
        line: The line that is wrong, from 1; 0 where the fault is in none.
        problem: What is wrong with it.
    """

    def __init__(self, name: str, line: int, problem: str) -> None:
        super().__init__(name, line, problem)
        self.name = name
        self.line = line
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.name}{f', line {self.line}' if self.line else ''}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Recording:
    """Exchanges over HTTP, in the order in which they began; most often there is one.

    `request`, `response`, `pieces`, `chunks`, `body`, `ending` and `duration` are those of the only
    exchange; where there are several, they raise `ValueError`.

    Attributes:
        exchanges: What was asked, and what came of it.
        about: What it shows and where it comes from, in words.
        by_hand: Whether a person wrote it, rather than a recorder.
        date: The time of day when it was begun, as ISO 8601; "" where that does not matter.
    """

    exchanges: Sequence[Exchange] = ()
    about: str = ""
    by_hand: bool = False
    date: str = ""

    @property
    def exchange(self) -> Exchange:
        """The only exchange.

        Raises:
            ValueError: There are several, or none.
        """
        if len(self.exchanges) != 1:
            held = f"{len(self.exchanges)} exchanges" if self.exchanges else "no exchange"
            raise ValueError(f"the recording holds {held}: choose one of `recording.exchanges`")
        return self.exchanges[0]

    @property
    def request(self) -> Request:
        """What was asked."""
        return self.exchange.request

    @property
    def response(self) -> Response | None:
        """How the answer began; None where none came."""
        return self.exchange.response

    @property
    def pieces(self) -> Sequence[Piece]:
        """The body, as it was read."""
        return self.exchange.pieces

    @property
    def chunks(self) -> list[bytes]:
        """The pieces without their times."""
        return self.exchange.chunks

    @property
    def body(self) -> bytes:
        """All that came of the body."""
        return self.exchange.body

    @property
    def ending(self) -> ExchangeEnding:
        """How it ended."""
        return self.exchange.ending

    @property
    def duration(self) -> float:
        """Seconds from the request to the end, or to the last thing that came."""
        return self.exchange.duration

    def split(self, plan: SplitPlan) -> Self:
        """Return the same recording with its bodies cut in another way; see `Exchange.split`."""
        return replace(self, exchanges=tuple(exchange.split(plan) for exchange in self.exchanges))

    def followed_by(self, other: Recording) -> Self:
        """Return a recording of these exchanges and then, after them, the other's."""
        last = max((exchange.last_time for exchange in self.exchanges), default=0.0)
        added = (replace(exchange.later(last), part="") for exchange in other.exchanges)
        return replace(self, exchanges=(*self.exchanges, *added))

    def redacted(self, redaction: Redaction) -> Self:
        """Return the recording as a file with this redaction has it."""
        return replace(
            self, exchanges=tuple(exchange.redacted(redaction) for exchange in self.exchanges)
        )

    def save(
        self, path: str | Path, *, overwrite: bool = False, redaction: Redaction | None = None
    ) -> None:
        """Write a file that only its owner may read; secrets stay out of it.

        Raises:
            FileExistsError: There is one, and `overwrite` is not set.
            OSError: It cannot be written.
        """
        clean = self.redacted(redaction or Redaction())
        with os.fdopen(open_private(path, overwrite=overwrite), "wb") as file:
            file.writelines(clean._lines())

    def _lines(self) -> Iterator[bytes]:
        yield first_line(Head(self.about, self.by_hand, self.date))
        timed = []
        for name, exchange in zip(self._names(), self.exchanges, strict=True):
            timed.append((exchange.started, request_line(name, exchange.started, exchange.request)))
            if exchange.response:
                timed.append((exchange.response.at, response_line(name, exchange.response)))
            timed += [(piece.at, piece_line(name, piece)) for piece in exchange.pieces]
            if exchange.ended is not None:
                timed.append((exchange.ended, end_line(name, exchange.ended, exchange.ending)))
        # The sort is stable: lines of one time keep their order within an exchange.
        yield from (line for _, line in sorted(timed, key=lambda item: item[0]))

    def _names(self) -> Iterator[str]:
        """Give each exchange the name that it has, or a number that no other has."""
        taken = {exchange.part for exchange in self.exchanges}
        numbers = (name for name in map(str, count(int(FIRST_PART))) if name not in taken)
        used: set[str] = set()
        for exchange in self.exchanges:
            name = exchange.part if exchange.part not in {"", *used} else next(numbers)
            used.add(name)
            yield name

    @classmethod
    def load(cls, path: str | Path, *, part: str | None = None) -> Recording:
        """Read a file.

        Args:
            path: The file.
            part: Which of its exchanges, by name; None takes all.

        Raises:
            BadRecording: It is not a recording, or has no such exchange, or none at all. Names the
                file, and the line that is wrong.
            OSError: It cannot be read.
        """
        found = parse(read_file(path, MAX_SIZE), name=str(path))
        if not found.exchanges:
            raise BadRecording(str(path), 0, "it has no request yet")
        if part is None:
            return found
        if chosen := [exchange for exchange in found.exchanges if exchange.part == part]:
            return replace(found, exchanges=tuple(chosen))
        held = ", ".join(exchange.part for exchange in found.exchanges)
        raise BadRecording(str(path), 0, f"there is no part {part!r}; the parts are: {held}")


def load_parts(path: str | Path) -> dict[str, Exchange]:
    """Read every exchange of a file, by name, in the order in which they began.

    Raises:
        BadRecording: It is not a recording; names the line that is wrong.
        OSError: It cannot be read.
    """
    found = parse(read_file(path, MAX_SIZE), name=str(path))
    return {exchange.part: exchange for exchange in found.exchanges}


def exchange_in(recording: Recording | Exchange) -> Exchange:
    """Return an exchange, or a recording's only one.

    Raises:
        ValueError: The recording has several, or none.
    """
    return recording if isinstance(recording, Exchange) else recording.exchange


def parse(data: bytes, *, name: str = "the recording") -> Recording:
    """Return the recording in a file's bytes; it may have no exchange yet.

    Raises:
        BadRecording: They are not a recording; names the line that is wrong.
    """
    reader = LineReader()
    lines = data.split(b"\n")  # on LF bytes alone: other line ends may stand in a line
    for number, line in enumerate(lines, start=1):
        try:
            reader.take(line)
        except ValueError as error:
            if number == len(lines) and isinstance(error, NotAnObject):
                break  # nothing, or what the recorder wrote when it died
            raise BadRecording(name, number, str(error)) from error
    if reader.head is None:
        raise BadRecording(name, 1, f'not a recording: it begins with {{"format":"{FORMAT}", ...}}')
    head = reader.head
    exchanges = tuple(
        Exchange(
            part.request,
            part.response,
            tuple(part.pieces),
            part.ending,
            part.started,
            part.ended,
            part_name,
        )
        for part_name, part in reader.parts.items()
    )
    return Recording(exchanges, about=head.about, by_hand=head.by_hand, date=head.date)
