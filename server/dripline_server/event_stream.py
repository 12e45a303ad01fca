"""Sending Server-Sent Events: frames, heartbeats during silence, and an end to stuck readers."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11

from dripline.sse import encode_comment
from dripline_server.run_log import Batch
from dripline_server.runs.records import ReaderRecord

logger = logging.getLogger(__name__)

if sys.platform != "win32":
    from fcntl import ioctl
    from termios import TIOCOUTQ

PING = encode_comment("ping")
# Bytes that the kernel may buffer for one reader. Linux doubles the figure for its own needs.
KERNEL_BUFFER = 64 * 1024


class ReaderProgress:
    """Watches whether a reader takes what it is sent.

    Args:
        transport: The connection to the reader; None if it is closed.
    """

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._taken = 0
        self._taken_at = 0.0
        if transport and (found := transport.get_extra_info("socket")):
            # Without a limit the kernel buffers megabytes for a reader that reads nothing.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)

    @property
    def unsent(self) -> int:
        """How many bytes wait in this process."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def is_stuck(self, now: float, sent: int, reader_timeout: float) -> bool:
        """Whether the reader has taken nothing for too long.

        Args:
            now: The event loop's time.
            sent: How many bytes have been written to the transport.
            reader_timeout: The limit in seconds; 0: none.
        """
        # Count what the reader has acknowledged. Looking only at our own buffer would cut a slow
        # reader that still drains the kernel's.
        taken = sent - self.unsent - self._in_kernel()
        if taken != self._taken or not self.unsent:
            self._taken, self._taken_at = taken, now
        return bool(self.unsent and reader_timeout and now - self._taken_at >= reader_timeout)

    def _in_kernel(self) -> int:
        """Return how many bytes in the kernel the other side has not acknowledged yet."""
        found = self._transport and self._transport.get_extra_info("socket")
        if found and sys.platform != "win32":
            with suppress(OSError, ValueError):
                return int.from_bytes(ioctl(found.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        return 0


class OpenStream(Protocol):
    """A stream that `Pulse` looks after."""

    async def look_after(self, now: float, *, heartbeat: float, reader_timeout: float) -> bool:
        """Do what is due, without waiting; return whether to keep looking after the stream."""
        ...

    def abort(self) -> None:
        """Cut the connection."""
        ...


class EventStream(web.StreamResponse):
    """A response that sends a run's events as frames.

    Its headers are sent as soon as it is prepared.

    Args:
        request: The request that it answers.
        headers: Headers besides those of every event stream.
        frames: Turns events into frames; returns b"" if the reader needs none of them.

    Attributes:
        record: Records the sent bytes; set it before the response is prepared.
    """

    def __init__(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        frames: Callable[[Batch], bytes],
    ) -> None:
        super().__init__(
            headers={
                "Content-Type": "text/event-stream",
                # no-transform: a proxy that compresses would hold the whole answer back.
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
                **headers,
            }
        )
        self._transport = request.transport
        self._time = asyncio.get_running_loop().time
        self._last_sent = self._time()
        self._progress = ReaderProgress(None)
        self._finished = False
        self.record: ReaderRecord | None = None
        self._frames = frames
        self._sent_now = 0
        # Whether frames may bypass aiohttp and go to the transport, and whether as HTTP chunks.
        self._direct = False
        self._in_chunks = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the headers."""
        was_prepared = self.prepared
        if not was_prepared and request.version >= HttpVersion11:
            self.enable_chunked_encoding()
        writer = await super().prepare(request)
        # Frames may bypass aiohttp only if it has already written the head, and would only wrap
        # them in HTTP chunks. A version of aiohttp that still buffers the head has not counted it
        # in output_size; then every frame goes through aiohttp.
        self._direct = writer is not None and getattr(writer, "output_size", 0) > 0
        self._direct = self._direct and not self.compression
        self._in_chunks = self.chunked
        if not was_prepared:
            self._progress = ReaderProgress(self._transport)
        if self.record and not was_prepared:  # aiohttp calls this again at the end
            self.record.started(self)
        return writer

    def deliver_now(self, batch: Batch) -> bool:
        """Write events if that needs no wait: all earlier bytes are sent, and the reader is there.

        The bytes are those that `StreamResponse.write` would write. Its five nested calls would be
        a sixth of the whole cost of a token that arrives alone.
        """
        transport = self._transport
        if (
            transport is None
            or not self._direct
            or transport.get_write_buffer_size()
            or transport.is_closing()
        ):
            return False
        if frames := self._frames(batch):
            self._last_sent = self._time()
            if self.record:
                self.record.sent(frames)
            chunk = b"%x\r\n%b\r\n" % (len(frames), frames) if self._in_chunks else frames
            transport.write(chunk)
            self._sent_now += len(chunk)
        return True

    async def deliver(self, batch: Batch) -> None:
        """Write events, and wait while the reader is behind. See `send`."""
        if frames := self._frames(batch):
            await self.send(frames)

    async def send(self, frames: bytes) -> None:
        """Write whole frames, and wait while the reader is behind.

        Safe to cancel: the frames are in the transport before any wait.
        """
        self._last_sent = self._time()
        if self.record:
            self.record.sent(frames)
        await self.write(frames)

    @property
    def body_length(self) -> int:
        """The bytes sent, as aiohttp counts them: head and chunked encoding included."""
        return super().body_length + self._sent_now

    async def finish(self) -> None:
        """End the body. Unsent bytes go out in the background, unless `Pulse` cuts the reader."""
        self._finished = True
        await self.write_eof()
        if self.record:
            self.record.finished()

    def abort(self) -> None:
        """Cut the connection, so that the reader notices that the stream is incomplete."""
        if self._transport:
            self._transport.abort()

    async def look_after(self, now: float, *, heartbeat: float, reader_timeout: float) -> bool:
        """Send a heartbeat if one is due, or cut the connection if the reader is stuck.

        Never waits: it sends no heartbeat while earlier bytes are still unsent, because then the
        network is slow, not the model. Returns whether to keep looking after the stream.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        unsent = self._progress.unsent
        if self._progress.is_stuck(now, self.body_length, reader_timeout):
            self._transport.abort()
        elif not (unsent or self._finished) and heartbeat and now - self._last_sent >= heartbeat:
            with suppress(ConnectionError):
                await self.send(PING)
        return bool(unsent) or not self._finished


class Pulse:
    """Looks after all open streams of a server with one timer, instead of one task for each.

    Args:
        heartbeat: Seconds of silence after which a stream gets a heartbeat; 0: never.
        reader_timeout: Seconds after which a reader that reads nothing is disconnected; 0: never.
    """

    def __init__(self, *, heartbeat: float, reader_timeout: float) -> None:
        self._heartbeat = heartbeat
        self._reader_timeout = reader_timeout
        self._streams: set[OpenStream] = set()
        limits = [limit for limit in (heartbeat, reader_timeout) if limit]
        period = min([1.0, *(limit / 4 for limit in limits)])
        self._task = asyncio.create_task(self._beat(period), name="pulse")

    def add(self, stream: OpenStream) -> None:
        """Look after a prepared stream until all of it is sent or its connection is closed."""
        self._streams.add(stream)

    async def close(self) -> None:
        """Stop the timer."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _beat(self, period: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(period)
            for stream in tuple(self._streams):
                try:
                    on = await stream.look_after(
                        loop.time(), heartbeat=self._heartbeat, reader_timeout=self._reader_timeout
                    )
                except Exception:  # The other streams must still get their heartbeats.
                    logger.exception("a fault in dripline: a stream is cut")
                    stream.abort()
                    on = False
                if not on:
                    self._streams.discard(stream)
