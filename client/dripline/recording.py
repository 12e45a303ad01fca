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

import base64
import binascii
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Self, TypeVar

import orjson

from dripline.errors import DriplineError
from dripline.redaction import Headers, Redaction
from dripline.splits import SplitPlan

FORMAT = "dripline recording"
VERSION = 1
FIRST_PART = "1"

T = TypeVar("T")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_LINE_ENDS = re.compile(r"[\r\n\0]")


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


class Ending(StrEnum):
    """How an exchange ended."""

    EOF = "eof"  # the body came to its end as HTTP has it
    CUT = "cut"  # the connection closed (FIN) before that
    RESET = "reset"  # the connection was reset (RST)
    TIMEOUT = "timeout"  # nothing came for longer than whoever read would wait
    CANCELLED = "cancelled"  # whoever read closed the connection, such as after the last event
    UNREACHABLE = "unreachable"  # there was no connection
    UNFINISHED = "unfinished"  # nobody knows: the recorder stopped before


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked.

    Attributes:
        method: Such as "POST".
        url: The whole address.
        headers: Names and values, in the order in which they were sent.
        body: The body.

    Raises:
        ValueError: HTTP does not allow the method or a header; names it.
    """

    method: str = "GET"
    url: str = "http://localhost/"
    headers: Headers = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.method):
            raise ValueError(f"method: {self.method!r} is not an HTTP method")
        _check_headers(self.headers)


@dataclass(frozen=True, slots=True)
class Response:
    """What the answer began with.

    Attributes:
        status: The HTTP status.
        headers: Names and values, in the order in which they came.
        at: When they came.

    Raises:
        ValueError: HTTP does not allow the status or a header; names it.
    """

    status: int = 200
    headers: Headers = ()
    at: float = 0.0

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError(f"status: {self.status} is not a final HTTP status, 200 to 599")
        _check_headers(self.headers)

    def header(self, name: str) -> str:
        """Return the first value of a header, or ""."""
        found = (value for known, value in self.headers if known.lower() == name.lower())
        return next(found, "")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that were read at once.

    Attributes:
        at: When.
        data: The bytes, at least one.
    """

    at: float
    data: bytes

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("a piece has at least one byte")


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
    ending: Ending = Ending.UNFINISHED
    started: float = 0.0
    ended: float | None = None
    about: str = ""
    by_hand: bool = False
    date: str = ""

    def __post_init__(self) -> None:
        if self.pieces and not self.response:
            raise ValueError("there are pieces without a response")
        if (self.ended is None) != (self.ending is Ending.UNFINISHED):
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
            request=redacted_request(self.request, redaction),
            response=self.response and redacted_response(self.response, redaction),
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
        yield first_line(about=self.about, by_hand=self.by_hand, date=self.date)
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
    return parse(Path(path).read_bytes(), name=str(path))


def parse(data: bytes, *, name: str = "the recording") -> dict[str, Recording]:
    """Return what `load_parts` returns, of a file's bytes.

    Raises:
        BadRecording: They are no recording; names the line that is wrong.
    """
    # On LF bytes alone: other line ends may stand in a line.
    *lines, torn = data.split(b"\n")
    parser = _Parser()
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            parser.take(_object(line))
        except ValueError as error:
            raise BadRecording(name, number, str(error)) from error
    if torn:
        # The recorder died within a line, or an editor took the last LF away.
        try:
            record = _object(torn)
        except ValueError:
            record = None
        try:
            if record is not None:
                parser.take(record)
        except ValueError as error:
            raise BadRecording(name, number + 1, str(error)) from error
    if parser.head is None:
        raise BadRecording(name, 1, f'not a recording: it begins with {{"format":"{FORMAT}", ...}}')
    return parser.recordings()


# The lines of a file. Each is written whole, at once.


def first_line(*, about: str = "", by_hand: bool = False, date: str = "") -> bytes:
    """Return the line that says what the file is."""
    marks: dict[str, object] = {"by_hand": True} if by_hand else {}
    marks |= {name: text for name, text in (("date", date), ("about", about)) if text}
    return _line({"format": FORMAT, "version": VERSION, **marks})


