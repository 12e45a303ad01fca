"""Reading an aiohttp response as it comes, to its last byte and with a clear ending."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, Self

import aiohttp

Break = Literal["cut", "reset", "timeout"]

# Pieces unread at which no more are taken from the socket; their bytes are aiohttp's to bound.
MAX_PIECES = 16 * 1024


class BodyBroken(Exception):
    """The body did not come to its end.

    Attributes:
        how: "cut": the connection closed inside it; "reset": it was reset; "timeout": nothing came
            for longer than the time-out.
    """

    def __init__(self, how: Break) -> None:
        super().__init__(how)
        self.how: Break = how

    def __str__(self) -> str:
        return {
            "cut": "the connection closed in the middle",
            "reset": "the connection was reset",
            "timeout": "nothing came for too long",
        }[self.how]


# What `_Pieces` uses of aiohttp's reader, beside its methods. It is no promise of aiohttp's.
_USED = ("_buffer", "_eof", "_exception", "_high_water", "_loop", "_protocol", "_size", "_waiter")


def _is_as_known(reader: object) -> bool:
    """Whether aiohttp's reader has inside what `_Pieces` uses; else it is used as it is.

    That costs an eighth more for a token that comes alone. And of a connection that breaks while
    nobody reads, what came last is lost: whoever reads sees a cut, and resumes from before that.
    """
    if type(reader) is not aiohttp.StreamReader:
        return False
    inside = {name: getattr(reader, name, None) for name in _USED if hasattr(reader, name)}
    return (
        len(inside) == len(_USED)
        and isinstance(inside["_buffer"], deque)
        and hasattr(inside["_protocol"], "_reading_paused")
    )


class _Pieces(aiohttp.StreamReader):
    """aiohttp's reader of a body, with nothing that `Body` does not need.

    aiohttp's own notes where every HTTP chunk ends, and from 3.14 on resumes the parser and the
    socket at every read. That, and the calls for it, are 2 of the 17 µs that a token takes which
    comes alone in a chunk. As aiohttp's parser makes the reader, `Body` gives it this class.
    """

    __slots__ = ()

    def begin_http_chunk_receiving(self) -> None:
        """Note nothing."""

    def end_http_chunk_receiving(self) -> None:
        """Note nothing."""

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        """Take a piece; from the bounds on, no more are taken from the socket."""
        if not data:
            return False
        self._buffer.append(data)
        self._size += len(data)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._size > self._high_water or len(self._buffer) >= MAX_PIECES:
            self._protocol.pause_reading()
        return False  # aiohttp may go on

    async def readany(self) -> bytes:
        """See aiohttp."""
        if self._exception is not None:
            raise self._exception
        pieces = self._buffer
        while not pieces and not self._eof:
            if self._waiter is not None:
                raise RuntimeError("another task reads this response already")
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        if self._protocol._reading_paused:
            self._protocol.resume_reading()
        return data


class Body:
    """A response's body as it comes, to its last byte and with a clear ending.

    Iterating gives the pieces in which it is read. The response stays the caller's to close.

    Args:
        response: A response whose body nobody else reads.
        silence_timeout: Seconds for which a read waits at the most, in place of the request's
            `sock_read`: one timer a connection, and not one a piece (0.9 µs). None: that stays.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, silence_timeout: float | None = None
    ) -> None:
        self._content = response.content
        if _is_as_known(self._content):
            self._content.__class__ = _Pieces
        # The protocol keeps what closed the socket; the payload's own error hides it.
        self._protocol = response.connection.protocol if response.connection else None
        self._loop = asyncio.get_running_loop()
        self._silence_timeout = silence_timeout or 0.0
        self._waits_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if self._silence_timeout and self._protocol:
            self._protocol.read_timeout = None
            self._protocol.start_timeout()  # ends the one that runs

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece; see `read`."""
        if piece := await self.read():
            return piece
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """Return what has come, as soon as anything has; nothing at the body's proper end.

        Every byte that arrived is returned. Safe to cancel.

        Raises:
            BodyBroken: The body did not come to its end.
        """
        if self._silence_timeout:
            self._waits_since = self._loop.time()
            if self._timer is None:
                self._look_again(self._silence_timeout)
        try:
            return await self._content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._rest(error)
        finally:
            self._waits_since = None

    def close(self) -> None:
        """Stop looking for silence."""
        if self._timer:
            self._timer.cancel()

    def _look_again(self, delay: float) -> None:
        self._timer = self._loop.call_later(delay, self._look_for_silence)

    def _look_for_silence(self) -> None:
        self._timer = None
        if self._waits_since is None:
            return  # The next read starts it again.
        left = self._waits_since + self._silence_timeout - self._loop.time()
        if left > 0:
            self._look_again(left)
        else:
            self._content.set_exception(aiohttp.SocketTimeoutError("nothing came for too long"))

    def _rest(self, error: Exception) -> bytes:
        """Return what had arrived before an error, or else raise."""
        # aiohttp raises before it hands out what had arrived; that must not be lost.
        if isinstance(self._content, _Pieces):
            self._content._exception = None
            rest = self._content.read_nowait()
            self._content._exception = error
            if rest:
                return rest
        if isinstance(error, TimeoutError):
            how: Break = "timeout"
        elif self._protocol is not None and isinstance(self._protocol.exception(), OSError):
            how = "reset"
        else:
            how = "cut"
        raise BodyBroken(how) from error
