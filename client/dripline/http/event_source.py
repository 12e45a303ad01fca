"""A reader for any SSE endpoint, that comes back after the connection was lost."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

import aiohttp
from multidict import CIMultiDict

from dripline.errors import DriplineError, RequestRefused, StreamTruncated, TransportError
from dripline.http.backoff import Attempts, Backoff, may_pass
from dripline.http.event_reader import MAX_EVENT_SIZE, EventReader
from dripline.http.json_encoding import json_body
from dripline.http.sending import check_event_stream, open_session, refusal, retry_after, send
from dripline.sse import ServerSentEvent

HeadersFunction = Callable[[], Mapping[str, str] | Awaitable[Mapping[str, str]]]

DEFAULT_BACKOFF: Final = Backoff(seconds=math.inf)


class EventSource:
    """The events of a URL: an async context manager, and an async iterator of `ServerSentEvent`.

    It does what the WHATWG HTML standard, section 9.2, says of `EventSource`. The first step of the
    iteration connects. When the connection is lost, or the body ends, the next step connects again,
    after the server's `retry` time and with the last event ID in `Last-Event-ID`; an event that
    was received in part is dropped. 204 ends the iteration. Redirects are followed, each time from
    the original URL.

    It differs from the standard where that knows only browsers:

    - Statuses that can pass (408, 425, 429, 5xx) are tried again, no sooner than their
      `Retry-After` says. The standard gives up at any status but 200; so does this at all others.
    - Attempts that fail in a row wait longer and longer, and come to an end: then the last one's
      error is raised.
    - There are other methods than GET, bodies, and streams that are over when their body ends.

    Every step is safe to cancel: the next one goes on where it stopped.

    Args:
        url: Where the events are.
        method: "GET", or "POST" where there is a body, if not said otherwise.
        headers: Sent with each request; they go before this class's own. A function, or a coroutine
            function, is called for them at each connection, since a token may have expired.
        body: Bytes as they are, or what becomes JSON.
        session: An aiohttp session to use; it stays the caller's to close.
        last_event_id: Where to start.
        reconnect: Whether to connect again. By default only where there is no body: sending that
            again may do again what it asks for. Without it, the iteration ends where the body
            does, and a lost connection is raised: right for streams that say their own end, such
            as `[DONE]`.
        reconnection_time: Seconds from a lost connection to the next, until the server's `retry`
            says otherwise.
        silence_timeout: Seconds of waiting without a byte after which the connection counts as
            lost; None: for ever, as servers need not send heartbeats.
        max_event_size: The largest event that is taken, in bytes.
        backoff: What comes on top of the reconnection time, and when to give up.
        on_open: Called each time that there is a connection.
        on_drop: Called with what happened each time that the connection was lost, or could not be
            made, whether or not there is to be another attempt.
        on_comment: Called with each comment, such as a heartbeat, before the events that came in
            the same piece are handed out.

    Attributes:
        last_event_id: The id of the last event that was handed out, and what the next connection
            starts after.
        reconnection_time: Seconds from a lost connection to the next, as the server said last.

    Raises:
        RequestError: The body cannot be JSON; names what is wrong in it.
        ValueError: `last_event_id` holds what a header cannot (CR, LF or NUL).
    """

    def __init__(
        self,
        url: str,
        *,
        method: str | None = None,
        headers: Mapping[str, str] | HeadersFunction | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        session: aiohttp.ClientSession | None = None,
        last_event_id: str = "",
        reconnect: bool | None = None,
        reconnection_time: float = 3.0,
        silence_timeout: float | None = None,
        max_event_size: int = MAX_EVENT_SIZE,
        backoff: Backoff = DEFAULT_BACKOFF,
        on_open: Callable[[], object] = lambda: None,
        on_drop: Callable[[DriplineError], object] = lambda _: None,
        on_comment: Callable[[str], object] | None = None,
    ) -> None:
        if set(last_event_id) & set("\r\n\0"):
            raise ValueError(f"last_event_id must not contain CR, LF or NUL: {last_event_id!r}")
        self.url = url
        self.reconnection_time: float = reconnection_time
        self.last_event_id: str = last_event_id
        self._method = method or ("GET" if body is None else "POST")
        self._headers = CIMultiDict({"Accept": "text/event-stream", "Cache-Control": "no-cache"})
        if isinstance(body, Mapping):
            self._headers["Content-Type"] = "application/json"
            body = json_body(body)
        self._given_headers = headers or {}
        self._body = body
        self._session = session
        self._owns_session = session is None
        self._may_reconnect = body is None if reconnect is None else reconnect
        self._silence_timeout = silence_timeout
        self._max_event_size = max_event_size
        self._attempts = Attempts(backoff)
        self._on_open = on_open
        self._on_drop = on_drop
        self._on_comment = on_comment
        self._reader: EventReader | None = None
        self._events: Iterator[ServerSentEvent] = iter(())
        self._lost: DriplineError | None = None
        self._over = False

    @property
    def ready_state(self) -> Literal["connecting", "open", "closed"]:
        """The standard's `readyState`."""
        if self._over:
            return "closed"
        return "open" if self._reader else "connecting"

    async def __aenter__(self) -> Self:
        if self._session is None:
            self._session = open_session()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._disconnect()
        if self._session and self._owns_session:
            await self._session.close()
        self._session = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServerSentEvent:
        """Return the next event.

        Raises:
            NotAnEventStream: The answer is none.
            RequestRefused: The answer is a status that cannot pass, or did not in time.
            RequestError: The address or a header cannot be.
            ServerUnreachable, ServerTimeout, StreamTruncated: The connection was lost, and there is
                to be no further attempt.
            EventTooLarge: An event is beyond `max_event_size`.
        """
        while not self._over:
            if event := next(self._events, None):
                self.last_event_id = event.id
                return event
            if self._reader:
                await self._receive(self._reader)
            else:
                await self._connect()
        raise StopAsyncIteration

    async def _receive(self, reader: EventReader) -> None:
        """Take what comes next, or learn that there is no more on this connection."""
        try:
            events = await reader.read()
        except TransportError as error:
            self._lose(error)
            return
        if events is not None:
            self._events = iter(events)
        elif self._may_reconnect or reader.pending:
            self._lose(StreamTruncated(reader.last_event_id, "the body ended"))
        else:
            self._over = True

    async def _connect(self) -> None:
        """Try once to connect, if that can still succeed."""
        if self._session is None:
            raise RuntimeError("iterate inside the context: async with EventSource(...) as source")
        if self._lost and not (self._may_reconnect and await self._attempts.wait(self._pause())):
            raise self._lost
        try:
            response = await send(
                self._session,
                self._method,
                self.url,
                headers=await self._request_headers(),
                body=self._body,
                silence_timeout=self._silence_timeout,
            )
            if response.status == 204:
                response.close()
                self._over = True
                return
            if response.status != 200:
                raise await refusal(response)
            check_event_stream(response)
        except DriplineError as error:
            self._lose(error)
            return
        self._attempts.connected()
        self._attempts.succeeded()
        self._reader = EventReader(
            response,
            last_event_id=self.last_event_id,
            max_event_size=self._max_event_size,
            silence_timeout=self._silence_timeout,
            on_comment=self._on_comment,
        )
        self._on_open()

    def _lose(self, error: DriplineError) -> None:
        """Note why there is no connection, and whether there can be another."""
        self._lost = error
        self._may_reconnect = self._may_reconnect and may_pass(error)
        if reader := self._reader:
            self.last_event_id = reader.last_event_id
            if reader.retry is not None:
                self.reconnection_time = reader.retry / 1000
        self._disconnect()
        self._on_drop(error)

    def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader:
            reader.close()

    def _pause(self) -> float:
        """Return the seconds that the server wants between two connections."""
        if isinstance(self._lost, RequestRefused):
            return max(self.reconnection_time, retry_after(self._lost.headers))
        return self.reconnection_time

    async def _request_headers(self) -> Mapping[str, str]:
        given = self._given_headers
        if callable(given):
            returned = given()
            given = await returned if isinstance(returned, Awaitable) else returned
        headers = self._headers.copy()
        headers.update(given)
        if self.last_event_id:
            # aiohttp writes header values as UTF-8, as the standard wants it for this one.
            headers["Last-Event-ID"] = self.last_event_id
        return headers
