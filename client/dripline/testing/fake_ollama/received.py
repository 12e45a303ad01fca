"""What the fake Ollama saw: each request, how far its answer got, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from dripline.clock import Clock
from dripline.testing.fake_ollama.faults import Fault
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.request import ReceivedChat


class Ending(Enum):
    """How a request ended."""

    FINISHED = "finished"  # the whole answer was sent, or an error that the request deserved
    CLIENT_LEFT = "client left"  # the client closed the connection before that
    FAULTED = "faulted"  # the script's fault ended it
    SERVER_CLOSED = "server closed"  # the fake was closed meanwhile


class Phase(Enum):
    """Where a chat is; each is entered at most once, in this order."""

    LOADING = "loading"  # the model is not in memory yet; the headers are held back
    EVALUATING = "evaluating"  # the model is loaded, the first token is not there yet
    ANSWERING = "answering"  # the first token has come, and has been sent where it is a stream
    STALLED = "stalled"  # the script's fault has made it silent


@dataclass(slots=True, eq=False)
class Connection:
    """A client's TCP connection.

    Attributes:
        transport: asyncio's end of it.
        current: The request that it carries now, or carried last.
        closed_at: When it closed, on the fake's monotonic clock; None while it is open.
        closed: Set when it has closed.
    """

    transport: asyncio.Transport
    current: ReceivedRequest | None = None
    closed_at: float | None = None
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class ReceivedRequest:
    """A request, and what became of it. All times are in seconds on the fake's monotonic clock.

    Attributes:
        method: Such as "POST".
        path: Such as "/api/chat".
        headers: The headers; their names are matched in any case.
        body: The parsed JSON; None where there is none, or it is not JSON.
        started_at: When its headers had come.
        ended_at: When it ended; None until then. A client that leaves ends it at once.
        ended: How it ended; None until then.
        status: The HTTP status that was sent; None until then.
        tokens_sent: Tokens handed to the network: chunks of thinking or text, and tool calls.
        fault: The fault that struck it, if one did.
        chat: What it asks a model to say, whichever endpoint it came to; None where it does not.
    """

    def __init__(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        connection: Connection,
        clock: Clock,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body: JsonValue = None
        self.started_at: float = clock.monotonic()
        self.ended_at: float | None = None
        self.ended: Ending | None = None
        self.status: int | None = None
        self.tokens_sent: int = 0
        self.fault: Fault | None = None
        self.chat: ReceivedChat | None = None
        self._entered: set[Phase] = set()
        self._connection = connection
        self._clock = clock
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        state = self.ended.value if self.ended else "open"
        return f"<{self.method} {self.path}: {state}, {self.tokens_sent} tokens sent>"

    @property
    def seconds(self) -> float:
        """How long it was open, or has been open until now."""
        until = self._clock.monotonic() if self.ended_at is None else self.ended_at
        return until - self.started_at

    @property
    def verdict(self) -> str:
        """What the client did, in words for the message of a failing test."""
        so_far = f"after {self.tokens_sent} tokens and {self.seconds:.3f} s"
        match self.ended:
            case None:
                return f"still reading {so_far}"
            case Ending.FINISHED:
                return f"read to the end, {so_far}"
            case Ending.CLIENT_LEFT:
                return f"left {so_far}"
            case Ending.FAULTED:
                return f"met the {self.fault.kind.value if self.fault else 'end'} {so_far}"
            case Ending.SERVER_CLOSED:
                return f"was still reading when the server closed, {so_far}"

    @property
    def got_whole_answer(self) -> bool:
        """Whether the client was sent an answer that is a success and came to its end."""
        return self.ended is Ending.FINISHED and (self.status or 0) < 400

    @property
    def closed_at(self) -> float | None:
        """When its connection closed; None while it is open: clients keep it for the next one."""
        return self._connection.closed_at

    async def wait_ended(self) -> Ending:
        """Wait until it has ended, and return how. Safe to cancel."""
        while self.ended is None:
            await self._changed.wait()
        return self.ended

    async def wait_closed(self) -> None:
        """Wait until its connection is closed. Safe to cancel."""
        await self._connection.closed.wait()

    async def wait_tokens(self, count: int) -> None:
        """Wait until `count` tokens have been sent. Safe to cancel.

        Raises:
            RuntimeError: It ended before.
        """
        await self._wait(lambda: self.tokens_sent >= count, f"{count} tokens were sent")

    async def wait_phase(self, phase: Phase) -> None:
        """Wait until it has entered a phase. Safe to cancel.

        Raises:
            RuntimeError: It ended without entering it.
        """
        await self._wait(lambda: phase in self._entered, f"it was {phase.value}")

    async def _wait(self, happened: Callable[[], bool], what: str) -> None:
        while not happened():
            if self.ended:
                raise RuntimeError(f"{self!r} ended before {what}")
            await self._changed.wait()

    # The rest is for the fake itself.

    def enter(self, phase: Phase) -> None:
        """Note that it has entered a phase."""
        self._entered.add(phase)
        self._notify()

    def sent(self, tokens: int) -> None:
        """Note that so many more tokens have been sent."""
        self.tokens_sent += tokens
        self._notify()

    def end(self, how: Ending) -> None:
        """Note how it ended; only the first call counts."""
        if self.ended is None:
            self.ended = how
            self.ended_at = self._clock.monotonic()
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
