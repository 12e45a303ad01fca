"""The fake Ollama: a real HTTP server on a real port."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, MutableMapping, Sequence
from http import HTTPStatus
from types import TracebackType
from weakref import WeakKeyDictionary

from aiohttp import web

from dripline.clock import Clock, SystemClock
from dripline.recordings.matching import Playlist, UnexpectedRequest
from dripline.recordings.serving import SETTLE_SECONDS, Listener, settled, write_through
from dripline.testing.environment import ollama_origins
from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.access_checks import Origins, Refused, check_host
from dripline.testing.fake_ollama.endpoints.answers import status_of
from dripline.testing.fake_ollama.faults import Fault, FaultKind
from dripline.testing.fake_ollama.go.go_reading import GoError, read_json
from dripline.testing.fake_ollama.go.go_types import plain
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.loaded_models import Memory
from dripline.testing.fake_ollama.models import demo_models
from dripline.testing.fake_ollama.received import Connection, Ending, ReceivedRequest
from dripline.testing.fake_ollama.release import VERSION, Release
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.routes_of_ollama import ANSWERING, Found, find
from dripline.testing.fake_ollama.script import Replay, Script
from dripline.testing.fake_ollama.stored_models import Shelf
from dripline.testing.fake_ollama.visit import FakeState, Visit

DEFAULT_PORT = 11435  # one above Ollama's own
MAX_BODY = 64 * 1024 * 1024  # bytes; images come in the body, as base64
_BODIES = ("POST", "DELETE")
_FORMS = "/v1/audio/transcriptions"  # reads its body by itself


class FakeOllama:
    """A server that speaks Ollama's HTTP API, all of it, and says what its scripts say.

    Use it as `async with FakeOllama({"story": Script("Once upon a time")}) as ollama:` and give
    `ollama.url` to whatever is to be tested; afterwards `ollama.requests` tells what it did. What a
    script says comes through every endpoint: `/api/chat` and `/api/generate`, OpenAI's
    `/v1/chat/completions`, `/v1/completions` and `/v1/responses`, and Anthropic's `/v1/messages`.

    Attributes:
        models: The models by name; may be changed at any time, as by `/api/create` and so on.
        registry: What can be pulled, and where pushed models go; None is a machine without a
            network, as it is by default.
        faults: Faults by endpoint, such as {"/api/tags": Fault.status(500)}; may be changed at any
            time. One at an endpoint where a model answers comes before that of the script.
        requests: What came, oldest first; the newest `max_requests` are kept.
        unexpected: What came for a `Replay` that has no answer to it.
    """

    def __init__(
        self,
        models: Mapping[str, Script] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        version: str = VERSION,
        registry: Mapping[str, Script] | None = None,
        faults: Mapping[str, Fault] | None = None,
        origins: Sequence[str] | None = None,
        clock: Clock | None = None,
        max_requests: int = 10_000,
    ) -> None:
        """Make a server; it listens once it is started.

        Args:
            models: Scripts by model name, where "x" means "x:latest"; None takes the demo models.
            host: The address to listen on.
            port: The port to listen on; 0 takes a free one.
            version: The version of Ollama that is played: what `/api/version` says, and the ways of
                0.25 for what is older than 0.30.
            registry: What can be pulled.
            faults: Faults by endpoint.
            origins: More pages that may ask, as in OLLAMA_ORIGINS, which None reads. Those of this
                machine may.
            clock: What to wait with; None takes the machine's clock.
            max_requests: How many requests are remembered.

        Raises:
            ValueError: `version` or `origins` is none.
        """
        self.models: dict[str, Script] = dict(demo_models() if models is None else models)
        self.registry: MutableMapping[str, Script] | None = (
            None if registry is None else dict(registry)
        )
        self.faults: dict[str, Fault] = dict(faults or {})
        self.requests: deque[ReceivedRequest] = deque(maxlen=max_requests)
        self.unexpected: deque[UnexpectedRequest] = deque(maxlen=max_requests)
        self._playlists: WeakKeyDictionary[Replay, Playlist] = WeakKeyDictionary()
        self._host = host
        self._listener = Listener("the fake Ollama", host, port)
        self._origins = Origins(ollama_origins() if origins is None else origins)
        self._clock = clock or SystemClock()
        self._release = Release(version)
        self._shelf = Shelf(self.models, self._clock)
        self._state = self._fresh_state()
        self._arrived = asyncio.Event()
        self._connections: dict[web.RequestHandler, Connection] = {}

    def _fresh_state(self) -> FakeState:
        return FakeState(
            self._shelf,
            self.registry,
            Memory(self._clock),
            self.faults,
            self._release,
            self._clock,
            self._playlists,
            self.unexpected,
        )

    async def __aenter__(self) -> FakeOllama:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The base URL, such as "http://127.0.0.1:43127".

        Raises:
            RuntimeError: The server is not running.
        """
        return self._listener.url

    @property
    def chats(self) -> list[ReceivedRequest]:
        """The requests for an answer of a model, whichever endpoint they came to, oldest first."""
        return [request for request in self.requests if request.path in ANSWERING]

    async def wait_for_request(self, nth: int = 1, *, path: str | None = None) -> ReceivedRequest:
        """Wait for the `nth` request to `path` among those remembered. Safe to cancel.

        Args:
            nth: 1 is the first.
            path: Such as "/api/tags"; None takes every endpoint at which a model answers.
        """
        while True:
            came = [r for r in self.requests if (r.path == path if path else r.path in ANSWERING)]
            if len(came) >= nth:
                return came[nth - 1]
            await self._arrived.wait()

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait a moment for answers that are on their way, if the server runs in another thread.

        A client may have the whole answer, or have left, just before the server notes it.
        """
        self._listener.settle(lambda: list(self.requests), seconds)

    async def settled(self, seconds: float = SETTLE_SECONDS) -> None:
        """Do the same in the server's own event loop. Safe to cancel."""
        await settled(lambda: list(self.requests), seconds)

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had, for example because the port is taken.
            RuntimeError: The server is running already.
        """
        await self._listener.start(_Server(self))

    async def close(self) -> None:
        """Stop listening, break off every answer, and close every connection.

        A second call does nothing. When it returns, no task and no socket of the server is left.
        """
        runner = await self._listener.stop()
        if runner is None:
            return
        connections = list(self._connections.values())
        for connection in connections:
            if connection.current:
                connection.current.end(Ending.SERVER_CLOSED)
            connection.transport.abort()  # does not wait for a client that does not read
        for connection in connections:
            await connection.closed.wait()
        await runner.cleanup()
        self._state = self._fresh_state()  # another start is another process

    # What follows is called by `_Server`.

    def connected(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection."""
        self._connections[handler] = Connection(transport)
        write_through(transport)

    def disconnected(self, handler: web.RequestHandler) -> None:
        """Note that a connection has closed, and with it the request that it carried."""
        connection = self._connections.pop(handler)
        if connection.current:
            connection.current.end(Ending.CLIENT_LEFT)
        connection.closed_at = self._clock.monotonic()
        connection.closed.set()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer a request."""
        connection = self._connections[http.protocol]
        received = ReceivedRequest(http.method, http.path, http.headers, connection, self._clock)
        connection.current = received
        visit = Visit(http, received, self._state)
        try:
            try:
                return await self._answer(visit)
            except ApiError as error:
                return await visit.refuse(error)
            except Refused:
                allowing = _allowing(find(http.method, http.path))
                return await visit.respond(b"", "", status=403, headers=allowing)
        except ConnectionError:
            # A write met the closed connection before the cancellation came.
            received.end(Ending.CLIENT_LEFT)
            return web.Response()

    async def _answer(self, visit: Visit) -> web.StreamResponse:
        http, received = visit.http, visit.received
        found = find(http.method, http.path)
        if found.moved_to:
            self._remember(received)
            return await _moved(visit, found.moved_to)
        try:
            if http.method in _BODIES and http.path != _FORMS:
                visit.data = await _read(http)
                received.body = _parsed(visit.data)
        finally:
            self._remember(received)
        if preflight := self._check_access(visit):
            return await visit.respond(None, "", status=preflight, headers=_allowing(found))
        visit.fault = self._state.strikes.strikes(self.faults.get(http.path))
        if visit.fault and visit.fault.kind is FaultKind.STATUS and http.path not in ANSWERING:
            received.fault = visit.fault
            received.end(Ending.FAULTED)
            raise status_of(visit.fault, visit.param, self._release.terminated)
        if found.endpoint:
            visit.param = found.param
            return await found.endpoint(visit)
        if found.allow:
            body = b"405 method not allowed"
            return await visit.respond(body, wire.TEXT, status=405, headers=_allowing(found))
        return await visit.respond(b"404 page not found", wire.TEXT, status=404)

    def _remember(self, received: ReceivedRequest) -> None:
        self.requests.append(received)
        self._arrived.set()
        self._arrived = asyncio.Event()

    def _check_access(self, visit: Visit) -> int:
        """Refuse what may not ask; return the status of a preflight, or 0."""
        http = visit.http
        asks = http.method == "OPTIONS"
        host = http.headers.get("Host", "")
        headers = self._origins.headers(http.headers.get("Origin", ""), host, preflight=asks)
        if headers:
            visit.cors = headers
            if asks:
                return 204
        by_name = check_host(host, listens_on=self._host)
        return 204 if asks and by_name else 0


def _allowing(found: Found) -> list[tuple[str, str]]:
    return [("Allow", found.allow)] if found.allow else []


async def _moved(visit: Visit, to: str) -> web.StreamResponse:
    """Send to where the address is; that comes before anything else is looked at."""
    location = [("Location", to)]
    method = visit.http.method
    if method not in ("GET", "HEAD"):
        return await visit.respond(b"", "", status=307, headers=location)
    status = 301 if method == "GET" and "//" not in visit.http.path else 307
    phrase = HTTPStatus(status).phrase
    page = None if method == "HEAD" else f'<a href="{to}">{phrase}</a>.\n\n'.encode()
    return await visit.respond(page, "text/html; charset=utf-8", status=status, headers=location)


def _parsed(data: bytes) -> JsonValue:
    """Return a body for `ReceivedRequest.body`: None where it is not JSON."""
    try:
        return plain(read_json(data))
    except GoError:
        return None


class _Server(web.Server):
    """aiohttp's server, which also tells when connections come and go."""

    def __init__(self, fake: FakeOllama) -> None:
        # By default aiohttp lets a handler run on when its client has gone.
        super().__init__(fake.handle, handler_cancellation=True, access_log=None)
        self._fake = fake

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._fake.connected(handler, transport)

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        super().connection_lost(handler, exc)
        self._fake.disconnected(handler)


async def _read(http: web.BaseRequest) -> bytes:
    """Return the body of a request.

    Raises:
        ApiError: It is larger than `MAX_BODY`.
    """
    body = bytearray()
    async for data in http.content.iter_any():
        body += data
        if len(body) > MAX_BODY:
            raise ApiError(413, f"the request body is larger than {MAX_BODY:,} bytes")
    return bytes(body)