def request_line(part: str, at: float, request: Request) -> bytes:
    """Return the line of a request."""
    record = {"method": request.method, "url": request.url, "headers": request.headers}
    return _part_line(part, at, {"request": record | _encoded(request.body)})


def response_line(part: str, response: Response) -> bytes:
    """Return the line of a response's beginning."""
    record = {"status": response.status, "headers": response.headers}
    return _part_line(part, response.at, {"response": record})


def piece_line(part: str, piece: Piece) -> bytes:
    """Return the line of a piece."""
    return _part_line(part, piece.at, _encoded(piece.data))


def end_line(part: str, at: float, ending: Ending) -> bytes:
    """Return the line of the end."""
    return _part_line(part, at, {"end": ending})


def redacted_request(request: Request, redaction: Redaction) -> Request:
    """Return the request without its secrets."""
    return replace(
        request,
        url=redaction.url(request.url),
        headers=redaction.headers(request.headers),
        body=redaction.body(request.body),
    )


def redacted_response(response: Response, redaction: Redaction) -> Response:
    """Return the response without its secrets."""
    return replace(response, headers=redaction.headers(response.headers))


def open_private(path: str | Path, *, overwrite: bool) -> int:
    """Open a new file for writing, readable and writable for its owner alone.

    Raises:
        FileExistsError: There is one, and `overwrite` is not set.
        OSError: It cannot be written.
    """
    if overwrite:
        Path(path).unlink(missing_ok=True)  # its permissions may be wider
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def check_time(before: float, after: float) -> None:
    """Check a time against the one before it.

    Raises:
        ValueError: It is earlier, or no time at all.
    """
    if not math.isfinite(after):
        raise ValueError(f"at: {after} is not a time")
    if after < before:
        raise ValueError(f"at: the time goes back, from {before:g} to {after:g}")


def _part_line(part: str, at: float, content: Mapping[str, object]) -> bytes:
    name = {} if part == FIRST_PART else {"part": part}
    return _line({**name, "at": at, **content})


def _line(record: Mapping[str, object]) -> bytes:
    line = orjson.dumps(record)
    text = line.decode()
    if text.isprintable():
        return line + b"\n"
    return "".join(c if c.isprintable() else _escaped(c) for c in text).encode() + b"\n"


def _escaped(character: str) -> str:
    r"""Return `\uXXXX`, twice where UTF-16 needs two."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _encoded(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _decoded(record: dict[str, object]) -> bytes:
    if ("text" in record) == ("base64" in record):
        raise ValueError('either "text" or "base64" must be there')
    if "text" in record:
        return _take(record, "text", str).encode()
    try:
        return base64.b64decode(_take(record, "base64", str), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"base64: {error}") from error


@dataclass(slots=True)
class _Part:
    """An exchange while its lines are read."""

    started: float
    request: Request
    response: Response | None = None
    pieces: list[Piece] = field(default_factory=list)
    ending: Ending = Ending.UNFINISHED
    ended: float | None = None


class _Parser:
    """Takes a file's records, one after another, and checks each against those before."""

    def __init__(self) -> None:
        self.head: dict[str, object] | None = None
        self._parts: dict[str, _Part] = {}
        self._last_time = 0.0

    def take(self, record: dict[str, object]) -> None:
        """Take the next record.

        Raises:
            ValueError: It is wrong.
        """
        if self.head is None:
            self.head = _checked_head(record)
            return
        name = _take(record, "part", str, FIRST_PART)
        at = _time(record)
        check_time(self._last_time, at)
        part = self._parts.get(name)
        match [kind for kind in ("request", "response", "text", "base64", "end") if kind in record]:
            case ["request"]:
                if part:
                    raise ValueError(f"request: part {name!r} has one already")
                self._parts[name] = _Part(at, _request(_take(record, "request", dict)))
            case [kind]:
                if not part:
                    raise ValueError(f"{kind}: part {name!r} has no request yet")
                if part.ended is not None:
                    raise ValueError(f"{kind}: part {name!r} has ended already")
                _add(part, at, kind, record)
            case kinds:
                raise ValueError(
                    'one of "request", "response", "text", "base64" and "end" must be there,'
                    f" not {len(kinds)}"
                )
        _only(record, "part", "at", "request", "response", "text", "base64", "end")
        self._last_time = at

    def recordings(self) -> dict[str, Recording]:
        """Return what has been read."""
        head = self.head or {}
        return {
            name: Recording(
                part.request,
                part.response,
                tuple(part.pieces),
                part.ending,
                part.started,
                part.ended,
                about=_take(head, "about", str, ""),
                by_hand=_take(head, "by_hand", bool, False),
                date=_take(head, "date", str, ""),
            )
            for name, part in self._parts.items()
        }


