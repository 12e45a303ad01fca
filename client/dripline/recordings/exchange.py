"""What an exchange over HTTP is made of: the request, the response, its pieces and its ending."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from dripline.http.redaction import Headers, Redaction

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
        found = (value for known, value in self.headers if known.lower() == name.lower())
        return next(found, "")

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
