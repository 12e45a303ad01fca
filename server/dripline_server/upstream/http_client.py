"""The HTTP client for one Ollama: sends requests, and passes on the bodies as they arrive.

Why not aiohttp's client: Ollama sends each token in its own HTTP chunk. For each chunk aiohttp
makes four Python calls, and for each read it sets a timer. That was a third of a token's whole
cost. Here the parser appends its pieces straight to a list, and one timer per request checks for
silence. Data that arrives while somebody waits is delivered inside the same call, without waking a
task.

Each request opens its own connection. A connection that is kept alive may be dead by the next chat,
and a POST must not be sent twice.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from yarl import URL

from dripline.http.response_body import BodyBroken
from dripline.recordings.exchange import ExchangeEnding, Request
from dripline.recordings.writer import PartWriter
from dripline_server.upstream.address import (
    REDIRECTS,
    OllamaAddress,
    RawHeaders,
    shown_location,
)

CONNECT_TIMEOUT = 10.0
# Reading from the socket pauses when this many bytes are waiting here.
HIGH_WATER = 128 * 1024
# Bytes that the kernel may buffer for one answer. Linux doubles the figure.
KERNEL_BUFFER = 64 * 1024
# Bytes of a head, and of the chunk extensions or trailers between two pieces of a body.
MAX_HEAD = 64 * 1024
MAX_REDIRECTS = 5
# Seconds to wait for the text of an error answer. Its status is enough to report it.
REASON_TIME = 2.0
# How often silence is checked within the stall timeout; see `HttpAnswer._look_for_stall`.
LOOKS = 8

_KEPT = frozenset({"location", "content-encoding"})
_LINE_ENDS = re.compile(r"[\r\n\0]")

Record = Callable[[Request], PartWriter]
"""Starts the recording of an exchange."""


class BadAnswer(Exception):
    """The answer is unusable; the text says why, as the end of a sentence."""


class NotHttp(BadAnswer):
    """The answer is not HTTP."""


class NotTrusted(Exception):
    """The server's certificate is not trusted; the text says why."""


class Redirected(Exception):
    """The answer is a redirect that is not followed.

    Attributes:
        status: Its status.
        location: Its target, for messages.
    """

    def __init__(self, status: int, location: str) -> None:
        super().__init__(status, location)
        self.status = status
        self.location = location


class Fetched(NamedTuple):
    """A complete answer.

    Attributes:
        status: Its status.
        body: Its body; of an error, only the start.
        compressed: The body's compression; "" if it is not compressed.
    """

    status: int
    body: bytes
    compressed: str = ""


