"""JSON as others send it: bounded before it is read, and as forgiving as Go where Ollama is."""

from __future__ import annotations

import re
from typing import Any

import orjson

# Reading and checking takes up to 2 us for each, and everybody waits. Text has its commas too: this
# is a megabyte of CSV, or ten of prose.
MAX_VALUES = 200_000
# Lone surrogates that are mended in one text; each costs a microsecond.
MAX_MENDED = 100_000

_REPLACEMENT = b"\\ufffd"
_HIGH, _LOW = rb"\\u[dD][89abAB][0-9a-fA-F]{2}", rb"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
# What comes before a lone one: other characters, other escapes, and pairs; never half an escape.
_BEFORE = rb"(?:[^\\]|\\[^u]|" + _HIGH + _LOW + rb"|\\u(?![dD][89a-fA-F]))*+"
# Or the text's end, so that a search never begins inside of an escape.
_LONE = re.compile(rb"(" + _BEFORE + rb")(?:(" + _HIGH + rb"(?!" + _LOW + rb")|" + _LOW + rb")|\Z)")
# UTF-8 cannot say one, but some encoders write it so all the same.
_ENCODED = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")


def has_too_many_values(text: bytes) -> bool:
    """Whether reading the text would hold everybody up, or take many times its size."""
    if len(text) <= MAX_VALUES:
        return False
    return text.count(b"[") + text.count(b"{") + text.count(b",") > MAX_VALUES


def load_json(text: bytes) -> Any:
    """Return the value; a lone surrogate in a string is U+FFFD, as it is for Go's reader.

    A text that is cut between the two halves of an emoji has one, and JavaScript and Python write
    it to JSON without complaint.

    Raises:
        orjson.JSONDecodeError: It is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        mended = _mended(text)
        if mended is None:
            raise
    return orjson.loads(mended)


def without_lone_surrogates(text: str) -> str:
    """Return the text with U+FFFD for each of them; two halves that meet are one character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _mended(text: bytes) -> bytes | None:
    """Return the text with U+FFFD for lone surrogates; None where there are none."""
    mended = _ENCODED.sub("\ufffd".encode(), text) if b"\xed" in text else text
    escaped = mended.count(b"\\ud") + mended.count(b"\\uD")
    if 0 < escaped <= MAX_MENDED:
        mended = _LONE.sub(lambda found: found[1] + (_REPLACEMENT if found[2] else b""), mended)
    return None if mended == text else mended
