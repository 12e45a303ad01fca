r"""Recordings: the bytes of a stream in the pieces in which they were read, with their times.

A recording is a JSON Lines file. People can read and review it, and a recorder can append to it
while the stream is running::

    {"format":"dripline recording","version":1}
    {"at":0,"request":{"method":"POST","url":"http://...","headers":[["Accept","*/*"]],"text":""}}
    {"at":0.012,"response":{"status":200,"headers":[["Content-Type","text/event-stream"]]}}
    {"at":0.105,"text":"id: 1\ndata: "}
    {"at":0.106,"base64":"R3LD"}
    {"at":0.201,"end":"eof"}

`at` is in seconds since the file was created. A piece is stored as `text` if its bytes are UTF-8,
and otherwise as `base64`, for example if it ends inside a character. Unprintable characters are
escaped. If there is no `end` line, the recorder died before the end: the recording is unfinished.

A file can hold several exchanges, such as the rounds of an agent, or the requests of a client that
reconnects. Their lines are in order of time, so they may be mixed. Lines of all exchanges but the
first have a name: `"part":"2"`.
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

# The largest file that is read, in bytes. A day of 20 tokens per second needs 200 MiB.
MAX_SIZE = 512 * MIB


class BadRecording(DriplineError, ValueError):
    """A file is not a recording, or has an error.

    Attributes:
        name: The file.
        line: The number of the wrong line, from 1; 0 if the error is not in a single line.
        problem: The error, in words.
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
    """HTTP exchanges in the order in which they began; usually there is only one.

    `request`, `response`, `pieces`, `chunks`, `body`, `ending` and `duration` belong to the only
    exchange. If there are several, they raise `ValueError`.

    Attributes:
        exchanges: The requests with their answers.
        about: A description of the content and its origin.
        by_hand: Whether a person wrote the file, rather than a recorder.
        date: When the recording began, in ISO 8601; may be "".
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
        """The request."""
        return self.exchange.request

    @property
    def response(self) -> Response | None:
        """The response's status and headers; None if there was no response."""
        return self.exchange.response

    @property
    def pieces(self) -> Sequence[Piece]:
        """The response body, in the pieces in which it was read."""
        return self.exchange.pieces

    @property
    def chunks(self) -> list[bytes]:
        """The pieces without their times."""
        return self.exchange.chunks

    @property
    def body(self) -> bytes:
        """The response body, as far as it was received."""
        return self.exchange.body

    @property
    def ending(self) -> ExchangeEnding:
        """How the exchange ended."""
        return self.exchange.ending

    @property
    def duration(self) -> float:
        """Seconds from the request to the end, or to the last bytes if it is unfinished."""
        return self.exchange.duration

    def split(self, plan: SplitPlan) -> Self:
        """Return the recording with its bodies split differently; see `Exchange.split`."""
        return replace(self, exchanges=tuple(exchange.split(plan) for exchange in self.exchanges))

    def followed_by(self, other: Recording) -> Self:
        """Return a recording of these exchanges, followed by those of the other recording."""
        last = max((exchange.last_time for exchange in self.exchanges), default=0.0)
        added = (replace(exchange.later(last), part="") for exchange in other.exchanges)
        return replace(self, exchanges=(*self.exchanges, *added))

    def redacted(self, redaction: Redaction) -> Self:
        """Return the recording without its secrets, as `save` writes it."""
        return replace(
            self, exchanges=tuple(exchange.redacted(redaction) for exchange in self.exchanges)
        )

    def save(
        self, path: str | Path, *, overwrite: bool = False, redaction: Redaction | None = None
    ) -> None:
        """Write a file that only its owner can read, with secrets redacted.

        Raises:
            FileExistsError: The file exists, and `overwrite` is not set.
            OSError: The file cannot be written.
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
        # The sort is stable, so an exchange's lines with equal times keep their order.
        yield from (line for _, line in sorted(timed, key=lambda item: item[0]))

    def _names(self) -> Iterator[str]:
        """Yield each exchange's name; one without a unique name gets an unused number."""
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
            part: The name of the exchange to load; None loads all.

        Raises:
            BadRecording: It is not a recording, or has no such exchange, or none at all. The
                message names the file and the wrong line.
            OSError: The file cannot be read.
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
    """Read the exchanges of a file, by name, in the order in which they began.

    Raises:
        BadRecording: It is not a recording; the message names the wrong line.
        OSError: The file cannot be read.
    """
    found = parse(read_file(path, MAX_SIZE), name=str(path))
    return {exchange.part: exchange for exchange in found.exchanges}


def exchange_in(recording: Recording | Exchange) -> Exchange:
    """Return the only exchange of a recording; an exchange is returned unchanged.

    Raises:
        ValueError: The recording has several exchanges, or none.
    """
    return recording if isinstance(recording, Exchange) else recording.exchange


def parse(data: bytes, *, name: str = "the recording") -> Recording:
    """Parse the bytes of a file; the recording may have no exchange yet.

    Raises:
        BadRecording: They are not a recording; the message names the wrong line.
    """
    reader = LineReader()
    lines = data.split(b"\n")  # not `splitlines`: a line may contain other line ends
    for number, line in enumerate(lines, start=1):
        try:
            reader.feed(line)
        except ValueError as error:
            if number == len(lines) and isinstance(error, NotAnObject):
                break  # an empty line, or half a line from a recorder that died
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