class HttpClient:
    """Sends every request to one Ollama.

    Args:
        address: The address, with its headers and its TLS settings.
    """

    def __init__(self, address: OllamaAddress) -> None:
        self._address = address

    async def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        stall_timeout: float = 0.0,
        record: Record | None = None,
    ) -> HttpAnswer:
        """Send a request, and wait for the answer's head. Cancelling closes the connection.

        Args:
            method: For example "POST".
            path: For example "/api/chat".
            body: JSON, or nothing.
            stall_timeout: Give up after this many seconds of silence; 0: never.
            record: Starts a recording of the exchange.

        Raises:
            ConnectionError, TimeoutError: No connection could be made.
            NotTrusted: The server's certificate is not trusted.
            BodyBroken: The connection closed or fell silent before the head was complete.
            BadAnswer: The answer cannot be read.
            Redirected: The answer is a redirect that is not followed.
        """
        url = self._address.at(path)
        redirects = 0
        while True:
            answer = await self._send(method, url, body, stall_timeout, record)
            location = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not location:
                return answer
            await answer.close()
            redirects += 1
            target = self._address.redirect(url, answer.status, location)
            if target is None or redirects > MAX_REDIRECTS:
                raise Redirected(answer.status, shown_location(location))
            url = target

    async def fetch(
        self, method: str, path: str, body: bytes = b"", *, seconds: float, limit: int
    ) -> Fetched:
        """Send a request, and return the complete answer; of an error's body, only the start.

        Args:
            method: For example "GET".
            path: For example "/api/tags".
            body: JSON, or nothing.
            seconds: The time limit.
            limit: The longest body accepted, in bytes.

        Raises:
            TimeoutError: The time limit is over.
            Exception: See `send`.
        """
        async with asyncio.timeout(seconds):
            answer = await self.send(method, path, body)
            try:
                if answer.status != HTTPStatus.OK:
                    start = await answer.read_start(limit, REASON_TIME)
                    return Fetched(answer.status, start, answer.compressed)
                answer.check_encoding()
                return Fetched(answer.status, await answer.read(limit))
            finally:
                await answer.close()

    async def begin(
        self, answer: HttpAnswer, method: str, target: str, headers: RawHeaders
    ) -> None:
        """Connect, and send the head of a client's request. The body and the answer follow.

        Args:
            answer: Receives the answer. The caller closes it.
            method: For example "POST".
            target: Path and query, as they stand in the client's request.
            headers: The headers to pass on; those of the settings override them.

        Raises:
            ConnectionError, TimeoutError: No connection could be made.
            NotTrusted: The server's certificate is not trusted.
        """
        await self._connect(answer, self._address.at("/"))
        answer.transport.write(self._address.relayed_head(method, target, headers))

    async def _send(
        self, method: str, url: URL, body: bytes, stall_timeout: float, record: Record | None
    ) -> HttpAnswer:
        part = None
        if record:
            headers = self._address.recorded_headers(url, len(body))
            part = record(Request(method, str(url), headers, body))
        answer = HttpAnswer(stall_timeout, part)
        try:
            try:
                await self._connect(answer, url)
            except (OSError, NotTrusted):
                answer.end_part(ExchangeEnding.UNREACHABLE)
                raise
            answer.transport.write(self._address.head(method, url, len(body)))
            answer.transport.write(body)
            await answer.wait_for_head()
        except BaseException:
            await answer.close()
            raise
        return answer

    async def _connect(self, answer: HttpAnswer, url: URL) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(
                    lambda: answer, url.raw_host or "", url.port or 80, ssl=self._address.tls(url)
                )
        except ssl.SSLCertVerificationError as error:
            raise NotTrusted(error.verify_message) from error
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {CONNECT_TIMEOUT:g} s") from error
        except (OSError, UnicodeError) as error:
            # UnicodeError: the host's name is impossible in DNS.
            raise ConnectionError(str(error)) from error


