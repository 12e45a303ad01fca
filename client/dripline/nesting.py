"""Detect JSON that orjson can read but not write again: it reads 1,024 levels and writes 254."""

from __future__ import annotations

import orjson

_SAFE_DEPTH = 200
# A text of this length cannot be too deep, because each level needs two characters.
SAFE_LENGTH = 2 * _SAFE_DEPTH


def too_deep(text: str | bytes, value: object, around: int) -> bool:
    """Whether a value is nested too deeply to be written inside `around` more levels.

    Args:
        text: The JSON text of the value.
        value: The value.
        around: The number of levels around it, at most 50.
    """
    if isinstance(text, str):
        levels = text.count("[") + text.count("{")
    else:
        levels = text.count(b"[") + text.count(b"{")
    if levels <= _SAFE_DEPTH:
        return False
    for _ in range(around):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False
