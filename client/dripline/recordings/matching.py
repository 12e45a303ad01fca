"""Which recorded exchange answers a request, and what to say where none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Literal

from dripline.http.redaction import Redaction
from dripline.recordings.differences import (
    address_differences,
    body_differences,
    same_address,
    same_body,
)
from dripline.recordings.exchange import Exchange, Request

Match = Literal["order", "path", "body"] | Callable[[Request, Request], bool]
MATCHES = ("order", "path", "body")

_SHOWN_DIFFERENCES = 6
_REDACTION = Redaction()


class UnexpectedRequest(AssertionError):
    """A request came that the recording has no answer for.

    Attributes:
        request: What came, without its secrets.
        nearest: The recorded exchange that is most like it; None where there is none.
        reason: Why no exchange answers it, in words.
        differences: How it differs from the nearest, in words.
    """

    def __init__(
        self,
        request: Request,
        nearest: Exchange | None,
        reason: str,
        differences: Sequence[str] = (),
    ) -> None:
        super().__init__(request, nearest, reason, differences)
        self.request: Request = request
        self.nearest: Exchange | None = nearest
        self.reason: str = reason
        self.differences: Sequence[str] = differences

    def __str__(self) -> str:
        lines = [f"unexpected request: {address(self.request)}", f"  {self.reason}"]
        if self.nearest:
            recorded = f"the nearest recorded request is {address(self.nearest.request)}"
            part = f" (part {self.nearest.part})" if self.nearest.part else ""
            lines.append(f"  {recorded}{part}")
        lines += [f"    {difference}" for difference in self.differences]
        return "\n".join(lines)


def address(request: Request) -> str:
    """Return method, path and query, such as "POST /api/chat"."""
    return f"{request.method} {request.path}{'?' * bool(request.query)}{request.query}"


class Playlist:
    """Hands out the exchanges of a recording, each once.

    Args:
        exchanges: In their order.
        match: How a request finds its exchange. "path": method, path and query are the same; where
            several are left, the first with the same body, else the first. "body": the bodies are
            the same too, JSON compared as JSON. "order": the exchanges are handed out in the order
            in which they were recorded, and method, path and query must be those of the next. A
            function is called with the recorded request and the one that came, and says whether
            they match.
        repeat: Whether all exchanges that match are handed out again, in order, once none of them
            is left.

    Raises:
        ValueError: There is no such `match`.
    """

    def __init__(
        self, exchanges: Sequence[Exchange], match: Match = "path", *, repeat: bool = False
    ) -> None:
        if not callable(match) and match not in MATCHES:
            raise ValueError(f"match must be {', '.join(MATCHES)} or a function, not {match!r}")
        self._exchanges = list(exchanges)
        self._match = match
        self._repeat = repeat
        self._left = list(exchanges)

    @property
    def first(self) -> Exchange:
        """The first exchange, handed out or not."""
        return self._exchanges[0]

    def all_like(self, came: Request) -> list[Exchange]:
        """Return the exchanges that match a request, handed out or not."""
        return [exchange for exchange in self._exchanges if self._matches(exchange, came)]

    def take(
        self, came: Request, may_answer: Callable[[Exchange], bool] = lambda _: True
    ) -> Exchange:
        """Return the exchange that answers a request; it is not handed out again.

        Args:
            came: The request.
            may_answer: What else must hold for the exchange.

        Raises:
            UnexpectedRequest: There is none.
        """
        found = self._find(came, may_answer)
        if found is None and self._repeat:
            in_order = self._match == "order"
            self._left += self._exchanges * (not self._left) if in_order else self.all_like(came)
            found = self._find(came, may_answer)
        if found is None:
            raise self._unexpected(came)
        self.remove(found)
        return found

    def remove(self, exchange: Exchange) -> None:
        """Count an exchange as handed out."""
        for place, other in enumerate(self._left):
            if other is exchange:  # once: a recording made in a test may hold it twice
                del self._left[place]
                return

    def left(self, came: Request) -> list[Exchange]:
        """Return the exchanges that match a request and have not been handed out."""
        if self._match == "order":
            return [exchange for exchange in self._left[:1] if self._matches(exchange, came)]
        return [exchange for exchange in self._left if self._matches(exchange, came)]

    def _find(self, came: Request, may_answer: Callable[[Exchange], bool]) -> Exchange | None:
        left = [exchange for exchange in self.left(came) if may_answer(exchange)]
        if self._match == "path":
            # Requests that are made at once come in any order.
            alike = (exchange for exchange in left if same_body(exchange.request, came))
            return next(alike, left[0] if left else None)
        return left[0] if left else None

    def _matches(self, exchange: Exchange, came: Request) -> bool:
        recorded = exchange.request
        if callable(self._match):
            try:
                return bool(self._match(recorded, came))
            except Exception as error:
                problem = f"`match` failed: {error!r}"
                raise UnexpectedRequest(came.redacted(_REDACTION), exchange, problem) from error
        if self._match == "body":
            return same_address(recorded, came) and same_body(recorded, came)
        return same_address(recorded, came)

    def _unexpected(self, came: Request) -> UnexpectedRequest:
        shown = came.redacted(_REDACTION)
        if not self._exchanges:
            return UnexpectedRequest(shown, None, "the recording holds no request")
        alike = self.all_like(came)
        if self._match == "order" and self._left:
            nearest = self._left[0]
            reason = "another request is the next one in the recording"
        else:
            nearest = max(
                alike or self._exchanges, key=lambda exchange: self._likeness(exchange, came)
            )
            reason = "it is not in the recording"
            if self._match == "order":
                reason = f"all {len(self._exchanges)} recorded requests have come already"
            elif alike:
                reason = f"the recording has it {_times(len(alike))}, and it has come more often"
        differences = [
            *address_differences(nearest.request, came),
            *body_differences(nearest.request, came),
        ]
        hidden = len(differences) - _SHOWN_DIFFERENCES
        differences = differences[:_SHOWN_DIFFERENCES]
        differences += [f"and {hidden} more"] * (hidden > 0)
        return UnexpectedRequest(shown, nearest, reason, differences or ["without a difference"])

    def _likeness(self, exchange: Exchange, came: Request) -> tuple[float, ...]:
        recorded = exchange.request
        return (
            recorded.path == came.path,
            SequenceMatcher(None, recorded.path, came.path, autojunk=False).ratio(),
            recorded.method == came.method,
            any(exchange is other for other in self._left),
            -len([*body_differences(recorded, came)]),
        )


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
