"""Reads a body as Go's `encoding/json` does: one value, and the rest is not looked at.

Python's parser reads what is right, because it is fast. What it refuses is walked through again
with Go's own steps, because each step has its own words for what it does not expect.
"""

from __future__ import annotations

import json
from typing import cast

from dripline.testing.fake_ollama.go.go_writing import quoted_byte
from dripline.testing.fake_ollama.json_value import JsonValue

MAX_DEPTH = 10_000  # `maxNestingDepth` of Go's scanner
_BLANKS = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}


class GoError(Exception):
    """What Go's JSON package has against a body; the message is Go's own."""

    @property
    def message(self) -> str:
        """Go's words."""
        return str(self.args[0])


class NothingToRead(GoError):
    """The body is empty: `io.EOF`."""

    def __init__(self) -> None:
        super().__init__("EOF")


class Literal(float):
    """A number as it was written, which Go repeats when it does not fit."""

    __slots__ = ("text",)
    text: str


def _literal(text: str) -> Literal:
    number = Literal(text)
    number.text = text
    return number


def _integer(text: str) -> int | Literal:
    return int(text) if len(text) < 300 else _literal(text)  # int() refuses thousands of digits


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity, which Python takes


_DECODER = json.JSONDecoder(parse_float=_literal, parse_int=_integer, parse_constant=_refuse)


def read_json(body: bytes) -> JsonValue:
    """Return the first JSON value of a body.

    Raises:
        GoError: Go would refuse it.
    """
    text = body.decode(errors="replace").lstrip(_BLANKS.decode())
    if not text:
        raise NothingToRead
    try:
        return cast("JsonValue", _DECODER.raw_decode(text)[0])
    except (ValueError, RecursionError):
        _Scanner(body).scan()
        # Go's scanner takes it all the same: nested deeper than Python's parser goes.
        raise GoError("exceeded max depth") from None


class _Scanner:
    """Walks through a body until Go would stop; keeps its own stack, so any depth is safe."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._open: list[int] = []  # the brackets that are open, as bytes

    def scan(self) -> None:
        """Go past one value.

        Raises:
            GoError: At the first byte that Go does not expect.
        """
        while True:
            self._start_of_value()
            while not self._value_follows():
                if not self._open:
                    return
                self._open.pop()

    def _start_of_value(self) -> None:
        """Go past a scalar, or past every bracket and key before one; or up to an early end."""
        while True:
            byte = self._next_unblank()
            if byte not in b"{[":
                return self._scalar(byte)
            self._open.append(byte)
            if len(self._open) > MAX_DEPTH:
                raise self._wrong(byte, "exceeded max depth")
            if self._peek_unblank() == _CLOSING[byte]:
                return None
            if byte == ord("{"):
                self._key()

    def _value_follows(self) -> bool:
        """Go past what comes after a value: a comma and a key, or a closing bracket."""
        if not self._open:
            return False
        byte = self._next_unblank()
        if byte == _CLOSING[self._open[-1]]:
            return False
        in_object = self._open[-1] == ord("{")
        if byte != ord(","):
            raise self._wrong(
                byte, "after object key:value pair" if in_object else "after array element"
            )
        if in_object:
            self._key()
        return True

    def _key(self) -> None:
        if (byte := self._next_unblank()) != ord('"'):
            raise self._wrong(byte, "looking for beginning of object key string")
        self._string()
        if (byte := self._next_unblank()) != ord(":"):
            raise self._wrong(byte, "after object key")

    def _next(self) -> int:
        if self._at >= len(self._body):
            raise GoError("unexpected EOF")
        byte = self._body[self._at]
        self._at += 1
        return byte

    def _next_unblank(self) -> int:
        while (byte := self._next()) in _BLANKS:
            pass
        return byte

    def _peek_unblank(self) -> int | None:
        while self._here(_BLANKS):
            pass
        return self._body[self._at] if self._at < len(self._body) else None

    def _wrong(self, byte: int, where: str) -> GoError:
        return GoError(f"invalid character {quoted_byte(byte)} {where}")

    def _scalar(self, byte: int) -> None:
        if byte == ord('"'):
            self._string()
        elif byte == ord("-") or byte in _DIGITS:
            self._number(byte)
        elif byte in b"tfn":
            word = {ord("t"): "true", ord("f"): "false", ord("n"): "null"}[byte]
            for expected in word[1:]:
                if (byte := self._next()) != ord(expected):
                    raise self._wrong(byte, f"in literal {word} (expecting '{expected}')")
        else:
            raise self._wrong(byte, "looking for beginning of value")

    def _string(self) -> None:
        while (byte := self._next()) != ord('"'):
            if byte < 0x20:
                raise self._wrong(byte, "in string literal")
            if byte != ord("\\"):
                continue
            if (byte := self._next()) == ord("u"):
                for _ in range(4):
                    if (byte := self._next()) not in _HEX:
                        raise self._wrong(byte, "in \\u hexadecimal character escape")
            elif byte not in b'bfnrt\\/"':
                raise self._wrong(byte, "in string escape code")

    def _number(self, byte: int) -> None:
        if byte == ord("-") and (byte := self._next()) not in _DIGITS:
            raise self._wrong(byte, "in numeric literal")
        if byte != ord("0"):
            self._digits()
        if self._here(b"."):
            if (byte := self._next()) not in _DIGITS:
                raise self._wrong(byte, "after decimal point in numeric literal")
            self._digits()
        if self._here(b"eE"):
            self._here(b"+-")
            if (byte := self._next()) not in _DIGITS:
                raise self._wrong(byte, "in exponent of numeric literal")
            self._digits()

    def _digits(self) -> None:
        while self._here(_DIGITS):
            pass

    def _here(self, expected: bytes) -> bool:
        """Go past the next byte if it is one of these."""
        found = self._at < len(self._body) and self._body[self._at] in expected
        self._at += found
        return found
