"""Writes JSON, times and quoted text as Go does."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

from dripline.testing.fake_ollama.json_value import JsonValue

NANOSECONDS = 1_000_000_000

# Go escapes what would be unsafe inside HTML and inside old JavaScript, and nothing else above
# U+001F: U+0085 stays raw, although many line readers take it for a line end.
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def go_json(value: JsonValue) -> bytes:
    """Return a value as Go's `json.Marshal` writes it; a whole float has no fraction there."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for raw, escaped in _ESCAPES:
        if raw in text:
            text = text.replace(raw, escaped)
    return _SURROGATE.sub(r"\\ufffd", text).encode()


def go_json_exact(value: JsonValue) -> bytes:
    """Return what `go_json` does, with Go's way of writing fractions too; it is slower."""
    return _SURROGATE.sub(r"\\ufffd", _exact(value)).encode()


def _exact(value: JsonValue) -> str:
    match value:
        case float():
            return go_float(value)
        case Mapping():
            fields = (f"{_exact(name)}:{_exact(inner)}" for name, inner in value.items())
            return f"{{{','.join(fields)}}}"
        case list():
            return f"[{','.join(map(_exact, value))}]"
        case _:
            return go_json(value).decode()


def go_float(value: float) -> str:
    """Return a float as Go writes it: no exponent from a millionth up to 21 digits."""
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(repr(value)), "f")
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def go_float32(value: float) -> str:
    """Return a float of 32 bits as Go writes it: with no more digits than tell it apart."""
    for digits in range(6, 10):
        short = float(f"{value:.{digits}g}")
        if struct.pack("<f", short) == struct.pack("<f", value):
            return go_float(short)
    return go_float(value)


def go_time(time_ns: int) -> str:
    """Return nanoseconds since 1970 as Go writes a time: no zeros at the fraction's end."""
    seconds, fraction = divmod(time_ns, NANOSECONDS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def go_number(value: float) -> int | float:
    """Return a float as what Go writes for it: 1 and not 1.0."""
    return int(value) if value == int(value) else value


def quoted(text: str) -> str:
    """Return text as Go's `%q` writes it."""
    return f'"{"".join(map(_escaped, text))}"'


_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < 0x80
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def quoted_byte(byte: int) -> str:
    """Return a byte as Go's JSON scanner names it, taken for a character of Latin-1."""
    match chr(byte):
        case "'":
            return r"'\''"
        case '"':
            return "'\"'"
        case character:
            return f"'{_escaped(character)}'"