def _add(part: _Part, at: float, kind: str, record: dict[str, object]) -> None:
    if kind == "response":
        if part.response:
            raise ValueError("response: there is one already")
        part.response = _response(at, _take(record, "response", dict))
    elif kind == "end":
        ending = _take(record, "end", str)
        if ending not in set(Ending) - {Ending.UNFINISHED}:
            raise ValueError(f"end: {ending!r} is not one of {', '.join(_ENDINGS)}")
        part.ending, part.ended = Ending(ending), at
    elif part.response is None:
        raise ValueError(f"{kind}: there is no response yet")
    else:
        part.pieces.append(Piece(at, _decoded(record)))


_ENDINGS = [ending.value for ending in Ending if ending is not Ending.UNFINISHED]


def _checked_head(record: dict[str, object]) -> dict[str, object]:
    if record.get("format") != FORMAT:
        raise ValueError(f'not a recording: "format" is not "{FORMAT}"')
    version = _take(record, "version", int)
    if version != VERSION:
        raise ValueError(f"version {version} is not known here, only {VERSION}; update dripline")
    _only(record, "format", "version", "by_hand", "date", "about")
    _take(record, "by_hand", bool, False)
    _take(record, "date", str, "")
    _take(record, "about", str, "")
    return record


def _request(record: dict[str, object]) -> Request:
    _only(record, "method", "url", "headers", "text", "base64")
    return Request(
        method=_take(record, "method", str),
        url=_take(record, "url", str),
        headers=_headers(record),
        body=_decoded(record),
    )


def _response(at: float, record: dict[str, object]) -> Response:
    _only(record, "status", "headers")
    return Response(_take(record, "status", int), _headers(record), at)


def _headers(record: dict[str, object]) -> Headers:
    headers = []
    for pair in _take(record, "headers", list):
        match pair:
            case [str(name), str(value)]:
                headers.append((name, value))
            case _:
                raise ValueError(f"headers: {pair!r} is not a name and a value")
    return tuple(headers)


def _check_headers(headers: Headers) -> None:
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not a header's name")
        if _LINE_ENDS.search(value):
            raise ValueError(f"headers: {name}: a value has no line end and no NUL")


def _time(record: dict[str, object]) -> float:
    at = record.get("at")
    if type(at) is not float and type(at) is not int:
        raise ValueError("at: should be a number of seconds")
    return float(at)


def _object(line: bytes) -> dict[str, object]:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    if type(record) is not dict:
        raise ValueError("not a JSON object")
    return record


_MISSING: object = object()


def _take(record: dict[str, object], name: str, kind: type[T], default: object = _MISSING) -> T:
    value = record.get(name, default)
    if type(value) is not kind:
        problem = "is missing" if value is _MISSING else f"should be {kind.__name__}"
        raise ValueError(f"{name}: {problem}")
    return value


def _only(record: dict[str, object], *known: str) -> None:
    if unknown := [name for name in record if name not in known]:
        raise ValueError(f"unknown: {', '.join(unknown)}")
