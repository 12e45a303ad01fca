"""Recording what an aiohttp client reads, while it reads it."""

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

# A reader's buffer while its code is slow; aiohttp's own limit.
_READ_AHEAD = 2**16


class Recorder:
    """Records what an aiohttp client session gets, whatever it talks to: a client middleware.

    ::

        async with (
            Recorder("mistral.jsonl") as recorder,
            aiohttp.ClientSession(middlewares=[recorder]) as session,
        ):
            async with session.post("http://127.0.0.1:11434/api/chat", json=chat) as response: ...

    `ChatClient` takes `middlewares` too, and `EventSource` such a session. Every exchange becomes a
    part of the file: redirects, and what a client asks for when it comes back. What is not read is
    not waited for: when the code leaves, the exchange has ended as cancelled.

    The body is read by a task of the recorder's, which hands it on. So pieces and times are the
    network's, even if the code reads line by line or slowly; when the code is 128 KiB behind, the
    recorder waits for it, and so does the server.

    Args:
        to: The file to make, or a writer, which then stays open.
        part: The name of the exchange, where there will be only one.
        overwrite: See `RecordingWriter`; as are the others.
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
        """Stop recording: what still goes on has ended as cancelled, and is broken off."""
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
        """Make a request and record it, as aiohttp calls its middlewares.

        Raises:
            OSError: The file cannot be written; also from reading the response.
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
        """Return what the response's reader reads instead of the body."""
        flow = _Flow()
        relayed = _Relayed(flow, _READ_AHEAD)

        async def relay() -> None:
            try:
                ending, failure = await _copy(body, part, relayed, flow)
                part.end(ending)
            except asyncio.CancelledError:
                relayed.finish(aiohttp.ClientConnectionError("Connection closed"))
                raise
            except Exception as error:  # noqa: BLE001 (it is for whoever reads)
                relayed.finish(error)
            else:
                relayed.finish(failure)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            part.end(ExchangeEnding.CANCELLED)  # unless it has ended otherwise

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
    """Record all that comes and hand it on; return how it ended."""
    try:
        async for piece in body:
            part.piece(piece)
            relayed.feed_data(piece)
            await flow.wait()
    except BodyBroken as broken:
        return ExchangeEnding(broken.how), broken.__cause__
    return ExchangeEnding.EOF, None


class _Flow(BaseProtocol):
    """Lets a stream reader hold back who feeds it, when its buffer is full."""

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
        """Wait until there is room."""
        await self._ready.wait()


class _Relayed(aiohttp.StreamReader):
    """What a recorded response is read from. An exception is set on it where reading is over."""

    def __init__(self, flow: _Flow, limit: int) -> None:
        super().__init__(flow, limit, loop=asyncio.get_running_loop())
        self.on_close: Callable[[BaseException], object] = lambda _: None

    def set_exception(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, exc: BaseException, *cause: BaseException
    ) -> None:
        super().set_exception(exc, *cause)
        self.on_close(exc)

    def finish(self, failure: BaseException | None) -> None:
        """End, in what went wrong if anything did; a response that was closed has ended already."""
        if self.exception() is None:
            if failure:
                super().set_exception(failure)
            else:
                self.feed_eof()


async def _request_of(request: aiohttp.ClientRequest) -> Request:
    # `as_bytes` keeps what it takes from an iterable, for the sending.
    body = await request.body.as_bytes() if request.body else b""
    headers = tuple((name, _text(value)) for name, value in request.headers.items())
    return Request(request.method, str(request.url), headers, body)


def _response_headers(response: aiohttp.ClientResponse, *, decompresses: bool) -> Headers:
    """Return the headers; where the session decompresses the body, they tell of no compression."""
    headers = ((name, _text(value)) for name, value in response.headers.items())
    if not (decompresses and "Content-Encoding" in response.headers):
        return tuple(headers)
    undone = ("content-encoding", "content-length")
    return tuple((name, value) for name, value in headers if name.lower() not in undone)


def _text(value: str) -> str:
    """Return a header's value as Unicode: aiohttp keeps bytes that are not UTF-8 as surrogates."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _ending_of(error: BaseException) -> ExchangeEnding:
    """Return how an exchange ended that never had a response."""
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
