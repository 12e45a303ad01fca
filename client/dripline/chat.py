"""The chat client: send a chat, follow its stream through every drop, stop it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self, TypedDict, Unpack
from urllib.parse import quote

import aiohttp
import orjson

from dripline.answer import Answer
from dripline.backoff import Attempts, Backoff, may_pass
from dripline.errors import (
    DriplineError,
    EventsDropped,
    MalformedEvent,
    RequestError,
    RequestRefused,
    RunFailed,
    RunGone,
    ServerTimeout,
    StreamTruncated,
    TransportError,
)
from dripline.event_reader import MAX_EVENT_SIZE, EventReader
from dripline.events import End, Error, Event, from_json
from dripline.http_request import check_event_stream, open_session, retry_after, send
from dripline.sse import ServerSentEvent

logger = logging.getLogger(__name__)

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_BACKOFF: Final = Backoff()
# For stopping a run that is left: a dead server must not keep a cancelled task for longer.
LEAVE_TIMEOUT = 3.0

Messages = str | Sequence[Mapping[str, Any]]
OnLeave = Literal["stop", "detach"]


class ChatFields(TypedDict, total=False):
    """The further fields of a chat request; Ollama's documentation explains its own.

    `on_disconnect` says what a run does when nobody reads it any more: "stop" at once, "continue"
    to its end, or, left out, go on for the server's grace time. With "stop", a lost connection
    ends the answer: resuming gives `End("cancelled")`.
    """

    model: str
    options: Mapping[str, Any]
    format: str | Mapping[str, Any]
    keep_alive: str | float
    think: bool | Literal["low", "medium", "high", "max"]
    tools: Sequence[Mapping[str, Any]]
    logprobs: bool
    top_logprobs: int
    ui_control: Literal["auto", "rules", "tools", "off"]
    on_disconnect: Literal["stop", "continue"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the server can use.

    Attributes:
        name: Such as "mistral:latest".
        size: Bytes on disk.
        capabilities: Such as "completion", "tools", "thinking", "vision".
        loaded: Whether it is in memory now.
    """

    name: str
    size: int
    capabilities: tuple[str, ...]
    loaded: bool


class ChatClient:
    """Talks to one dripline server; use it as an async context manager, or `close()` it.

    Args:
        url: The server's address.
        silence_timeout: Seconds without a byte, heartbeats counted, after which a connection
            counts as lost; more than the server's `--heartbeat`.
        max_event_size: The largest event that is taken, in bytes.
        backoff: How streams resume, and when they give up; `Backoff(attempts=0)`: never resume.
        on_drop: Called with what happened each time a stream has lost its connection, before it
            tries to resume; for telling a person.
        middlewares: What goes around each HTTP request, such as a `Recorder`.

    Attributes:
        closed: Whether it has been closed.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        silence_timeout: float = 60.0,
        max_event_size: int = MAX_EVENT_SIZE,
        backoff: Backoff = DEFAULT_BACKOFF,
        on_drop: Callable[[TransportError], None] = lambda _: None,
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    ) -> None:
        self.url = url.rstrip("/")
        self.silence_timeout = silence_timeout
        self.max_event_size = max_event_size
        self.backoff = backoff
        self.on_drop = on_drop
        self.middlewares = tuple(middlewares)
        self.closed = False
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, for good; streams that are open end with `StreamTruncated`."""
        self.closed = True
        if self._session:
            await self._session.close()

    def chat(
        self, messages: Messages, *, on_leave: OnLeave = "stop", **fields: Unpack[ChatFields]
    ) -> ChatStream:
        """Return the stream of an answer; entering it sends the chat, once.

        Args:
            messages: A prompt, or the conversation so far as Ollama's messages:
                `{"role": "user", "content": "..."}`, with `images`, `tool_calls`, `tool_name`
                and `thinking` where there are any.
            on_leave: What leaving the stream before its end does: "stop" the run, or "detach"
                from it; then it can be attached to again.
            fields: See `ChatFields`.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        sent = [dict(message) for message in messages]
        return ChatStream(self, messages=sent, fields=dict(fields), on_leave=on_leave)

    def attach(
        self, run_id: str, *, after: str | int = 0, on_leave: OnLeave = "detach"
    ) -> ChatStream:
        """Return the stream of a run that was started before, by this client or another one.

        Where the run is over and `after` is its last event, the stream has no events.

        Args:
            run_id: The run: `ChatStream.run_id`.
            after: The last event ID that is known already; by default all events come.
            on_leave: What leaving the stream before its end does: "detach" from the run, or
                "stop" it, for all who read it.

        Raises:
            ValueError: `after` is not a last event ID of dripline's, or `run_id` is empty.
        """
        _run_path(run_id)
        return ChatStream(self, run_id=run_id, after=_position(after), on_leave=on_leave)

    async def stop(self, run_id: str) -> None:
        """Stop a run; does nothing if it has ended. Its readers get `End("cancelled")`.

        Raises:
            RunGone: The server does not know it, or not any more.
            RequestRefused: The server cannot stop it.
            TransportError: The server cannot be reached.
        """
        try:
            response = await self.request("DELETE", _run_path(run_id))
        except RequestRefused as refused:
            if refused.status == 404:
                raise RunGone(run_id) from refused
            raise
        response.close()

    async def ask(self, messages: Messages, **fields: Unpack[ChatFields]) -> Answer:
        """Send a chat and return its whole answer; takes what `chat` takes.

        Raises:
            RequestError: The server does not take the request.
            RunFailed: The run ended in an error.
            TransportError: The server cannot be reached, or the stream broke for good.
        """
        async with self.chat(messages, **fields) as stream:
            async for _ in stream:
                pass
        return stream.answer

    async def models(self) -> list[ModelInfo]:
        """Return the models that the server can use.

        Raises:
            RequestRefused: The server cannot say, such as when its Ollama does not answer.
            TransportError: The server cannot be reached.
        """
        response = await self.request("GET", "/models")
        async with response:
            try:
                found = orjson.loads(await response.read())["models"]
                return [
                    ModelInfo(
                        name=str(model["name"]),
                        size=int(model["size"]),
                        capabilities=tuple(map(str, model["capabilities"])),
                        loaded=bool(model["loaded"]),
                    )
                    for model in found
                ]
            except (aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
                raise RequestError(f"{self.url}/models answers nothing usable: {error}") from error

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its response, which the caller closes.

        Raises:
            RequestError: The client is closed, or its address cannot be.
            RequestRefused: The status is not 2xx.
            ServerUnreachable: No connection could be made, or it broke before the answer.
            ServerTimeout: No answer came within the silence time-out.
        """
        if self.closed:
            raise RequestError("the client is closed")
        if self._session is None:
            self._session = open_session(self.middlewares)
        return await send(
            self._session,
            method,
            self.url + path,
            headers={"Content-Type": "application/json", **(headers or {})},
            body=None if body is None else orjson.dumps(body),
            silence_timeout=self.silence_timeout,
        )


