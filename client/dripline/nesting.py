"""JSON that can be read and not be written again: orjson reads 1,024 levels and writes 254."""

from __future__ import annotations

import orjson

_SAFE_DEPTH = 200
# A text that is no longer than this is not too deep: each level opens and closes.
SAFE_LENGTH = 2 * _SAFE_DEPTH


def too_deep(text: str | bytes, value: object, around: int) -> bool:
    """Whether a value, read from that text, cannot be written with so many levels around it.

    Args:
        text: What it was read from.
        value: The value.
        around: Up to 50 levels.
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
