"""The parts of a recorded HTTP exchange: request, response, body pieces and ending."""

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

    EOF = "eof"  # the body is complete by the rules of HTTP
    CUT = "cut"  # the connection closed (FIN) before the body's end
    RESET = "reset"  # the connection was reset (RST)
    TIMEOUT = "timeout"  # no byte arrived for longer than the client's timeout
    CANCELLED = "cancelled"  # the client closed the connection, perhaps after the last event
    UNREACHABLE = "unreachable"  # connecting failed
    UNFINISHED = "unfinished"  # unknown, because the recorder stopped earlier


@dataclass(frozen=True, slots=True)
class Request:
    """A recorded request.

    Attributes:
        method: For example "POST".
        url: The full URL.
        headers: Names and values, in the order in which they were sent.
        body: The body.

    Raises:
        ValueError: The method or a header is not valid HTTP; the message names it.
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
        """The path of the URL without the query, for example "/api/chat"."""
        return self._parsed_url.path

    @property
    def query(self) -> str:
        """The query of the URL, still encoded; "" if there is none."""
        return self._parsed_url.raw_query_string

    @property
    def _parsed_url(self) -> URL:
        try:
            return URL(self.url)
        except ValueError:  # Recorders accept any URL, so reading a recording must not fail.
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
    """The status and headers of a recorded response.

    Attributes:
        status: The HTTP status.
        headers: Names and values, in the order in which they were received.
        at: When they were received.

    Raises:
        ValueError: The status or a header is not valid HTTP; the message names it.
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
        at: When they were read.
        data: The bytes, at least one.
    """

    at: float
    data: bytes

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("a piece has at least one byte")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer. All times are in seconds since the recording began.

    The pieces are the body as a program reads it, without HTTP's chunk framing. If the recorded
    client decompresses bodies, the pieces are decompressed, and the headers about it are left out.

    Attributes:
        request: The request.
        response: The response's status and headers; None if there was no response.
        pieces: The response body, in the pieces in which it was read.
        ending: How the exchange ended.
        started: When the request was sent.
        ended: When the exchange ended; None if it is unfinished.
        part: Its name in the file; with "" it gets a number when saved.

    Raises:
        ValueError: The times decrease, or there are pieces without a response.
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
        """The response body, as far as it was received."""
        return b"".join(self.chunks)

    @property
    def chunks(self) -> list[bytes]:
        """The pieces without their times."""
        return [piece.data for piece in self.pieces]

    @property
    def duration(self) -> float:
        """Seconds from the request to the end, or to the last bytes if it is unfinished."""
        return self.last_time - self.started

    @property
    def last_time(self) -> float:
        """When it ended, or when the last bytes arrived if it is unfinished."""
        if self.ended is not None:
            return self.ended
        if self.pieces:
            return self.pieces[-1].at
        return self.response.at if self.response else self.started

    def split(self, plan: SplitPlan) -> Self:
        """Return the exchange with its body split differently.

        Each new piece has the time of its last byte, so no byte arrives too early.
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
        """Return the exchange with all times moved by `seconds`."""
        return replace(
            self,
            response=self.response and replace(self.response, at=self.response.at + seconds),
            pieces=tuple(Piece(piece.at + seconds, piece.data) for piece in self.pieces),
            started=self.started + seconds,
            ended=None if self.ended is None else self.ended + seconds,
        )

    def redacted(self, redaction: Redaction) -> Self:
        """Return the exchange without its secrets."""
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
    """Check that a time is not before the previous one.

    Raises:
        ValueError: It is earlier, or not a finite number.
    """
    if not math.isfinite(after):
        raise ValueError(f"at: {after} is not a time")
    if after < before:
        raise ValueError(f"at: the time goes back, from {before:g} to {after:g}")
