"""A client for any SSE endpoint, which reconnects after the connection was lost."""

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

    It follows the WHATWG HTML standard for `EventSource`, section 9.2. The first step of the
    iteration connects. When the connection is lost or the body ends, the next step reconnects after
    the server's `retry` time and sends the last event ID as `Last-Event-ID`. A partly received
    event is discarded. Status 204 ends the iteration. Redirects are followed, each time starting at
    the original URL.

    It differs from the standard in three ways, because the standard is only about browsers:

    - Temporary errors (408, 425, 429, 5xx) are retried, no sooner than `Retry-After` says. The
      standard gives up at any status except 200, and so does this class at all other statuses.
    - The delay grows with each failed attempt in a row. The number of attempts is limited; then
      the last error is raised.
    - Methods other than GET, request bodies, and streams that end with their body are possible.

    Every step is safe to cancel: the next one continues where it stopped.

    Args:
        url: The address of the event stream.
        method: The default is "GET", or "POST" with a body.
        headers: Sent with each request; they override the headers of this class. A function or
            coroutine function is called at each connection, for example to renew an expired token.
        body: Bytes are sent unchanged; a mapping is sent as JSON.
        session: An aiohttp session to use; the caller must close it.
        last_event_id: The id of the event to start after.
        reconnect: Whether to reconnect. The default is to reconnect only without a body, because
            sending a body again may repeat its effect. With False, the iteration ends with the
            body, and a lost connection is raised: choose it for streams that mark their own end,
            for example with `[DONE]`.
        reconnection_time: Seconds between a lost connection and the next one, until the server
            sends a `retry` field.
        silence_timeout: The connection counts as lost if no byte arrives for this many seconds.
            The default None means no limit, because servers need not send heartbeats.
        max_event_size: The size limit of an event, in bytes.
        backoff: The delay to add to the reconnection time, and when to give up.
        on_open: Called each time a connection is established.
        on_drop: Called with the error each time a connection is lost or cannot be established,
            whether or not there will be another attempt.
        on_comment: Called with each comment, such as a heartbeat, before events from the same
            chunk are returned.

    Attributes:
        last_event_id: The id of the last event that was returned; the next connection continues
            after it.
        reconnection_time: Seconds between a lost connection and the next one, as last set by the
            server.

    Raises:
        RequestError: The body cannot be encoded as JSON; the message names the wrong field.
        ValueError: `last_event_id` contains CR, LF or NUL, which no header can contain.
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
            NotAnEventStream: The answer is not an event stream.
            RequestRefused: The status is a permanent error, or a temporary one after the last
                attempt.
            RequestError: The address or a header is invalid.
            ServerUnreachable, ServerTimeout, StreamTruncated: The connection was lost, and no
                attempt is left.
            EventTooLarge: An event is larger than `max_event_size`.
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
        """Read the next events; at the body's end, lose the connection or end the iteration."""
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
        """Try once to connect, or raise the last error if no attempt is left."""
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
        """Close the connection and note the error; a permanent one forbids reconnecting."""
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
        """Return the seconds to wait before reconnecting, by `retry` and `Retry-After`."""
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
            # The standard requires UTF-8 for this header; aiohttp encodes all headers so.
            headers["Last-Event-ID"] = self.last_event_id
        return headers