class ChatStream:
    """An answer as it comes: an async context manager, and an async iterator of its events.

    It is made by `ChatClient.chat` and `ChatClient.attach`, entered once, and iterated inside.
    Every event is yielded, `error` and `end` too; `end` is the last. After a failed `end`,
    iterating raises `RunFailed`: no failure passes for an answer.

    When the connection is lost, the stream attaches to its run again, after the last event, and
    goes on: the loop sees one sequence. Every event's id must be the one after the last, so that
    what is missing or comes twice is never overlooked: it raises `MalformedEvent`.

    Iterating is safe to cancel: the next step goes on where the last one stopped. So it is after
    an exception: no stream that broke ever seems to have ended.

    Attributes:
        messages: The conversation that was sent; empty where the stream was attached.
        answer: What has come so far, added up.
        run_id: The run's id; of a chat, "" until the stream is entered.
        reconnects: How many times it has attached again.
    """

    def __init__(
        self,
        client: ChatClient,
        *,
        messages: Sequence[Mapping[str, Any]] = (),
        fields: Mapping[str, Any] | None = None,
        run_id: str = "",
        after: int = 0,
        on_leave: OnLeave,
    ) -> None:
        self.messages = messages
        self.answer = Answer()
        self.run_id = run_id
        self.reconnects = 0
        self._client = client
        self._fields = fields or {}
        self._on_leave = on_leave
        self._seq = after
        self._attempts = Attempts(client.backoff)
        self._reader: EventReader | None = None
        self._received: deque[ServerSentEvent] = deque()
        self._lost: DriplineError | None = None
        self._state: Literal["new", "entered", "left"] = "new"
        self._over = False

    @property
    def last_event_id(self) -> str:
        """The id of the last event that the loop was given; "" before the first."""
        return str(self._seq) if self._seq else ""

    async def __aenter__(self) -> Self:
        """Send the chat, or attach to the run. Neither is tried twice.

        Raises:
            RunGone: The server does not know the run, or not any more.
            EventsDropped: The events after `after` are not all there any more.
            RequestError: The server does not take the request.
            TransportError: The server cannot be reached, or answers something else.
        """
        if self._state != "new":
            raise RuntimeError("a stream is entered once; ask the client for another one")
        self._state = "entered"
        if self.run_id:
            self._over = not await self._attach()
        else:
            body = {"messages": self.messages, **self._fields}
            response = await self._client.request("POST", "/chat", body)
            self._open(response)
            self.run_id = response.headers.get("X-Run-Id", "")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the run or detach from it, as asked; a cancellation waits for that, briefly."""
        self._state = "left"
        try:
            if self._on_leave == "stop" and self.run_id and not self._over:
                await _despite_cancellation(self._stop_on_leaving())
        finally:
            await self._disconnect()

    async def stop(self) -> None:
        """Stop the run; the stream then goes on to its `end`, "cancelled".

        Does nothing if the run has ended. Safe to call from another task than the one that
        iterates, and to call again.

        Raises:
            RequestError: The server cannot stop it, or has not named it.
            TransportError: The server cannot be reached.
        """
        if self._over:
            return
        if not self.run_id:
            raise RequestError("the server has not named the run, so it cannot be stopped")
        with suppress(RunGone):
            await self._client.stop(self.run_id)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            RunFailed: The run has failed; the `error` and `end` events came before.
            StreamTruncated: The stream broke and could not be resumed; `__cause__` says why.
            RunGone: The same, because the server does not know the run any more.
            EventsDropped: The same, because the server has dropped what is missing.
            MalformedEvent, NotAnEventStream, EventTooLarge: The server speaks something else.
        """
        while not self._over:
            if self._received:
                if event := self._take(self._received.popleft()):
                    return event
            elif self._client.closed:
                raise StreamTruncated(self.last_event_id, "the client is closed")
            elif self._reader:
                await self._receive(self._reader)
            else:
                await self._resume()
        if self.answer.end and self.answer.end.status == "failed":
            error = self.answer.error or Error("", "the server does not say of what")
            raise RunFailed(error.code, error.message, retryable=error.retryable)
        raise StopAsyncIteration

    def _take(self, message: ServerSentEvent) -> Event | None:
        """Return the event, added to the answer; None where this version does not know its type."""
        if message.id != str(self._seq + 1):
            raise MalformedEvent("id", f"should be {self._seq + 1}, is {message.id!r}")
        event = from_json(message.data)
        self._seq += 1
        if event:
            self.answer.add(event)
            self._over = isinstance(event, End)
        return event

    async def _receive(self, reader: EventReader) -> None:
        """Take what comes next, or learn that the connection is lost."""
        try:
            received = await reader.read()
            if received is None:
                raise StreamTruncated(self.last_event_id, "the body ended")
        except (StreamTruncated, ServerTimeout) as lost:
            self._lost = lost
            await self._disconnect()
            logger.info("run %s: the connection is lost: %s", self.run_id[:8], lost)
            self._client.on_drop(lost)
        else:
            self._received.extend(received)
            if received:
                self._attempts.succeeded()

    async def _resume(self) -> None:
        """Try once to attach again, if that can still succeed."""
        if self._state != "entered" or self._lost is None:
            raise RuntimeError("iterate inside the context: async with client.chat(...) as stream")
        if not (self.run_id and may_pass(self._lost) and await self._attempts.wait(self._pause())):
            self._give_up(self._lost)
        try:
            attached = await self._attach()
        except DriplineError as error:
            self._lost = error
            return
        if not attached:
            raise StreamTruncated(self.last_event_id, "the server has no events after it")
        self.reconnects += 1

    def _give_up(self, lost: DriplineError) -> NoReturn:
        named = isinstance(lost, TransportError) and not may_pass(lost)
        if named or not self._attempts.made:
            raise lost
        reason = f"{lost}; attempts to attach again: {self._attempts.made}"
        raise StreamTruncated(self.last_event_id, reason) from lost

    def _pause(self) -> float:
        """Return the seconds for which the server wants to be left alone."""
        return retry_after(self._lost.headers) if isinstance(self._lost, RequestRefused) else 0.0

    async def _attach(self) -> bool:
        """Attach to the run, after the last event; False where it is over and has no more."""
        position = {"Last-Event-ID": self.last_event_id} if self._seq else {}
        try:
            path = f"{_run_path(self.run_id)}/events"
            response = await self._client.request("GET", path, headers=position)
        except RequestRefused as refused:
            if refused.status == 404:
                raise RunGone(self.run_id) from refused
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

    async def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            await reader.close()

    async def _stop_on_leaving(self) -> None:
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT):
                await self.stop()
        except (DriplineError, TimeoutError) as error:
            reason = str(error) or f"no answer within {LEAVE_TIMEOUT:g} s"
            logger.warning("run %s was left without being stopped: %s", self.run_id[:8], reason)


async def _despite_cancellation(work: Coroutine[Any, Any, None]) -> None:
    """Wait until `work` is done. A cancellation meanwhile is raised after it."""
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


def _run_path(run_id: str) -> str:
    if run_id in ("", ".", ".."):
        raise ValueError(f"run_id must be a run's id, not {run_id!r}")
    return f"/runs/{quote(run_id, safe='')}"


def _position(after: str | int) -> int:
    text = str(after) or "0"
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"after must be a last event ID, a whole number, not {after!r}")
    return int(text)