class HttpAnswer(asyncio.Protocol):
    """An HTTP answer: its connection, and the parser's callbacks.

    Args:
        stall_timeout: Give up after this many seconds of silence; 0: never.
        part: Records the answer.

    Attributes:
        status: The status; 0 until the head has arrived.
        headers: The headers that are used here, by lower-case name.
        join: Makes one piece of the pieces of the body that one read brought.
    """

    __slots__ = (
        "_all_headers",
        "_deliver_now",
        "_due",
        "_ended",
        "_failure",
        "_held",
        "_last",
        "_loop",
        "_overhead",
        "_parser",
        "_part",
        "_paused",
        "_pieces",
        "_sized",
        "_stall",
        "_stall_timeout",
        "_to_record",
        "_undelivered",
        "_waiter",
        "headers",
        "join",
        "on_body",
        "status",
        "transport",
    )

    def __init__(self, stall_timeout: float, part: PartWriter | None = None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.transport: asyncio.Transport = _NO_TRANSPORT
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self.join: Callable[[list[bytes]], bytes] = b"".join
        self.on_body = self._keep_to_record if part else self._pieces.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._all_headers: list[tuple[str, str]] = []
        self._part = part
        self._to_record: list[bytes] = []
        # Roughly the bytes in `_pieces`; and the bytes since the last piece of the body.
        self._held = 0
        self._overhead = 0
        self._paused = False
        self._sized = False
        self._ended = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Receives the body while somebody waits for it.
        self._deliver_now: Callable[[bytes], bool] | None = None
        self._undelivered = False
        self._stall_timeout = stall_timeout
        self._last = self._due = 0.0
        self._stall: asyncio.TimerHandle | None = None

    # --- The connection ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast("asyncio.Transport", transport)
        if self._ended:  # the caller was cancelled meanwhile
            self.transport.abort()
            return
        if found := transport.get_extra_info("socket"):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._last = self._loop.time()
        if self._ended or self._parser is None:
            return
        known = len(self._pieces)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._end(NotHttp(f"it is not HTTP: {error}"))
        if len(self._pieces) > known:
            self._overhead = 0
            if self._part:
                self._record_read()
        else:
            # These bytes hold no part of the body, so reading goes on, up to a limit.
            self._overhead += len(data)
            if self._overhead > MAX_HEAD:
                what = "a chunk's extension or a trailer" if self.status else "its head"
                self._end(NotHttp(f"{what} is longer than {MAX_HEAD:,} bytes"))
        if self._deliver_now is None:
            self._held += len(data) if self._pieces else 0
            self._wake()
            if self._held > HIGH_WATER and not self._paused:
                self._paused = True
                self.transport.pause_reading()
        elif self._pieces:
            self._hand_on(self._deliver_now)

    def _hand_on(self, deliver_now: Callable[[bytes], bool]) -> None:
        """Deliver the waiting pieces; if that fails, make `deliver` return."""
        body = self.join(self._pieces)
        self._pieces.clear()
        self._held = 0
        try:
            if deliver_now(body):
                return
            self._deliver_now, self._undelivered = None, True
        except Exception as error:  # noqa: BLE001 (`deliver` raises it)
            self._ended, self._failure = True, error
        self._wake()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        # A body without a length ends like this.
        self._end(None if self.status and not self._sized else BodyBroken("cut"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end(BodyBroken("reset" if exc else "cut"))

    def _watch_for_stall(self) -> None:
        self._last = self._loop.time()
        if self._stall_timeout and not self._ended:
            self._look_later(self._stall_timeout)

    def _look_later(self, left: float) -> None:
        wait = min(left, self._stall_timeout / LOOKS)
        self._due = self._loop.time() + wait
        self._stall = self._loop.call_later(wait, self._look_for_stall)

    def _look_for_stall(self) -> None:
        """Give up after silence, without counting a pause of this process itself.

        If this check comes late, the process was stopped or the machine slept. Ollama may have sent
        data meanwhile that has not been read yet, because uvloop runs timers before reads.
        """
        now = self._loop.time()
        late = now - self._due
        if late > self._stall_timeout / LOOKS:
            self._last = min(self._last + late, now)
        idle = 0.0 if self._paused else now - self._last
        if idle >= self._stall_timeout:
            self._end(BodyBroken("timeout"))
            self.transport.abort()
        else:
            self._look_later(self._stall_timeout - idle)

    def _end(self, failure: Exception | None) -> None:
        """Accept no more data. Only the first call sets the reason."""
        if not self._ended:
            self._ended, self._failure = True, failure
            self.end_part(_ending_of(failure))
        if self._stall:
            self._stall.cancel()
            self._stall = None
        self._wake()

    def end_part(self, ending: ExchangeEnding) -> None:
        """Write into the recording how the answer ended. Only the first call has an effect."""
        if self._part:
            self._record_read()
            self._part.end(ending)
            self._part = None

    def _keep_to_record(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._to_record.append(piece)

    def _record_read(self) -> None:
        """Record the body data of one read as one piece."""
        if self._part and self._to_record:
            self._part.piece(b"".join(self._to_record))
            self._to_record.clear()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    # --- What the parser calls; `on_body` is a list's `append` ---

    def on_message_begin(self) -> None:
        """Start over for a new answer: the previous one was an interim answer."""
        self._sized = False
        self.headers.clear()
        self._all_headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header if it is used here or recorded."""
        if self.status:  # a trailer
            return
        lower = name.decode("latin-1").lower()
        self._sized = self._sized or lower in ("content-length", "transfer-encoding")
        text = value.decode("utf-8", "replace")
        if lower in _KEPT:
            self.headers[lower] = text
        if self._part:
            self._all_headers.append((name.decode("latin-1"), _LINE_ENDS.sub(" ", text)))

    def on_headers_complete(self) -> None:
        """Check whether this is the final answer: interim ones may precede it."""
        if self._ended or self._parser is None:
            return
        status = self._parser.get_status_code()
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._end(NotHttp("it switches to another protocol (101) without being asked"))
        elif status >= 600 or status < 100:
            self._end(NotHttp(f"its status is {status}"))
        elif status >= HTTPStatus.OK:  # below, another answer follows
            self.status = status
            if self._part:
                self._part.response(status, tuple(self._all_headers))
            self._all_headers.clear()

    def on_message_complete(self) -> None:
        """End the answer, unless it was an interim one."""
        self._overhead = 0
        if self.status:
            self._end(None)

    # --- What the reader calls ---

    async def wait_for_head(self) -> None:
        """Wait until the head has arrived. From now on silence is limited."""
        self._watch_for_stall()
        while not self.status:
            if self._failure:
                raise self._failure
            await self._wait()

    async def deliver(self, deliver_now: Callable[[bytes], bool]) -> bool:
        """Call `deliver_now` with each piece of the body as it arrives, until it returns False.

        Returns True when the whole body is delivered. Returns False if `deliver_now` did: the
        caller then has to process the last piece. Every byte that arrived is delivered once before
        this raises. Safe to cancel: undelivered bytes stay for the next call.

        Raises:
            BodyBroken: The body broke off.
            NotHttp: The answer is not HTTP.
            Exception: The exception that `deliver_now` raised.
        """
        self._deliver_now, self._undelivered = deliver_now, False
        if self._pieces:
            self._hand_on(deliver_now)
        if self._paused:
            self._paused, self._last = False, self._loop.time()
            self.transport.resume_reading()
        try:
            while not (self._undelivered or self._ended):
                await self._wait()
        finally:
            self._deliver_now = None
        if self._failure and not self._undelivered:
            raise self._failure
        return not self._undelivered

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            BadAnswer: It is longer than `limit`, in bytes.
            BodyBroken, NotHttp: See `deliver`.
        """
        body = bytearray()
        if not await self.deliver(_collect(body, limit)):
            raise BadAnswer(f"it is longer than {limit:,} bytes")
        return bytes(body)

    async def read_start(self, limit: int, seconds: float) -> bytes:
        """Return the body, or only its start if it is long, slow or broken."""
        body = bytearray()
        with suppress(TimeoutError, BodyBroken, BadAnswer):
            async with asyncio.timeout(seconds):
                await self.deliver(_collect(body, limit))
        return bytes(body[:limit])

    @property
    def compressed(self) -> str:
        """The body's compression, for messages; "" if it is not compressed."""
        encoding = self.headers.get("content-encoding", "").strip()
        return "" if encoding.lower() in ("", "identity") else shown_location(encoding)

    def check_encoding(self) -> None:
        """Check that the body is not compressed, as the request demands.

        Raises:
            BadAnswer: It is compressed.
        """
        if self.compressed:
            raise BadAnswer(
                f"it is compressed ({self.compressed}), although dripline did not ask for it;"
                " turn off compression in the proxy between dripline and Ollama"
            )

    async def close(self) -> None:
        """Close the connection, even if data is still to come."""
        self.end_part(ExchangeEnding.CANCELLED)
        self._end(BodyBroken("cut"))
        self.transport.abort()
        self._parser = None  # break the reference cycle between the two

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class _NoTransport(asyncio.Transport):
    """The placeholder until a connection has been made."""

    def abort(self) -> None:
        """Do nothing: there is no connection."""


_NO_TRANSPORT = _NoTransport()


def _collect(body: bytearray, limit: int) -> Callable[[bytes], bool]:
    def add(piece: bytes) -> bool:
        body.extend(piece)
        return len(body) <= limit

    return add


def _ending_of(failure: Exception | None) -> ExchangeEnding:
    if failure is None:
        return ExchangeEnding.EOF
    return ExchangeEnding(failure.how) if isinstance(failure, BodyBroken) else ExchangeEnding.CUT
