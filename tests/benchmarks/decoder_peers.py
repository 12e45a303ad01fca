"""The decoders that are compared: each takes chunks and gives its own event objects.

Each is used as its documentation uses it, on a response that is read from memory.
"""

# The peers are in the [bench] extra alone.
# mypy: disable-error-code="import-not-found, no-any-return, misc"

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from dripline import EventDecoder

# Above any event here.
LARGEST = 2**26


@dataclass(frozen=True, slots=True)
class Peer:
    """A decoder.

    Attributes:
        name: For tables.
        package: What it is in.
        module: By which name that is imported.
        events: Makes events of the chunks of a stream that has so many.
        type_of: The attribute with an event's type.
        id_of: The attribute with its last event ID.
    """

    name: str
    package: str
    module: str
    events: Callable[[Sequence[bytes], int], Iterable[Any]]
    type_of: str = "event"
    id_of: str = "id"

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return find_spec(self.module) is not None

    def texts(self, chunks: Sequence[bytes], number: int) -> list[str]:
        """Return the data of every event."""
        return [event.data for event in self.events(chunks, number)]


class _Dripline(Peer):
    """Ours: there is no iterator to hand the chunks to."""

    def texts(self, chunks: Sequence[bytes], number: int) -> list[str]:
        """Return the data of every event."""
        decoder = EventDecoder(LARGEST)
        return [event.data for chunk in chunks for event in decoder.feed(chunk)]


def _dripline(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    decoder = EventDecoder(LARGEST)
    return (event for chunk in chunks for event in decoder.feed(chunk))


def _httpx_sse(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    import httpx
    import httpx_sse

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(chunks)

    headers = {"Content-Type": "text/event-stream"}
    return httpx_sse.EventSource(httpx.Response(200, headers=headers, stream=Body())).iter_sse()


def _launchdarkly(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ConnectStrategy, ErrorStrategy
    from ld_eventsource.config.connect_strategy import ConnectionClient, ConnectionResult

    class Connection(ConnectionClient):
        def connect(self, last_event_id: str | None) -> ConnectionResult:
            return ConnectionResult(iter(chunks), None)

    class FromMemory(ConnectStrategy):
        def create_client(self, logger: Any) -> ConnectionClient:
            return Connection()

    client = SSEClient(FromMemory(), error_strategy=ErrorStrategy.always_fail())
    # It connects again at the end.
    return (event for event, _ in zip(client.events, range(number), strict=False))


def _sseclient(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    import sseclient

    return sseclient.SSEClient(iter(chunks)).events()


def _openai(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    from openai._streaming import SSEDecoder

    return SSEDecoder().iter_bytes(iter(chunks))


def _anthropic(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    from anthropic._streaming import SSEDecoder

    return SSEDecoder().iter_bytes(iter(chunks))


def _aiohttp_sse_client2(chunks: Sequence[bytes], number: int) -> Iterable[Any]:
    """It asks a session: one that answers from memory, through aiohttp's own StreamReader."""
    import aiohttp
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp_sse_client2.client import EventSource
    from yarl import URL

    async def read() -> list[Any]:
        loop = asyncio.get_running_loop()
        body = aiohttp.StreamReader(BaseProtocol(loop), LARGEST, loop=loop)
        for chunk in chunks:
            body.feed_data(chunk)
        body.feed_eof()
        response = SimpleNamespace(
            status=200,
            content_type="text/event-stream",
            content=body,
            real_url=URL("http://127.0.0.1"),
            close=lambda: None,
        )

        async def request(*args: Any, **options: Any) -> Any:
            return response

        session: Any = SimpleNamespace(request=request)
        events = []
        async with EventSource("http://127.0.0.1", session=session) as source:
            async for event in source:
                events.append(event)
                if len(events) == number:  # it connects again at the end
                    break
        return events

    with ThreadPoolExecutor(1) as pool:  # in this thread a loop runs already
        return pool.submit(asyncio.run, read()).result()


DRIPLINE = _Dripline("dripline", "dripline", "dripline", _dripline)
PEERS = (
    DRIPLINE,
    Peer("httpx-sse", "httpx-sse", "httpx_sse", _httpx_sse),
    Peer(
        "launchdarkly-eventsource",
        "launchdarkly-eventsource",
        "ld_eventsource",
        _launchdarkly,
        id_of="last_event_id",
    ),
    Peer("sseclient-py", "sseclient-py", "sseclient", _sseclient),
    Peer(
        "aiohttp-sse-client2",
        "aiohttp-sse-client2",
        "aiohttp_sse_client2",
        _aiohttp_sse_client2,
        type_of="type",
        id_of="last_event_id",
    ),
    Peer("openai", "openai", "openai", _openai),
    Peer("anthropic", "anthropic", "anthropic", _anthropic),
)
