"""What an exchange over HTTP is made of: the request, the response, its pieces and its ending."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, pairwise
from typing import Self

from yarl import URL

from dripline.http.redaction import Headers, Redaction
from dripline.recordings.splits import SplitPlan

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_LINE_ENDS = re.compile(r"[\r\n\0]")


class ExchangeEnding(StrEnum):
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

    @property
    def path(self) -> str:
        """The path of the address, such as "/api/chat"; without the query."""
        return self._parsed_url.path

    @property
    def query(self) -> str:
        """The query of the address, still encoded; "" where there is none."""
        return self._parsed_url.raw_query_string

    @property
    def _parsed_url(self) -> URL:
        try:
            return URL(self.url)
        except ValueError:  # A recorder took what it was given, and so does a replay.
            return URL.build(path=self.url)

    def header(self, name: str) -> str:
        """Return the first value of a header, or ""."""
        return _header(self.headers, name)

    def redacted(self, redaction: Redaction) -> Self:
        """Return the request without its secrets."""
        return replace(
            self,
            url=redaction.url(self.url),
            headers=redaction.headers(self.headers),
            body=redaction.body(self.body),
        )


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
        return _header(self.headers, name)

    def redacted(self, redaction: Redaction) -> Self:
        """Return the response without its secrets."""
        return replace(self, headers=redaction.headers(self.headers))


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
class Exchange:
    """One request, and what came of it. All times are in seconds since the recording was begun.

    The pieces are the body as a program reads it: HTTP's own chunk framing has been taken off, and
    compression too where the recorded client undoes it; then the headers tell of none.

    Attributes:
        request: What was asked.
        response: How the answer began; None where none came.
        pieces: The body, as it was read.
        ending: How it ended.
        started: When the request was sent.
        ended: When it ended; None where it is unfinished.
        part: Its name in the file; "" numbers it.

    Raises:
        ValueError: The times go back, or there are pieces without a response.
    """

    request: Request = field(default_factory=Request)
    response: Response | None = None
    pieces: Sequence[Piece] = ()
    ending: ExchangeEnding = ExchangeEnding.UNFINISHED
    started: float = 0.0
    ended: float | None = None
    part: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.pieces and not self.response:
            raise ValueError("there are pieces without a response")
        if (self.ended is None) != (self.ending is ExchangeEnding.UNFINISHED):
            raise ValueError("an exchange has a time of its end unless it is unfinished")
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
        return self.last_time - self.started

    @property
    def last_time(self) -> float:
        """When it ended, or the last thing came."""
        if self.ended is not None:
            return self.ended
        if self.pieces:
            return self.pieces[-1].at
        return self.response.at if self.response else self.started

    def split(self, plan: SplitPlan) -> Self:
        """Return an exchange with the same body, cut in another way.

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

    def later(self, seconds: float) -> Self:
        """Return the same exchange, `seconds` later."""
        return replace(
            self,
            response=self.response and replace(self.response, at=self.response.at + seconds),
            pieces=tuple(Piece(piece.at + seconds, piece.data) for piece in self.pieces),
            started=self.started + seconds,
            ended=None if self.ended is None else self.ended + seconds,
        )

    def redacted(self, redaction: Redaction) -> Self:
        """Return the exchange as a file with this redaction has it."""
        return replace(
            self,
            request=self.request.redacted(redaction),
            response=self.response and self.response.redacted(redaction),
        )


def _header(headers: Headers, name: str) -> str:
    return next((value for known, value in headers if known.lower() == name.lower()), "")


def _check_headers(headers: Headers) -> None:
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not a header's name")
        if _LINE_ENDS.search(value):
            raise ValueError(f"headers: {name}: a value has no line end and no NUL")


def check_time(before: float, after: float) -> None:
    """Check a time against the one before it.

    Raises:
        ValueError: It is earlier, or no time at all.
    """
    if not math.isfinite(after):
        raise ValueError(f"at: {after} is not a time")
    if after < before:
        raise ValueError(f"at: the time goes back, from {before:g} to {after:g}")
