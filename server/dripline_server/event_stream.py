"""Server-Sent Events out: frames, heartbeats while there are none, and an end to stuck readers."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress

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
# Bytes that the kernel may hold for one reader (it doubles the figure for its own needs).
KERNEL_BUFFER = 64 * 1024


class EventStream(web.StreamResponse):
    """A response that carries a run's events as frames.

    Its headers go out as soon as it is prepared.

    Args:
        request: What is answered.
        headers: Headers beside those of every event stream.
        frames: Turns events into frames; b"" where the reader needs none of them.

    Attributes:
        record: Where what is sent is recorded; set before it is prepared.
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
                # no-transform: compressing proxies would hold the whole answer back.
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
                **headers,
            }
        )
        self._transport = request.transport
        self._time = asyncio.get_running_loop().time
        self._last_sent = self._time()
        self._taken = 0
        self._taken_at = 0.0
        self._finished = False
        self.record: ReaderRecord | None = None
        self._frames = frames
        self._sent_now = 0
        # Whether frames may go to the transport past aiohttp, and whether in HTTP chunks.
        self._direct = False
        self._in_chunks = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the headers."""
        was_prepared = self.prepared
        if not was_prepared and request.version >= HttpVersion11:
            self.enable_chunked_encoding()
        writer = await super().prepare(request)
        # That is right while aiohttp holds nothing back of what comes before them, the head, and
        # does nothing to them but to put HTTP's chunks around. A version that buffers the head has
        # not counted it as sent; then all goes through aiohttp.
        self._direct = writer is not None and getattr(writer, "output_size", 0) > 0
        self._direct = self._direct and not self.compression
        self._in_chunks = self.chunked
        if self._transport and (found := self._transport.get_extra_info("socket")):
            # The kernel would take megabytes for a reader that takes nothing.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        if self.record and not was_prepared:  # aiohttp asks again at the end
            self.record.started(self)
        return writer

    def deliver_now(self, batch: Batch) -> bool:
        """Write events if that needs no waiting: all before is sent, and the reader is there.

        They go to the transport as `StreamResponse.write` would write them, but without its five
        calls, which are a sixth of what a token costs that comes alone.
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
        """Write events; waits while the reader is behind. See `send`."""
        if frames := self._frames(batch):
            await self.send(frames)

    async def send(self, frames: bytes) -> None:
        """Write whole frames; waits while the reader is behind.

        Safe to cancel: the frames are on their way before any wait.
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
        """End the body. What is still unsent then goes out in the background, or is cut."""
        self._finished = True
        await self.write_eof()
        if self.record:
            self.record.finished()

    def abort(self) -> None:
        """Cut the connection: what was sent is not the whole stream."""
        if self._transport:
            self._transport.abort()

    async def look_after(self, now: float, *, heartbeat: float, reader_timeout: float) -> bool:
        """Send a heartbeat if one is due, or cut the connection if the reader is stuck.

        Never waits: where bytes are still unsent, silence is the network's and not ours.
        Returns whether the stream has to be looked after further.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        unsent = self._transport.get_write_buffer_size()
        # What the reader took counts, also while the kernel has room for none of ours.
        taken = self.body_length - unsent - self._in_kernel()
        if taken != self._taken or not unsent:
            self._taken, self._taken_at = taken, now
        if unsent and reader_timeout and now - self._taken_at >= reader_timeout:
            self._transport.abort()
        elif not (unsent or self._finished) and heartbeat and now - self._last_sent >= heartbeat:
            with suppress(ConnectionError):
                await self.send(PING)
        return bool(unsent) or not self._finished

    def _in_kernel(self) -> int:
        """Return how many bytes the kernel holds that the other side has not acknowledged."""
        found = self._transport and self._transport.get_extra_info("socket")
        if found and sys.platform != "win32":
            with suppress(OSError, ValueError):
                return int.from_bytes(ioctl(found.fileno(), TIOCOUTQ, bytes(4)), sys.byteorder)
        return 0


class Pulse:
    """Looks after every open stream of a server with one timer, not one task each.

    Args:
        heartbeat: Seconds of silence after which a stream gets a heartbeat; 0: never.
        reader_timeout: Seconds for which a reader may take nothing of what waits for it before it
            is cut; 0: for ever.
    """

    def __init__(self, *, heartbeat: float, reader_timeout: float) -> None:
        self._heartbeat = heartbeat
        self._reader_timeout = reader_timeout
        self._streams: set[EventStream] = set()
        limits = [limit for limit in (heartbeat, reader_timeout) if limit]
        period = min([1.0, *(limit / 4 for limit in limits)])
        self._task = asyncio.create_task(self._beat(period), name="pulse")

    def add(self, stream: EventStream) -> None:
        """Look after a prepared stream, until all of it is sent or its connection is closed."""
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
                except Exception:  # The other streams are to have their heartbeats.
                    logger.exception("a fault in dripline: a stream is cut")
                    stream.abort()
                    on = False
                if not on:
                    self._streams.discard(stream)
