"""Write and read the lines of a recording; `dripline.recordings.recording` shows an example."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from dripline.http.redaction import Headers
from dripline.json_fields import BadField, json_field, load_object
from dripline.recordings.exchange import ExchangeEnding, Piece, Request, Response, check_time

FORMAT = "dripline recording"
VERSION = 1
FIRST_PART = "1"


class NotAnObject(ValueError):
    """A line is not a JSON object: not a recording's line, or only a part of one."""


@dataclass(frozen=True, slots=True)
class Head:
    """The fields of the first line, which describe the file; see `Recording`."""

    about: str = ""
    by_hand: bool = False
    date: str = ""


def first_line(head: Head) -> bytes:
    """Return the first line, with the format and the description of the file."""
    marks: dict[str, Any] = {"by_hand": True} if head.by_hand else {}
    marks |= {name: text for name, text in (("date", head.date), ("about", head.about)) if text}
    return _line({"format": FORMAT, "version": VERSION, **marks})


def request_line(part: str, at: float, request: Request) -> bytes:
    """Return the line of a request."""
    record = {"method": request.method, "url": request.url, "headers": request.headers}
    return _part_line(part, at, {"request": record | _encoded(request.body)})


def response_line(part: str, response: Response) -> bytes:
    """Return the line of a response's status and headers."""
    record = {"status": response.status, "headers": response.headers}
    return _part_line(part, response.at, {"response": record})


def piece_line(part: str, piece: Piece) -> bytes:
    """Return the line of a piece of the body."""
    return _part_line(part, piece.at, _encoded(piece.data))


def end_line(part: str, at: float, ending: ExchangeEnding) -> bytes:
    """Return the line of an exchange's end."""
    return _part_line(part, at, {"end": ending})


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
    r"""Return `\uXXXX`, or two of them if UTF-16 needs a surrogate pair."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _encoded(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


@dataclass(slots=True)
class Part:
    """An exchange whose lines are still being read; see `Recording`."""

    started: float
    request: Request
    response: Response | None = None
    pieces: list[Piece] = field(default_factory=list)
    ending: ExchangeEnding = ExchangeEnding.UNFINISHED
    ended: float | None = None


class LineReader:
    """Parses a file's lines in order, and checks that each fits to the earlier ones.

    Attributes:
        head: The first line; None before it is read.
        parts: The exchanges by name, in the order in which they began.
    """

    def __init__(self) -> None:
        self.head: Head | None = None
        self.parts: dict[str, Part] = {}
        self._last_time = 0.0

    def feed(self, line: bytes) -> None:
        """Parse the next line.

        Raises:
            NotAnObject: It is not a JSON object; nothing has changed.
            ValueError: It has another error.
        """
        record = _object(line)
        if self.head is None:
            self.head = _head(record)
            return
        name = json_field(record, "part", str, FIRST_PART)
        at = float(json_field(record, "at", float))
        check_time(self._last_time, at)
        part = self.parts.get(name)
        match [kind for kind in ("request", "response", "text", "base64", "end") if kind in record]:
            case ["request"]:
                if part:
                    raise ValueError(f"request: part {name!r} already has one")
                self.parts[name] = Part(at, _request(json_field(record, "request", dict)))
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


def _add(part: Part, at: float, kind: str, record: dict[str, Any]) -> None:
    if kind == "response":
        if part.response:
            raise ValueError("response: the part already has one")
        part.response = _response(at, json_field(record, "response", dict))
    elif kind == "end":
        ending = json_field(record, "end", str)
        if ending not in set(ExchangeEnding) - {ExchangeEnding.UNFINISHED}:
            raise ValueError(f"end: {ending!r} is not one of {', '.join(_ENDINGS)}")
        part.ending, part.ended = ExchangeEnding(ending), at
    elif part.response is None:
        raise ValueError(f"{kind}: there is no response yet")
    else:
        part.pieces.append(Piece(at, _decoded(record)))


_ENDINGS = [ending.value for ending in ExchangeEnding if ending is not ExchangeEnding.UNFINISHED]


def _head(record: dict[str, Any]) -> Head:
    if record.get("format") != FORMAT:
        raise ValueError(f'not a recording: "format" is not "{FORMAT}"')
    version = json_field(record, "version", int)
    if version != VERSION:
        raise ValueError(f"version {version} is not supported, only {VERSION}; upgrade dripline")
    _only(record, "format", "version", "by_hand", "date", "about")
    return Head(
        about=json_field(record, "about", str, ""),
        by_hand=json_field(record, "by_hand", bool, False),
        date=json_field(record, "date", str, ""),
    )


def _request(record: dict[str, Any]) -> Request:
    _only(record, "method", "url", "headers", "text", "base64")
    return Request(
        method=json_field(record, "method", str),
        url=json_field(record, "url", str),
        headers=_headers(record),
        body=_decoded(record),
    )


def _response(at: float, record: dict[str, Any]) -> Response:
    _only(record, "status", "headers")
    return Response(json_field(record, "status", int), _headers(record), at)


def _headers(record: dict[str, Any]) -> Headers:
    headers = []
    for pair in json_field(record, "headers", list):
        match pair:
            case [str(name), str(value)]:
                headers.append((name, value))
            case _:
                raise ValueError(f"headers: {pair!r} is not a name and a value")
    return tuple(headers)


def _decoded(record: dict[str, Any]) -> bytes:
    if ("text" in record) == ("base64" in record):
        raise ValueError('either "text" or "base64" must be there')
    if "text" in record:
        return json_field(record, "text", str).encode()
    try:
        return base64.b64decode(json_field(record, "base64", str), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"base64: {error}") from error


def _object(line: bytes) -> dict[str, Any]:
    try:
        return load_object(line)
    except BadField as error:
        raise NotAnObject(str(error)) from error


def _only(record: dict[str, Any], *known: str) -> None:
    if unknown := [name for name in record if name not in known]:
        raise ValueError(f"unknown: {', '.join(unknown)}")
