"""The stream of one run: it resumes after a lost connection, and stops the run when left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, NoReturn, Protocol, Self
from urllib.parse import quote

import aiohttp

from dripline.answer import Answer
from dripline.chat.chat_stream import ChatStream, OnLeave, ending_of
from dripline.errors import (
    DriplineError,
    EventsDropped,
    MalformedEvent,
    RequestError,
    RequestRefused,
    RunGone,
    ServerTimeout,
    StreamTruncated,
    TransportError,
)
from dripline.events import End, Event, from_json
from dripline.http.backoff import Attempts, Backoff, may_pass
from dripline.http.event_reader import EventReader
from dripline.http.sending import check_event_stream, retry_after
from dripline.sse import ServerSentEvent

logger: logging.Logger = logging.getLogger(__name__)

# Seconds for stopping a run on leaving: a dead server must not hold a cancelled task for longer.
LEAVE_TIMEOUT = 3.0


class Requester(Protocol):
    """The part of `dripline.chat.client.ChatClient` that streams use."""

    backoff: Backoff
    closed: bool
    max_event_size: int
    on_drop: Callable[[TransportError], None]
    silence_timeout: float

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its response, which the caller closes."""
        ...

    async def stop(self, run_id: str) -> None:
        """Stop a run."""
        ...


