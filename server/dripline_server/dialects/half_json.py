"""Completes a JSON object that was cut off, so that a reader can still parse its line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

_LITERALS = ("true", "false", "null")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_INSIDE = r'"(?:[^"\\]++|\\u[0-9a-fA-F]{4}|\\[^u])*+'
_TOKENS = re.compile(
    rf'(?P<string>{_INSIDE}")|(?P<half>{_INSIDE}(?P<escape>\\(?:u[0-9a-fA-F]{{0,3}})?)?)\Z'
    r'|[{}\[\]:,]|[^\s{}\[\]:,"]+',
    re.DOTALL,
)
_MOST_LEVELS = 500


class _Next(Enum):
    """What may come next in an object or an array."""

    KEY_OR_END = "the first key, or the end"
    KEY = "a key"
    COLON = "the colon"
    VALUE = "a value"
    VALUE_OR_END = "the first value, or the end"
    COMMA = "a comma, or the end"


def complete(half: bytes, fields: Mapping[str, Any]) -> bytes | None:
    """Return the bytes that make a cut-off JSON object whole, with these fields at its top level.

    Args:
        half: The start of the object, cut at any byte.
        fields: The fields to add. They come last, and so override fields of the same name.

    Returns:
        The bytes to append; None if `half` is not the start of a JSON object, or is a whole one.
    """
    try:
        added = _completion(half, fields)
    except ValueError:
        return None
    whole = (half + added).decode("utf-8", "replace")
    try:
        return added if isinstance(json.loads(whole), dict) else None
    except (ValueError, RecursionError):
        return None


def _completion(half: bytes, fields: Mapping[str, Any]) -> bytes:
    character = _rest_of_character(half)
    text = (half + character).decode("utf-8", "replace")
    stack: list[tuple[str, _Next]] = []
    rest = ""
    started = False
    for token in _TOKENS.finditer(text):
        if started and not stack:
            raise ValueError("the object is whole")
        started = True
        rest = _step(stack, token)
        if len(stack) > _MOST_LEVELS:
            raise ValueError("the object is nested too deep")
    if not stack:
        raise ValueError("this is not an object")
    return character + (rest + _close(stack, fields)).encode()


def _step(stack: list[tuple[str, _Next]], match: re.Match[str]) -> str:
    """Follow one token. Returns what completes the token, if it is cut off."""
    token = match[0]
    if not stack:
        if token != "{":
            raise ValueError("this is not an object")
        stack.append(("{", _Next.KEY_OR_END))
        return ""
    kind, following = stack[-1]
    match token:
        case "{" | "[":
            stack[-1] = (kind, _Next.COMMA)
            first = _Next.KEY_OR_END if token == "{" else _Next.VALUE_OR_END
            stack.append((token, first))
        case "}" | "]":
            stack.pop()
        case ":":
            stack[-1] = (kind, _Next.VALUE)
        case ",":
            stack[-1] = (kind, _Next.KEY if kind == "{" else _Next.VALUE)
        case _:
            is_key = following in (_Next.KEY, _Next.KEY_OR_END)
            stack[-1] = (kind, _Next.COLON if is_key else _Next.COMMA)
            if match["string"]:
                return ""
            return _rest_of_string(match) if match["half"] else _rest_of_word(token)
    return ""


def _rest_of_string(match: re.Match[str]) -> str:
    match match["escape"]:
        case None:
            return '"'
        case "\\":
            return '\\"'
        case escape:
            return "0" * (6 - len(escape)) + '"'


def _rest_of_word(token: str) -> str:
    for literal in _LITERALS:
        if literal.startswith(token):
            return literal.removeprefix(token)
    return next(rest for rest in ("", "0") if _NUMBER.fullmatch(token + rest) or rest)


def _close(stack: list[tuple[str, _Next]], fields: Mapping[str, Any]) -> str:
    """Return what closes every open array and object, with the fields in the outermost object."""
    text = ""
    for at in range(len(stack) - 1, -1, -1):
        kind, following = stack[at]
        outermost = at == 0
        if following is _Next.COLON:
            text += ":null"
        elif following is _Next.VALUE:
            text += "null"
        elif following is _Next.KEY and not outermost:
            text += '"":null'
        if outermost:
            separate = following not in (_Next.KEY, _Next.KEY_OR_END)
            listed = json.dumps(dict(fields), ensure_ascii=False)[1:-1]
            text += ("," if separate and listed else "") + listed
        text += "}" if kind == "{" else "]"
    return text


def _rest_of_character(data: bytes) -> bytes:
    """Return the bytes that complete a UTF-8 character that was cut off; b"" if none was."""
    for back in range(1, 4):
        lead = data[-back:]
        if len(lead) < back or lead[0] < 0x80:
            return b""
        if lead[0] >= 0xC0:
            size = 2 if lead[0] < 0xE0 else 3 if lead[0] < 0xF0 else 4
            missing = size - back
            for second in (b"\x80", b"\x90", b"\xa0"):  # some characters begin with a narrow range
                rest = (second + b"\x80\x80")[:missing]
                try:
                    (lead + rest).decode()
                except UnicodeDecodeError:
                    continue
                return rest if missing > 0 else b""
            return b""
    return b""
