"""Sends Ollama's answer to the client as it came: its head, and its body piece by piece."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from dripline.recordings.exchange import ExchangeEnding
from dripline_server.dialects.ollama_apis import EVENT_STREAM, MAX_UNFINISHED
from dripline_server.event_stream import ReaderProgress
from dripline_server.runs.records import ReaderRecord
from dripline_server.upstream.address import RawHeaders
from dripline_server.upstream.relayed_answer import LAST_CHUNK, RelayedAnswer, as_chunk

# Headers of one connection (RFC 9110, section 7.6.1). Both sides' own ones come instead.
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    )
)
# Bytes that may wait for the client before reading from Ollama pauses.
HIGH_WATER = 64 * 1024
# Closing a socket with a linger time of 0 sends RST.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_LINE_ENDS = re.compile(r"[\r\n\0]")


def hop_by_hop(headers: RawHeaders) -> frozenset[bytes]:
    """Return the lower-case names of the headers that are about this connection alone."""
    named = b",".join(value for name, value in headers if name.lower() == b"connection")
    return _HOP_BY_HOP.union(name.strip().lower() for name in named.split(b","))


class RelayedResponse(web.StreamResponse):
    """A response that is written past aiohttp, which would change headers and merge chunks.

    Args:
        request: The request that it answers.
        answer: Ollama's answer, whose head has arrived.
        run_id: For the header `X-Run-Id`.
        record: Records what is sent.

    Attributes:
        unfinished: The bytes since the last complete line, or since the last complete event; only
            the start of a long text.
    """

    def __init__(
        self,
        request: web.Request,
        answer: RelayedAnswer,
        run_id: str,
        record: ReaderRecord | None,
    ) -> None:
        super().__init__(status=answer.status, headers={"X-Run-Id": run_id})
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        self._transport = transport
        self._request = request
        self._answer = answer
        self._record = record
        self._progress = ReaderProgress(transport)
        self._separator = b"\n\n" if self.media_type == EVENT_STREAM else b"\n"
        self._sent = 0
        self._finished = False
        self.unfinished = b""
        has_length = bool(answer.header("content-length"))
        has_body = request.method != "HEAD" and answer.status not in (204, 304)
        is_new = request.version >= HttpVersion11
        self._chunked = has_body and not has_length and is_new
        # Without a length and without chunks, only the end of the connection ends the body.
        self._until_close = has_body and not has_length and not is_new
        self._framing = [(b"Transfer-Encoding", b"chunked")] if self._chunked else []
        self._keeps_alive = is_new and request.keep_alive
        answer.join = self._framed

    @property
    def media_type(self) -> str:
        """The media type of the body, without parameters."""
        return self._answer.header("content-type").partition(";")[0].strip().lower()

    # --- What aiohttp asks ---

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Do nothing: `start` has sent the head."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `finish` has ended the body."""

    @property
    def prepared(self) -> bool:
        """Whether aiohttp may no longer send another response instead."""
        return True

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection can carry another request."""
        return self._keeps_alive

    @property
    def body_length(self) -> int:
        """The bytes sent, head and chunk framing included."""
        return self._sent

    # --- Sending ---

    async def start(self) -> None:
        """Send the head."""
        answer = self._answer
        for app in self._request.match_info.apps:
            await app.on_response_prepare.send(self._request, self)  # CORS
        if not answer.upload_done:
            self._keeps_alive = False  # nobody reads the rest of the request
        version = self._request.version
        lines = [b"HTTP/%d.%d %d %b" % (version.major, version.minor, answer.status, answer.reason)]
        lines += [b"%b: %b" % header for header in self._head()]
        self._write(b"\r\n".join((*lines, b"\r\n")))
        if self._record:
            headers = tuple((name.decode(), _text(value)) for name, value in self._head())
            self._record.answered(answer.status, headers)

    def _head(self) -> Iterator[tuple[bytes, bytes]]:
        headers = self._answer.raw_headers
        own = {name.lower().encode() for name in self.headers if name.lower() != "vary"}
        dropped = hop_by_hop(headers) | own
        for name, value in headers:
            if name.lower() == b"transfer-encoding":
                yield from self._framing
            elif name.lower() not in dropped:
                yield name, value
        if not self._answer.header("transfer-encoding"):
            yield from self._framing
        if not self._keeps_alive:
            yield b"Connection", b"close"
        for own_name, text in self.headers.items():
            yield own_name.encode(), text.encode()

    def _framed(self, pieces: list[bytes]) -> bytes:
        """Return the pieces of one read as they go out: an HTTP chunk for each of Ollama's."""
        last = pieces[-1]
        at = last.rfind(self._separator)
        if at >= 0:
            self.unfinished = last[at + len(self._separator) :]
        else:
            self.unfinished = self._rest(self.unfinished + b"".join(pieces))
        if self._record:
            self._record.sent(b"".join(pieces))
        if not self._chunked:
            return b"".join(pieces)
        if len(pieces) == 1:
            return as_chunk(last)
        return b"".join([b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces])

    def _rest(self, text: bytes) -> bytes:
        if self._separator == b"\n\n":
            text = text.rpartition(b"\n\r\n")[2]
        return text.rpartition(self._separator)[2][: MAX_UNFINISHED + 1]

    def deliver_now(self, data: bytes) -> bool:
        """Send what one read has brought; return whether the client keeps up."""
        self._write(data)
        return self._transport.get_write_buffer_size() <= HIGH_WATER

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)
            self._sent += len(data)

    async def caught_up(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        await self._request.writer.drain()

    def finish(self) -> None:
        """End the body well."""
        self._finished = True
        if self._chunked:
            self._write(LAST_CHUNK)
        if self._record:
            self._record.ended(ExchangeEnding.EOF)

    def break_off(self, last_words: bytes) -> None:
        """End the body so that the client notices that it is incomplete.

        Args:
            last_words: Bytes of the body that tell why.
        """
        self._finished, self._keeps_alive = True, False
        if self._chunked and last_words:
            self._write(as_chunk(last_words))
        if self._record:
            if self._chunked and last_words:
                self._record.sent(last_words)
            self._record.ended(ExchangeEnding.CUT)
        if self._until_close and (found := self._transport.get_extra_info("socket")):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()  # after what still waits

    def abort(self) -> None:
        """Cut the connection to the client."""
        self._transport.abort()

    async def look_after(self, now: float, *, heartbeat: float, reader_timeout: float) -> bool:
        """Cut the connection if the client is stuck. There are no heartbeats: Ollama has none."""
        unsent = self._progress.unsent
        if self._transport.is_closing() and not unsent:
            return False
        if self._progress.is_stuck(now, self._sent, reader_timeout):
            self._transport.abort()
            return False
        return bool(unsent) or not self._finished


def _text(value: bytes) -> str:
    return _LINE_ENDS.sub(" ", value.decode("utf-8", "replace"))
