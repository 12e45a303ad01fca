"""Read JSON from other programs: with limits, and as tolerantly as Ollama, which is in Go."""

from __future__ import annotations

import re
from typing import Any

import orjson

# Parsing and checking a value needs up to 2 µs, during which the event loop is blocked. Commas in
# text count as values too, so the limit must allow for a megabyte of CSV, or ten of prose.
MAX_VALUES = 200_000
# How many lone surrogates are replaced in one text; each needs a microsecond.
MAX_MENDED = 100_000

_REPLACEMENT = b"\\ufffd"
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# Text before a lone surrogate: other characters, other escapes and pairs; never half an escape.
_BEFORE = rb"(?:[^\\]|\\[^u]|" + _HIGH + _LOW + rb"|\\u(?![dD][89a-fA-F]))*+"
# It also matches the end of the text, so that no search starts inside an escape.
_LONE = re.compile(rb"(" + _BEFORE + rb")(?:(" + _HIGH + rb"(?!" + _LOW + rb")|" + _LOW + rb")|\Z)")
# Lone surrogates are invalid in UTF-8, but some encoders write them in this form.
_ENCODED = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


def has_too_many_values(text: bytes) -> bool:
    """Whether parsing the text would block the event loop, or need many times its memory."""
    if len(text) <= MAX_VALUES:
        return False
    return text.count(b"[") + text.count(b"{") + text.count(b",") > MAX_VALUES


def load_json(text: bytes) -> Any:
    """Return the value; lone surrogates in strings become U+FFFD, as in Go's parser.

    A text that was cut in the middle of an emoji has one, and JavaScript and Python write it to
    JSON without an error.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        mended = _mended(text)
        if mended is None:
            raise
    return orjson.loads(mended)


def without_lone_surrogates(text: str) -> str:
    """Replace lone surrogates with U+FFFD; a high one followed by a low one becomes a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _mended(text: bytes) -> bytes | None:
    """Return the text with lone surrogates replaced by U+FFFD; None if it has none."""
    mended = _ENCODED.sub("\ufffd".encode(), text) if b"\xed" in text else text
    escaped = mended.count(b"\\ud") + mended.count(b"\\uD")
    if 0 < escaped <= MAX_MENDED:
        mended = _LONE.sub(lambda found: found[1] + (_REPLACEMENT if found[2] else b""), mended)
    return None if mended == text else mended
