"""How an answer fails: at which token or byte, how often, and in which way."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypedDict, Unpack
from weakref import WeakKeyDictionary


class FaultKind(Enum):
    """The ways in which an answer fails."""

    STATUS = "HTTP status"
    ERROR = "error line"
    CUT = "cut"
    TRUNCATED = "truncated"
    RESET = "reset"
    STALL = "stall"
    GARBAGE = "garbage line"
    LONG_LINE = "long line"
    LOOP = "loop"


class HowOften(TypedDict, total=False):
    """How often a fault strikes; see `Fault`."""

    times: int | None
    chance: float
    seed: int


class AtToken(HowOften, total=False):
    """How often, and at which token."""

    at_token: int


class Where(AtToken, total=False):
    """How often, and at which token or byte."""

    at_byte: int | None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True, kw_only=True)
class Fault:
    """A way in which answers fail; made by the methods below, one for each kind.

    `at_token` is how many tokens come before it; thinking counts, and so does a tool call, and a
    line of progress where a model is pulled, pushed or created. At 0 nothing has been sent, not
    even the headers: like Ollama, the fake holds them back until the first token. A reply that is
    shorter fails after its last token, before `done`. Without streaming nothing is sent before the
    end, so that the fault comes instead of the whole answer.

    `at_byte` strikes within the body instead, after so many of its bytes, wherever they are in a
    line. A body that is shorter does not fail.

    `times` is how many answers it hits, counted from the first; None hits them all. `chance` is how
    likely it hits one, drawn from `seed`: the same seed, the same answers.

    Raises:
        ValueError: A value is out of its range; names it.
    """

    kind: FaultKind
    at_token: int = 0
    at_byte: int | None = None
    times: int | None = None
    chance: float = 1.0
    seed: int = 0
    code: int = 0
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    line: bytes = b""
    size: int = 0

    def __post_init__(self) -> None:
        if self.at_token < 0:
            raise ValueError(f"at_token must be 0 or more, not {self.at_token}")
        if self.at_byte is not None and self.at_byte < 0:
            raise ValueError(f"at_byte must be 0 or more, not {self.at_byte}")
        if self.at_byte is not None and self.at_token:
            raise ValueError("a fault strikes at_token or at_byte, not at both")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, or None for always, not {self.times}")
        if not 0 <= self.chance <= 1:
            raise ValueError(f"chance must be from 0 to 1, not {self.chance}")
        if self.kind is FaultKind.STATUS and not 400 <= self.code <= 599:
            raise ValueError(f"code must be an HTTP error status, 400 to 599, not {self.code}")
        if self.kind is FaultKind.LONG_LINE and self.size < 1:
            raise ValueError(f"size must be at least 1 character, not {self.size}")

    @staticmethod
    def status(
        code: int,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **often: Unpack[HowOften],
    ) -> Fault:
        """Answer an HTTP error instead of anything else, before the model loads.

        Args:
            code: 404, 500, 503 or any other.
            message: What `error` in the body says; by default what Ollama would say.
            headers: More headers of the answer, such as {"Retry-After": "1"}.
            often: `times`, `chance` and `seed`.
        """
        given = dict(headers or {})
        return Fault(kind=FaultKind.STATUS, code=code, message=message, headers=given, **often)

    @staticmethod
    def error(
        message: str = "an error was encountered while running the model: unexpected EOF",
        **where: Unpack[Where],
    ) -> Fault:
        """End with a line `{"error": message}`; before the first token that is a status 500."""
        return Fault(kind=FaultKind.ERROR, code=500, message=message, **where)

    @staticmethod
    def cut(**where: Unpack[Where]) -> Fault:
        """Close the socket (TCP FIN) inside the body."""
        return Fault(kind=FaultKind.CUT, **where)

    @staticmethod
    def truncated(**where: Unpack[Where]) -> Fault:
        """End the body as HTTP wants it, but without the `done` line."""
        return Fault(kind=FaultKind.TRUNCATED, **where)

    @staticmethod
    def reset(**where: Unpack[Where]) -> Fault:
        """Reset the connection (TCP RST)."""
        return Fault(kind=FaultKind.RESET, **where)

    @staticmethod
    def stall(**where: Unpack[Where]) -> Fault:
        """Fall silent, with the connection open, until the client leaves."""
        return Fault(kind=FaultKind.STALL, **where)

    @staticmethod
    def garbage(
        line: bytes = b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        **where: Unpack[Where],
    ) -> Fault:
        """Send a line that is not Ollama's, and go on; without streaming it is the whole body."""
        return Fault(kind=FaultKind.GARBAGE, line=line, **where)

    @staticmethod
    def long_line(size: int, **where: Unpack[AtToken]) -> Fault:
        """Send one more chunk, right but with `size` characters of content, and go on."""
        return Fault(kind=FaultKind.LONG_LINE, size=size, **where)

    @staticmethod
    def loop(token: str = "\n", **where: Unpack[AtToken]) -> Fault:
        """Say the same token over and over, until Ollama gives the model up.

        That is after 31 of them, or 30 blank ones at the start: the body ends as HTTP wants it, and
        there is no `done` line. Real models do it where a `format` lets them write white space for
        ever. A script alone never does it: `Script("word " * 500)` is a long answer, to the end.
        """
        return Fault(kind=FaultKind.LOOP, message=token, **where)


class Strikes:
    """Counts how often faults have struck, and draws whether they do."""

    def __init__(self) -> None:
        self._struck: WeakKeyDictionary[Fault, int] = WeakKeyDictionary()
        self._draws: WeakKeyDictionary[Fault, random.Random] = WeakKeyDictionary()

    def strikes(self, fault: Fault | None) -> Fault | None:
        """Return a fault that is to strike now, and count it; None where it is not to."""
        if fault is None:
            return None
        struck = self._struck.get(fault, 0)
        if fault.times is not None and struck >= fault.times:
            return None
        if fault.chance < 1:
            draw = self._draws.setdefault(fault, random.Random(fault.seed))
            if draw.random() >= fault.chance:
                return None
        self._struck[fault] = struck + 1
        return fault