class RunStream(ChatStream):
    """The stream of one run.

    When the connection is lost, the stream attaches to its run again after the last event, so the
    caller sees one uninterrupted sequence. Each event's id must be one more than the last: a
    missing or repeated event raises `MalformedEvent` and is never silently accepted.
    """

    def __init__(
        self,
        client: Requester,
        *,
        messages: Sequence[Mapping[str, Any]] = (),
        fields: Mapping[str, Any] | None = None,
        run_id: str = "",
        after: int = 0,
        pulls: str = "",
        on_leave: OnLeave,
    ) -> None:
        self.messages: Sequence[Mapping[str, Any]] = messages
        self.answer: Answer = Answer()
        self._run_id = run_id
        self._reconnects = 0
        self._client = client
        self._fields = fields or {}
        self._pulls = pulls
        self._on_leave = on_leave
        self._seq = after
        self._attempts = Attempts(client.backoff)
        self._reader: EventReader | None = None
        self._received: Iterator[ServerSentEvent] = iter(())
        self._lost: DriplineError | None = None
        self._state: Literal["new", "entered", "left"] = "new"
        self._over = False

    @property
    def run_id(self) -> str:
        """See `ChatStream`."""
        return self._run_id

    @property
    def reconnects(self) -> int:
        """See `ChatStream`."""
        return self._reconnects

    @property
    def last_event_id(self) -> str:
        """See `ChatStream`."""
        return str(self._seq) if self._seq else ""

    async def __aenter__(self) -> Self:
        """See `ChatStream`."""
        if self._state != "new":
            raise RuntimeError("a stream can be entered only once; ask the client for another one")
        self._state = "entered"
        if self._run_id:
            self._over = not await self._attach()
        else:
            await self._send()
        return self

    async def _send(self) -> None:
        """Send the conversation, or the model to get; the server starts a run for it."""
        if self._pulls:
            body: dict[str, Any] = {"model": self._pulls}
            response = await self._client.request("POST", "/models/pull", body)
        else:
            body = {"messages": self.messages, **self._fields}
            response = await self._client.request("POST", "/chat", body)
        self._open(response)
        self._run_id = response.headers.get("X-Run-Id", "")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `ChatStream`."""
        self._state = "left"
        try:
            if self._on_leave == "stop" and self._run_id and not self._over:
                await despite_cancellation(self._stop_on_leaving())
        finally:
            self._disconnect()

    async def stop(self) -> None:
        """See `ChatStream`."""
        if self._over:
            return
        if not self._run_id:
            raise RequestError("the server has not named the run, so it cannot be stopped")
        with suppress(RunGone):
            await self._client.stop(self._run_id)

    async def __anext__(self) -> Event:
        """See `ChatStream`."""
        while not self._over:
            message = next(self._received, None)
            if message is None:
                await self._step()
            elif event := self._parse(message):
                return event
        raise ending_of(self.answer)

    async def _step(self) -> None:
        """Read more events; without a connection, try once to attach again."""
        if self._client.closed:
            raise StreamTruncated(self.last_event_id, "the client is closed")
        if self._reader is None:
            await self._resume()
            return
        try:
            received = await self._reader.read()
        except (StreamTruncated, ServerTimeout) as lost:
            self._lose(lost)
            return
        if received is None:
            self._lose(StreamTruncated(self.last_event_id, "the body ended"))
        elif received:
            self._received = iter(received)
            self._attempts.succeeded()

    def _parse(self, message: ServerSentEvent) -> Event | None:
        """Add the event to the answer and return it; None if its type is unknown here."""
        if message.id != str(self._seq + 1):
            raise MalformedEvent("id", f"should be {self._seq + 1}, is {message.id!r}")
        event = from_json(message.data)
        self._seq += 1
        if event:
            self.answer.add(event)
            self._over = isinstance(event, End)
        return event

    def _lose(self, lost: StreamTruncated | ServerTimeout) -> None:
        """Close the lost connection, log why, and call `on_drop`."""
        self._lost = lost
        self._disconnect()
        logger.info("run %s: the connection is lost: %s", self._run_id[:8], lost)
        self._client.on_drop(lost)

    async def _resume(self) -> None:
        """Try once to attach again, or raise if it cannot succeed any more."""
        if self._state != "entered" or self._lost is None:
            raise RuntimeError("iterate inside the context: async with client.chat(...) as stream")
        if not (self._run_id and may_pass(self._lost) and await self._attempts.wait(self._pause())):
            self._give_up(self._lost)
        try:
            attached = await self._attach()
        except DriplineError as error:
            self._lost = error
            return
        if not attached:
            raise StreamTruncated(self.last_event_id, "the server has no events after it")
        self._reconnects += 1

    def _give_up(self, lost: DriplineError) -> NoReturn:
        named = isinstance(lost, TransportError) and not may_pass(lost)
        if named or not self._attempts.made:
            raise lost
        reason = f"{lost}; attempts to attach again: {self._attempts.made}"
        raise StreamTruncated(self.last_event_id, reason) from lost

    def _pause(self) -> float:
        """Return the server's `Retry-After` in seconds; 0 if it sent none."""
        return retry_after(self._lost.headers) if isinstance(self._lost, RequestRefused) else 0.0

    async def _attach(self) -> bool:
        """Attach to the run after the last event; False if the run has no more events."""
        position = {"Last-Event-ID": self.last_event_id} if self._seq else {}
        try:
            path = f"{run_path(self._run_id)}/events"
            response = await self._client.request("GET", path, headers=position)
        except RequestRefused as refused:
            if refused.status == 404:
                raise RunGone(self._run_id) from refused
            if refused.status == 410:
                first = refused.headers.get("X-First-Event-Id", "")
                raise EventsDropped(self.last_event_id, first) from refused
            raise
        if response.status == 204:
            response.close()
            return False
        self._open(response)
        return True

    def _open(self, response: aiohttp.ClientResponse) -> None:
        check_event_stream(response)
        self._attempts.connected()
        self._reader = EventReader(
            response,
            last_event_id=self.last_event_id,
            max_event_size=self._client.max_event_size,
            silence_timeout=self._client.silence_timeout,
        )

    def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            reader.close()

    async def _stop_on_leaving(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self.stop()
        except (DriplineError, TimeoutError) as error:
            reason = str(error) or f"no answer within {LEAVE_TIMEOUT:g} s"
            logger.warning("run %s was left without being stopped: %s", self._run_id[:8], reason)


async def despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Wait until `work` is done, even if cancelled; the cancellation is raised afterwards."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled:
        raise cancelled


def run_path(run_id: str) -> str:
    """Return a run's path on the server.

    Raises:
        ValueError: `run_id` cannot be a run's id.
    """
    if run_id in ("", ".", ".."):
        raise ValueError(f"run_id must be a run's id, not {run_id!r}")
    return f"/runs/{quote(run_id, safe='')}"


def position_after(after: str | int) -> int:
    """Return a last event ID as a number; "" means before the first event, which is 0.

    Raises:
        ValueError: It is not an event id of dripline.
    """
    text = str(after) or "0"
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"after must be a last event ID, a whole number, not {after!r}")
    return int(text)
