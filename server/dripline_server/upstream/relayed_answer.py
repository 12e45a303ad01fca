"""An answer of Ollama's that is passed on to a client as it is, and the upload before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from http import HTTPStatus

from dripline_server.upstream.http_client import HttpAnswer

LAST_CHUNK = b"0\r\n\r\n"


def as_chunk(piece: bytes) -> bytes:
    """Return bytes as an HTTP chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class RelayedAnswer(HttpAnswer):
    """An HTTP answer whose head is kept as it came. It also sends the body of the request.

    Args:
        stall_timeout: Give up after this many seconds of silence, while Ollama has to send
            something or to read something; 0: never.
        head_only: Whether the answer has no body because the request was HEAD.
        on_continue: Called if Ollama asks for the body with 100 Continue.

    Attributes:
        reason: The reason phrase of the status.
        raw_headers: The headers.
    """

    __slots__ = (
        "_client_owes",
        "_head_only",
        "_on_continue",
        "_upload",
        "_writable",
        "raw_headers",
        "reason",
    )

    def __init__(
        self, stall_timeout: float, *, head_only: bool, on_continue: Callable[[], None]
    ) -> None:
        super().__init__(stall_timeout)
        self.reason = b""
        self.raw_headers: list[tuple[bytes, bytes]] = []
        self._head_only = head_only
        self._on_continue = on_continue
        self._upload: asyncio.Task[None] | None = None
        self._client_owes = False
        self._writable = asyncio.Event()
        self._writable.set()

    # --- The body of the request ---

    def start_upload(self, body: AsyncGenerator[bytes], *, chunked: bool) -> None:
        """Send the body in the background, as fast as Ollama reads it. `close` ends that.

        If `body` raises, the answer ends with that exception.
        """
        self._client_owes = True
        self._upload = asyncio.create_task(self._send_body(body, chunked), name="upload to Ollama")

    async def _send_body(self, body: AsyncGenerator[bytes], chunked: bool) -> None:
        try:
            async with aclosing(body):
                async for piece in body:
                    self._client_owes, self._last = False, self._loop.time()
                    if self.ended or self.transport.is_closing():
                        return  # it needs no more of the body
                    self.transport.write(as_chunk(piece) if chunked else piece)
                    await self._writable.wait()
                    self._client_owes = True
            if chunked:
                self.transport.write(LAST_CHUNK)
        except Exception as error:  # noqa: BLE001 (whoever waits for the answer raises it)
            self.give_up(error)
        finally:
            self._client_owes, self._last = False, self._loop.time()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._last = self._loop.time()
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        super().connection_lost(exc)
        self._writable.set()

    # --- The answer ---

    @property
    def ended(self) -> bool:
        """Whether the answer has ended, well or not."""
        return self._ended

    @property
    def upload_done(self) -> bool:
        """Whether no more of the request's body is to be sent."""
        return self._upload is None or self._upload.done()

    def header(self, name: str) -> str:
        """Return the first value of a header, by its lower-case name; "" if it is missing."""
        wanted = name.encode()
        values = (value for key, value in self.raw_headers if key.lower() == wanted)
        return next(values, b"").decode("latin-1")

    def give_up(self, error: Exception) -> None:
        """End the answer with this exception, and close the connection."""
        self._end(error)
        self.transport.abort()

    def on_message_begin(self) -> None:
        """See `HttpAnswer`."""
        super().on_message_begin()
        self.reason = b""
        self.raw_headers.clear()

    def on_status(self, reason: bytes) -> None:
        """Keep the reason phrase, which may come in pieces."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are dropped, as by other proxies (RFC 9110, section 6.5.1)."""
        super().on_header(name, value)
        if not self.status:
            self.raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See `HttpAnswer`; and tell of 100 Continue."""
        super().on_headers_complete()
        if self._parser and self._parser.get_status_code() == HTTPStatus.CONTINUE:
            self._on_continue()
        if self.status and self._head_only:
            self._end(None)

    def _look_for_stall(self) -> None:
        if self._client_owes:  # Ollama waits for the client, and not the other way round
            self._last = self._loop.time()
        super()._look_for_stall()

    async def close(self) -> None:
        """Close the connection, even if data is still to come or to be sent."""
        await super().close()
        if self._upload:
            self._upload.cancel()
            await asyncio.wait({self._upload})
