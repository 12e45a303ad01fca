"""The events of one HTTP response."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import aiohttp

from dripline.errors import ServerTimeout, StreamTruncated
from dripline.http.response_body import Body, BodyBroken
from dripline.sse import EventDecoder, ServerSentEvent

MAX_EVENT_SIZE = 16 * 1024 * 1024


class EventReader:
    """Reads one response as events. It owns the response, and `close` closes it.

    Args:
        response: An event stream.
        last_event_id: The last event ID of the previous connection.
        max_event_size: See `EventDecoder`.
        silence_timeout: The longest time without a byte, in seconds. None: no limit.
        on_comment: See `EventDecoder`.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        *,
        last_event_id: str,
        max_event_size: int,
        silence_timeout: float | None,
        on_comment: Callable[[str], object] | None = None,
    ) -> None:
        self._response = response
        self._body = Body(response, silence_timeout)
        self._decoder = EventDecoder(
            max_event_size, last_event_id=last_event_id, on_comment=on_comment
        )
        self._silence_timeout = silence_timeout

    @property
    def last_event_id(self) -> str:
        """See `EventDecoder`."""
        return self._decoder.last_event_id

    @property
    def retry(self) -> int | None:
        """See `EventDecoder`; milliseconds."""
        return self._decoder.retry

    @property
    def pending(self) -> bool:
        """See `EventDecoder`."""
        return self._decoder.pending

    async def read(self) -> Sequence[ServerSentEvent] | None:
        """Return the events that the next bytes complete, often none; None at the body's end.

        Safe to cancel: the next call returns the bytes that have arrived.

        Raises:
            StreamTruncated: The connection broke.
            ServerTimeout: No byte arrived for longer than the limit.
            EventTooLarge: See `EventDecoder`.
        """
        try:
            piece = await self._body.read()
        except BodyBroken as broken:
            # If an event was too large, the decoder may still have to raise that, since `feed`
            # returns the events before it first. At the body's end, the call below does the same.
            self._decoder.feed(b"")
            if broken.how == "timeout":
                raise ServerTimeout(self._silence_timeout or 0.0) from broken
            raise StreamTruncated(self.last_event_id, str(broken)) from broken
        events = self._decoder.feed(piece)
        return events if piece else None

    def close(self) -> None:
        """Close the connection, unless the body has been read to its end."""
        self._response.close()
        self._body.close()
