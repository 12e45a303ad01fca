"""Find the recorded exchange for a request; if there is none, explain why."""

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
    """The recording has no answer to a request.

    Attributes:
        request: The request, without its secrets.
        nearest: The most similar recorded exchange; None if the recording is empty.
        reason: Why no exchange matches, in words.
        differences: The differences from the nearest one, in words.
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
    """Return method, path and query, for example "POST /api/chat"."""
    return f"{request.method} {request.path}{'?' * bool(request.query)}{request.query}"


class Playlist:
    """Finds the exchange for each request; every exchange is used once.

    Args:
        exchanges: The exchanges, in recorded order.
        match: How a request finds its exchange. "path": method, path and query must be equal; of
            several unused exchanges, the first with an equal body is chosen, otherwise the first.
            "body": the bodies must be equal too, where JSON is compared as JSON. "order": the
            exchanges are used in recorded order, and method, path and query must equal those of the
            next one. A function gets the recorded request and the actual one, and returns whether
            they match.
        repeat: Whether matching exchanges are used again, in order, once all have been used.

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
    def exchanges(self) -> Sequence[Exchange]:
        """All exchanges, used or not."""
        return self._exchanges

    def all_like(self, came: Request) -> list[Exchange]:
        """Return all exchanges that match a request, used or not."""
        return [exchange for exchange in self._exchanges if self._matches(exchange, came)]

    def use(
        self, came: Request, may_answer: Callable[[Exchange], bool] = lambda _: True
    ) -> Exchange:
        """Return the exchange for a request and mark it as used.

        Args:
            came: The request.
            may_answer: A further condition on the exchange.

        Raises:
            UnexpectedRequest: No unused exchange matches.
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
        """Mark an exchange as used."""
        for place, other in enumerate(self._left):
            if other is exchange:  # only one: a recording made in a test may contain it twice
                del self._left[place]
                return

    def left(self, came: Request) -> list[Exchange]:
        """Return the unused exchanges that match a request."""
        if self._match == "order":
            return [exchange for exchange in self._left[:1] if self._matches(exchange, came)]
        return [exchange for exchange in self._left if self._matches(exchange, came)]

    def _find(self, came: Request, may_answer: Callable[[Exchange], bool]) -> Exchange | None:
        left = [exchange for exchange in self.left(came) if may_answer(exchange)]
        if self._match == "path":
            # Compare bodies first, because concurrent requests arrive in any order.
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
            reason = "the recording expects another request next"
        else:
            nearest = max(
                alike or self._exchanges, key=lambda exchange: self._likeness(exchange, came)
            )
            reason = "it is not in the recording"
            if self._match == "order":
                reason = f"all {len(self._exchanges)} recorded requests have been used"
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
