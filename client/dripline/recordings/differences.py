"""Compare a request with a recorded one, and describe the differences.

A value that was redacted in the recording equals any value, because the original is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl

import orjson

from dripline.http.redaction import REDACTED, Redaction
from dripline.recordings.exchange import Request

_SHOWN = 100  # characters of a value, in a message
_REDACTION = Redaction()


def same_address(recorded: Request, came: Request) -> bool:
    """Return whether method, path and query are the same."""
    return not any(address_differences(recorded, came))


def address_differences(recorded: Request, came: Request) -> Iterator[str]:
    """Describe each difference in method, path and query, in words."""
    if recorded.method != came.method:
        yield f"method: recorded {recorded.method}, came {came.method}"
    if recorded.path != came.path:
        yield f"path: recorded {recorded.path}, came {_REDACTION.url(came.path)}"
    if not _same_query(recorded, came):
        yield f"query: recorded {_query(recorded) or 'none'}, came {_query(came) or 'none'}"


def _same_query(recorded: Request, came: Request) -> bool:
    ours, theirs = _fields(recorded), _fields(came)
    return len(ours) == len(theirs) and all(
        a == b and (x in (y, REDACTED)) for (a, x), (b, y) in zip(ours, theirs, strict=True)
    )


def _fields(request: Request) -> list[tuple[str, str]]:
    return sorted(parse_qsl(_query(request), keep_blank_values=True))


def _query(request: Request) -> str:
    return replace(request, url=_REDACTION.url(request.url)).query


def same_body(recorded: Request, came: Request) -> bool:
    """Return whether the bodies are equal: JSON as values, anything else byte for byte."""
    return next(body_differences(recorded, came), None) is None


def body_differences(recorded: Request, came: Request) -> Iterator[str]:
    """Describe each difference between the bodies in words, without showing secrets."""
    ours, theirs = _REDACTION.body(recorded.body), _REDACTION.body(came.body)
    if ours == theirs:
        return
    try:
        pair = orjson.loads(ours), orjson.loads(theirs)
    except orjson.JSONDecodeError:
        yield f"body: recorded {_shown(ours)}, came {_shown(theirs)}"
    else:
        yield from _json_differences("body", *pair)


_MISSING = object()


def _json_differences(where: str, recorded: object, came: object) -> Iterator[str]:
    match recorded, came:
        case dict(), dict():
            for name in [*recorded, *(name for name in came if name not in recorded)]:
                inner = recorded.get(name, _MISSING), came.get(name, _MISSING)
                yield from _json_differences(f"{where}.{name}", *inner)
        case list(), list():
            for number in range(max(len(recorded), len(came))):
                inner = _at(recorded, number), _at(came, number)
                yield from _json_differences(f"{where}[{number}]", *inner)
        case _:
            if not _same(recorded, came):
                yield f"{where}: recorded {_shown(recorded)}, came {_shown(came)}"


def _at(values: list[object], number: int) -> object:
    return values[number] if number < len(values) else _MISSING


def _same(recorded: object, came: object) -> bool:
    if recorded == REDACTED and isinstance(came, str):
        return True
    # In Python True equals 1, but in JSON it does not. 1 and 1.0 are equal in both.
    if isinstance(recorded, bool) != isinstance(came, bool):
        return False
    return recorded == came


def _shown(value: object) -> str:
    if value is _MISSING:
        return "nothing"
    if isinstance(value, bytes):
        text = repr(value)[1:] if value else "nothing"
    else:
        text = orjson.dumps(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
