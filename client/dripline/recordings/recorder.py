"""Record the responses of an aiohttp client while it reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp.base_protocol import BaseProtocol

from dripline.clock import Clock
from dripline.http.redaction import Headers, Redaction
from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.exchange import ExchangeEnding, Request
from dripline.recordings.writer import PartWriter, RecordingWriter

# In bytes: the buffer between the recorder and slow calling code; the same as aiohttp's limit.
_READ_AHEAD = 2**16


class Recorder:
    """A client middleware that records the exchanges of an aiohttp session with any server.

    ::

        async with (
            Recorder("mistral.jsonl") as recorder,
            aiohttp.ClientSession(middlewares=[recorder]) as session,
        ):
            async with session.post("http://127.0.0.1:11434/api/chat", json=chat) as response: ...

    `ChatClient` also accepts `middlewares`, and `EventSource` accepts such a session. Every
    exchange becomes a part of the file, including redirects and reconnections. If the calling code
    leaves before the body's end, the exchange ends as "cancelled", and the rest is not read.

    A task of the recorder reads the body and passes it on. The recorded pieces and times are
    therefore those of the network, even if the calling code reads slowly or line by line. When the
    code is 128 KiB behind, the recorder waits for it, and so does the server.

    Args:
        to: The file to create, or a writer, which the recorder does not close.
        part: The name of the exchange; use it only if there will be a single one.
        overwrite: See `RecordingWriter`, also for the other arguments.
    """

    def __init__(
        self,
        to: str | Path | RecordingWriter,
        *,
        part: str | None = None,
        overwrite: bool = False,
        about: str = "",
        redaction: Redaction | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._owned: RecordingWriter | None = None
        if isinstance(to, RecordingWriter):
            self.writer: RecordingWriter = to
        else:
            self.writer = self._owned = RecordingWriter(
                to, overwrite=overwrite, about=about, redaction=redaction, clock=clock
            )
        self._part = part
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop recording. Responses that are still being read break off, as "cancelled"."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._owned:
            self._owned.close()

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send a request and record it; aiohttp calls this for each request.

        Raises:
            OSError: The file cannot be written. Reading the response can raise it too.
        """
        part = self.writer.begin(await _request_of(request), part=self._part)
        try:
            response = await handler(request)
        except BaseException as error:
            part.end(_ending_of(error))
            raise
        decompresses = request.session.auto_decompress
        part.response(response.status, _response_headers(response, decompresses=decompresses))
        response.content = self._relay(Body(response), part)
        return response

    def _relay(self, body: Body, part: PartWriter) -> aiohttp.StreamReader:
        """Return the reader that replaces the response's own, filled by a recording task."""
        flow = _Flow()
        relayed = _Relayed(flow, _READ_AHEAD)

        async def relay() -> None:
            try:
                ending, failure = await _copy(body, part, relayed, flow)
                part.end(ending)
            except asyncio.CancelledError:
                relayed.finish(aiohttp.ClientConnectionError("Connection closed"))
                raise
            except Exception as error:  # noqa: BLE001 (the reader raises it)
                relayed.finish(error)
            else:
                relayed.finish(failure)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            part.end(ExchangeEnding.CANCELLED)  # does nothing if the end is written already

        def broken_off(error: BaseException) -> None:
            task.cancel()
            if isinstance(error, TimeoutError):
                part.end(ExchangeEnding.TIMEOUT)

        task = asyncio.create_task(relay(), name="record")
        self._tasks.add(task)
        task.add_done_callback(ended)
        relayed.on_close = broken_off
        return relayed


async def _copy(
    body: Body, part: PartWriter, relayed: _Relayed, flow: _Flow
) -> tuple[ExchangeEnding, BaseException | None]:
    """Record each piece and pass it on; return how the body ended."""
    try:
        async for piece in body:
            part.piece(piece)
            relayed.feed_data(piece)
            await flow.wait()
    except BodyBroken as broken:
        return ExchangeEnding(broken.how), broken.__cause__
    return ExchangeEnding.EOF, None


class _Flow(BaseProtocol):
    """Lets a stream reader pause the task that feeds it while its buffer is full."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop())
        self._ready = asyncio.Event()
        self._ready.set()

    @property
    def connected(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._ready.clear()

    def resume_reading(self, resume_parser: bool = True) -> None:
        self._reading_paused = False
        self._ready.set()

    async def wait(self) -> None:
        """Wait until the buffer has room."""
        await self._ready.wait()


class _Relayed(aiohttp.StreamReader):
    """The reader of a recorded response. aiohttp sets an exception on it to end the reading."""

    def __init__(self, flow: _Flow, limit: int) -> None:
        super().__init__(flow, limit, loop=asyncio.get_running_loop())
        self.on_close: Callable[[BaseException], object] = lambda _: None

    def set_exception(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, exc: BaseException, *cause: BaseException
    ) -> None:
        super().set_exception(exc, *cause)
        self.on_close(exc)

    def finish(self, failure: BaseException | None) -> None:
        """End the body, with the failure if there is one; nothing changes if it is closed."""
        if self.exception() is None:
            if failure:
                super().set_exception(failure)
            else:
                self.feed_eof()


async def _request_of(request: aiohttp.ClientRequest) -> Request:
    # `as_bytes` consumes an iterable body, but keeps the bytes for sending them.
    body = await request.body.as_bytes() if request.body else b""
    headers = tuple((name, _text(value)) for name, value in request.headers.items())
    return Request(request.method, str(request.url), headers, body)


def _response_headers(response: aiohttp.ClientResponse, *, decompresses: bool) -> Headers:
    """Return the headers; drop those about compression if the session decompresses the body."""
    headers = ((name, _text(value)) for name, value in response.headers.items())
    if not (decompresses and "Content-Encoding" in response.headers):
        return tuple(headers)
    undone = ("content-encoding", "content-length")
    return tuple((name, value) for name, value in headers if name.lower() not in undone)


def _text(value: str) -> str:
    """Return a header's value with U+FFFD for invalid UTF-8, which aiohttp has as surrogates."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _ending_of(error: BaseException) -> ExchangeEnding:
    """Return the ending of an exchange that failed before its response."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return ExchangeEnding.UNREACHABLE
        case TimeoutError():
            return ExchangeEnding.TIMEOUT
        case aiohttp.ClientOSError():
            return ExchangeEnding.RESET
        case aiohttp.ClientError():
            return ExchangeEnding.CUT
        case _:
            return ExchangeEnding.CANCELLED
