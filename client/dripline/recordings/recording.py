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

One file may hold several exchanges, as when a client comes back after a lost connection. Then their
lines are mixed as they came, and all but those of the first carry its name: `"part":"2"`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Self

from dripline.bounded_read import MIB, read_file
from dripline.errors import DriplineError
from dripline.http.redaction import Redaction
from dripline.recordings.exchange import ExchangeEnding, Piece, Request, Response, check_time
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
    """One request, and what came of it. All times are in seconds since the file was begun.

    The pieces are the body as a program reads it: HTTP's own chunk framing has been taken off, and
    compression too where the recorded client undoes it; then the headers tell of none.

    Attributes:
        request: What was asked.
        response: How the answer began; None where none came.
        pieces: The body, as it was read.
        ending: How it ended.
        started: When the request was sent.
        ended: When it ended; None where it is unfinished.
        about: What it shows and where it comes from, in words.
        by_hand: Whether a person wrote it, rather than a recorder.
        date: The time of day when it was begun, as ISO 8601; "" where that does not matter.

    Raises:
        ValueError: The times go back, or there are pieces without a response.
    """

    request: Request = field(default_factory=Request)
    response: Response | None = None
    pieces: Sequence[Piece] = ()
    ending: ExchangeEnding = ExchangeEnding.UNFINISHED
    started: float = 0.0
    ended: float | None = None
    about: str = ""
    by_hand: bool = False
    date: str = ""

    def __post_init__(self) -> None:
        if self.pieces and not self.response:
            raise ValueError("there are pieces without a response")
        if (self.ended is None) != (self.ending is ExchangeEnding.UNFINISHED):
            raise ValueError("a recording has a time of its end unless it is unfinished")
        times = [self.started, *([self.response.at] if self.response else [])]
        times += [piece.at for piece in self.pieces]
        times += [] if self.ended is None else [self.ended]
        for before, after in pairwise((0.0, *times)):
            check_time(before, after)

    @property
    def body(self) -> bytes:
        """All that came of the body."""
        return b"".join(self.chunks)

    @property
    def chunks(self) -> list[bytes]:
        """The pieces without their times."""
        return [piece.data for piece in self.pieces]

    @property
    def duration(self) -> float:
        """Seconds from the request to the end, or to the last thing that came."""
        return self._last_time - self.started

    @property
    def _last_time(self) -> float:
        if self.ended is not None:
            return self.ended
        if self.pieces:
            return self.pieces[-1].at
        return self.response.at if self.response else self.started

    def split(self, plan: SplitPlan) -> Self:
        """Return a recording of the same stream, cut in another way.

        A new piece comes when its last byte came: none comes before its time.
        """
        ends = list(accumulate(len(piece.data) for piece in self.pieces))
        pieces, offset, index = [], 0, 0
        for data in plan(self.chunks):
            offset += len(data)
            while ends[index] < offset:
                index += 1
            pieces.append(Piece(self.pieces[index].at, data))
        return replace(self, pieces=tuple(pieces))

    def redacted(self, redaction: Redaction) -> Self:
        """Return the recording as a file with this redaction has it."""
        return replace(
            self,
            request=self.request.redacted(redaction),
            response=self.response and self.response.redacted(redaction),
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
        yield request_line(FIRST_PART, self.started, self.request)
        if self.response:
            yield response_line(FIRST_PART, self.response)
        for piece in self.pieces:
            yield piece_line(FIRST_PART, piece)
        if self.ended is not None:
            yield end_line(FIRST_PART, self.ended, self.ending)

    @classmethod
    def load(cls, path: str | Path, *, part: str | None = None) -> Recording:
        """Read a file.

        Args:
            path: The file.
            part: Which of its exchanges; not needed where it holds one.

        Raises:
            BadRecording: It is no recording; or it holds other exchanges than the one asked for,
                or several and none is asked for. Names the file, and the line that is wrong.
            OSError: It cannot be read.
        """
        parts = load_parts(path)
        if part is None and len(parts) == 1:
            return next(iter(parts.values()))
        if part in parts:
            return parts[part]
        held = ", ".join(parts) or "none"
        asked = "name the part" if part is None else f"there is no part {part!r}"
        raise BadRecording(str(path), 0, f"{asked}; the parts are: {held}")


def load_parts(path: str | Path) -> dict[str, Recording]:
    """Read every exchange of a file, by name, in the order in which they began.

    Raises:
        BadRecording: It is no recording; names the line that is wrong.
        OSError: It cannot be read.
    """
    return parse(read_file(path, MAX_SIZE), name=str(path))


def parse(data: bytes, *, name: str = "the recording") -> dict[str, Recording]:
    """Return what `load_parts` returns, of a file's bytes.

    Raises:
        BadRecording: They are no recording; names the line that is wrong.
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
    return {
        part_name: Recording(
            part.request,
            part.response,
            tuple(part.pieces),
            part.ending,
            part.started,
            part.ended,
            about=head.about,
            by_hand=head.by_hand,
            date=head.date,
        )
        for part_name, part in reader.parts.items()
    }
