"""Read the body of an aiohttp response piece by piece, to the last byte that arrived.

An error says how the body broke off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Literal, Self

import aiohttp

Break = Literal["cut", "reset", "timeout"]

# With this many unread pieces, reading from the socket pauses. aiohttp bounds only their bytes, and
# many tiny pieces need far more memory than their bytes.
MAX_PIECES = 16 * 1024


class BodyBroken(Exception):
    """The body broke off before its end.

    Attributes:
        how: "cut" if the connection closed, "reset" if it was reset, "timeout" if nothing arrived
            for longer than the timeout.
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


# The private attributes of aiohttp's reader that `_Pieces` uses. A later aiohttp may change them,
# so `_is_as_known` checks for them.
_USED = ("_buffer", "_eof", "_exception", "_high_water", "_loop", "_protocol", "_size", "_waiter")


def _is_as_known(reader: object) -> bool:
    """Whether aiohttp's reader has the attributes that `_Pieces` uses; if not, it stays unchanged.

    An unchanged reader is slower: a single token then needs an eighth more time. And if the
    connection breaks while nobody reads, the last bytes are lost. The caller still sees an error,
    and can resume after the last event that it has read.
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
    """aiohttp's reader of a body, reduced to what `Body` needs.

    aiohttp's own reader notes where every HTTP chunk ends, and since 3.14 it resumes the parser and
    the socket at every read. That is 2 of the 17 µs for a token in a chunk of its own. aiohttp
    offers no way to pass in another reader, because its parser creates it; so `Body` changes the
    class of the existing one.
    """

    __slots__ = ()

    def begin_http_chunk_receiving(self) -> None:
        """Do nothing; `Body` does not need the chunks' boundaries."""

    def end_http_chunk_receiving(self) -> None:
        """Do nothing; `Body` does not need the chunks' boundaries."""

    def feed_data(self, data: bytes, size: int = 0) -> bool:
        """Store a piece; at the limit of bytes or pieces, pause reading from the socket."""
        if not data:
            return False
        self._buffer.append(data)
        self._size += len(data)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._size > self._high_water or len(self._buffer) >= MAX_PIECES:
            self._protocol.pause_reading()
        return False  # tells aiohttp's parser to continue

    async def readany(self) -> bytes:
        """Wait for data and return all of it, as in aiohttp."""
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
    """A response's body, read piece by piece to its end or until it breaks off.

    Iterating yields the pieces. The caller must close the response.

    Args:
        response: A response whose body nobody else reads.
        silence_timeout: The longest time that a read waits, in seconds. It replaces the request's
            `sock_read`, which starts a timer for each piece (0.9 µs); this needs one timer for the
            connection. With None, `sock_read` stays in force.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, silence_timeout: float | None = None
    ) -> None:
        self._content = response.content
        if _is_as_known(self._content):
            self._content.__class__ = _Pieces
        # Needed to tell a reset from a cut: the payload's error hides the socket's error, which the
        # protocol keeps.
        self._protocol = response.connection.protocol if response.connection else None
        self._loop = asyncio.get_running_loop()
        self._silence_timeout = silence_timeout or 0.0
        self._waits_since: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        if self._silence_timeout and self._protocol:
            self._protocol.read_timeout = None
            self._protocol.start_timeout()  # without a timeout, this cancels the running timer

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece; see `read`."""
        if piece := await self.read():
            return piece
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """Wait for bytes and return all that have arrived; b"" at the regular end of the body.

        Bytes that arrived before a break are returned first. Safe to cancel.

        Raises:
            BodyBroken: The body broke off before its end.
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
        """Stop the timer of the silence timeout."""
        if self._timer:
            self._timer.cancel()

    def _look_again(self, delay: float) -> None:
        self._timer = self._loop.call_later(delay, self._look_for_silence)

    def _look_for_silence(self) -> None:
        self._timer = None
        if self._waits_since is None:
            return  # Nobody is reading; the next read restarts the timer.
        left = self._waits_since + self._silence_timeout - self._loop.time()
        if left > 0:
            self._look_again(left)
        else:
            self._content.set_exception(aiohttp.SocketTimeoutError("nothing came for too long"))

    def _rest(self, error: Exception) -> bytes:
        """Return the bytes that arrived before an error; if there are none, raise it."""
        # aiohttp's reader raises the error although it still holds bytes, which must not be lost.
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
