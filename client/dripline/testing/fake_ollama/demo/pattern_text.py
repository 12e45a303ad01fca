"""Texts that match a regular expression, for the `pattern` of a JSON schema."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS = "0123456789"
_WORD = string.ascii_letters + _DIGITS + "_"
_ANY = "a1 -_.,:/@" + string.ascii_letters + _DIGITS + string.punctuation + "é"
_MOST = 40  # characters that a repetition is grown by, to reach a least length
_CLASSES = {
    "d": _DIGITS,
    "w": _WORD,
    "s": " \t\n",
    "D": "".join(c for c in _ANY if c not in _DIGITS),
    "W": "".join(c for c in _ANY if c not in _WORD),
    "S": "".join(c for c in _ANY if not c.isspace()),
}
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}


class PatternUnknown(ValueError):
    """A pattern that no text can be made for here."""


@dataclass(frozen=True, slots=True)
class _Repeat:
    """An atom, and how often it may stand: a text, the characters of a class, or alternatives."""

    atom: str | frozenset[str] | tuple[tuple[_Repeat, ...], ...]
    least: int = 1
    most: int | None = 1


def matching(pattern: str, *, least: int = 0, most: int | None = None) -> Iterator[str]:
    """Give texts that match a pattern somewhere, as JSON schema wants it, and have such a length.

    Raises:
        PatternUnknown: It is no regular expression, or one of a kind that is not known here.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise PatternUnknown(f"the pattern {pattern!r} is wrong: {error}") from error
    choices = _Parser(pattern).parse()
    seen: set[str] = set()
    for other, grown in [*((0, grown) for grown in range(_MOST)), *((n, 0) for n in range(1, 9))]:
        for choice in choices[:_MOST]:
            text = _write(choice, grown, other)
            if len(text) < least and not pattern.endswith("$"):
                text += "a" * (least - len(text))
            fits = least <= len(text) and (most is None or len(text) <= most)
            if fits and text not in seen and compiled.search(text):
                seen.add(text)
                yield text


def _write(sequence: tuple[_Repeat, ...], grown: int, other: int) -> str:
    """Return a text of a sequence.

    Args:
        sequence: What is to stand in it.
        grown: How much longer its repetitions are than need be.
        other: Which of the characters of a class are taken: from the first on, or later ones.
    """
    text = ""
    for repeat in sequence:
        most = repeat.least + grown if repeat.most is None else repeat.most
        for index in range(min(repeat.least + grown, most)):
            match repeat.atom:
                case str() as literal:
                    text += literal
                case frozenset() as characters:
                    text += _pick(characters, index + other)
                case alternatives:
                    text += _write(alternatives[(grown + other) % len(alternatives)], 0, other)
    return text


def _pick(characters: frozenset[str], index: int) -> str:
    ordered = sorted(characters, key=lambda c: (not c.isalnum(), c.isupper(), c))
    if not ordered:
        raise PatternUnknown("the pattern has a class of no characters")
    return ordered[index % len(ordered)]


class _Parser:
    """Reads as much of regular expressions as the patterns of schemas use."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def parse(self) -> tuple[tuple[_Repeat, ...], ...]:
        """Return the alternatives."""
        choices = self._alternatives()
        if self._at < len(self._pattern):
            raise self._unknown()
        return choices

    def _unknown(self) -> PatternUnknown:
        return PatternUnknown(f"the pattern {self._pattern!r} is not understood here")

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _here(self, text: str) -> bool:
        found = self._pattern.startswith(text, self._at)
        self._at += len(text) if found else 0
        return found

    def _alternatives(self) -> tuple[tuple[_Repeat, ...], ...]:
        choices = [self._sequence()]
        while self._here("|"):
            choices.append(self._sequence())
        return tuple(choices)

    def _sequence(self) -> tuple[_Repeat, ...]:
        found = []
        while self._peek() not in ("", "|", ")"):
            atom = self._atom()
            least, most = self._quantifier()
            if atom != "":
                found.append(_Repeat(atom, least, most))
        return tuple(found)

    def _atom(self) -> str | frozenset[str] | tuple[tuple[_Repeat, ...], ...]:
        match self._next():
            case "^" | "$":
                return ""
            case ".":
                return frozenset(_ANY)
            case "[":
                return self._class()
            case "(":
                return self._group()
            case "\\":
                return self._escape()
            case character:
                return character

    def _group(self) -> str | tuple[tuple[_Repeat, ...], ...]:
        looks = False
        if self._here("?"):
            if self._here("=") or self._here("!") or self._here("<=") or self._here("<!"):
                looks = True  # what is made is looked at in the end
            elif self._here("P<") or self._here("<"):
                self._at = self._pattern.find(">", self._at) + 1
            elif not self._here(":"):
                raise self._unknown()
        inner = self._alternatives()
        if not self._here(")"):
            raise self._unknown()
        return "" if looks else inner

    def _escape(self) -> str | frozenset[str]:
        character = self._next()
        if character in _CLASSES:
            return frozenset(_CLASSES[character])
        if character in "bBAZz":
            return ""
        if character in "ux":
            size = 4 if character == "u" else 2
            code = self._pattern[self._at : self._at + size]
            self._at += size
            return chr(int(code, 16))
        if character.isdigit() or character in "pP":
            raise self._unknown()
        return _ESCAPED.get(character, character)

    def _class(self) -> frozenset[str]:
        inverted = self._here("^")
        characters: set[str] = set()
        first = True
        while first or self._peek() != "]":
            first = False
            start = self._member()
            if len(start) == 1 and self._peek() == "-" and self._pattern[self._at + 1] != "]":
                self._at += 1
                (low,), (high,) = start, self._member()
                last = min(ord(high), ord(low) + 1000)
                characters |= {chr(code) for code in range(ord(low), last + 1)}
            else:
                characters |= start
        self._at += 1
        return frozenset(set(_ANY) - characters) if inverted else frozenset(characters)

    def _member(self) -> frozenset[str]:
        character = self._next()
        if character != "\\":
            return frozenset(character)
        if self._here("b"):
            return frozenset("\b")
        found = self._escape()
        return frozenset(found) if isinstance(found, str) else found

    def _quantifier(self) -> tuple[int, int | None]:
        most: int | None
        if self._here("*"):
            least, most = 0, None
        elif self._here("+"):
            least, most = 1, None
        elif self._here("?"):
            least, most = 0, 1
        elif found := re.compile(r"\{(\d+)(?:(,)(\d*))?\}").match(self._pattern, self._at):
            self._at = found.end()
            least = int(found[1])
            most = least if not found[2] else int(found[3]) if found[3] else None
        else:
            return 1, 1
        if not self._here("?"):
            self._here("+")
        return least, most  # lazy or possessive, the texts are the same
