"""Encode a caller's fields as the JSON body of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import orjson

from dripline.errors import RequestError
from dripline.json_text import without_lone_surrogates

# How many names of the path to a wrong value are shown. A value that contains itself would have an
# endless path.
_MOST_NAMED = 8


def json_body(fields: Mapping[str, Any]) -> bytes:
    """Return a request's body.

    Lone surrogates become U+FFFD, because JSON in UTF-8 cannot contain them. They occur in a text
    that was cut in the middle of an emoji, and in input from a terminal or file that is not UTF-8.

    Raises:
        RequestError: A value has no JSON form; the message names it, such as `messages.0.content`.
    """
    value: object = fields
    try:
        try:
            return _dumps(value)
        except orjson.JSONEncodeError as error:
            if "surrogates" not in str(error):
                raise
            value = _mended(fields)
            return _dumps(value)
    except RecursionError as error:
        raise RequestError("the body: cannot be JSON: it is nested too deep") from error
    except orjson.JSONEncodeError as error:
        named = ".".join(islice(_way_to_fault(value), _MOST_NAMED)) or "the body"
        raise RequestError(f"{named}: cannot be JSON: {error}") from error


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, default=_plain)


def _mended(value: object) -> object:
    """Return the value with lone surrogates in its strings replaced by U+FFFD."""
    if isinstance(value, str):
        return without_lone_surrogates(value)
    if isinstance(value, Mapping):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(inner) for inner in value]
    return value


def _plain(value: object) -> object:
    """Convert other mappings to `dict`, the only kind that orjson encodes."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _way_to_fault(value: object) -> Iterable[str]:
    """Yield the keys and indexes on the path to the innermost value that has no JSON form."""
    while True:
        for name, inner in _items(value):
            if not _is_json(inner):
                yield str(name)
                value = inner
                break
        else:
            return


def _items(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, Mapping):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def _is_json(value: object) -> bool:
    try:
        _dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True
