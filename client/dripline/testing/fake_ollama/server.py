"""The fake Ollama: a real HTTP server on a real port."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from weakref import WeakKeyDictionary

from aiohttp import web

from dripline.clock import Clock, SystemClock
from dripline.recordings.exchange import Exchange
from dripline.recordings.matching import Playlist, UnexpectedRequest
from dripline.recordings.replay_server import UNEXPECTED_STATUS
from dripline.recordings.serving import Listener, write_through
from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.loaded_models import Memory
from dripline.testing.fake_ollama.models import demo_models
from dripline.testing.fake_ollama.received import Connection, Ending, Phase, ReceivedRequest
from dripline.testing.fake_ollama.replayed import find_exchange, send_replay
from dripline.testing.fake_ollama.request import (
    ApiError,
    ReceivedChat,
    canonical,
    model_of,
    parse_json,
)
from dripline.testing.fake_ollama.script import Fault, FaultKind, Replay, Script
from dripline.testing.fake_ollama.scripted import ScriptedAnswer

_log = logging.getLogger(__name__)

DEFAULT_PORT = 11435  # one above Ollama's own
MAX_BODY = 64 * 1024 * 1024  # bytes; images come in the body, as base64

Endpoint = Callable[[web.BaseRequest, ReceivedRequest], Awaitable[web.StreamResponse]]


class FakeOllama:
    """A server that speaks Ollama's HTTP API and says what its scripts say.

    Use it as `async with FakeOllama({"story": Script("Once upon a time")}) as ollama:` and give
    `ollama.url` to whatever is to be tested; afterwards `ollama.requests` tells what it did.

    Attributes:
        models: The models by name; may be changed at any time.
        requests: What came, oldest first; the newest `max_requests` are kept.
        unexpected: What came for a `Replay` that has no answer to it.
    """

    def __init__(
        self,
        models: Mapping[str, Script] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        version: str = "0.0.0-fake",
        clock: Clock | None = None,
        max_requests: int = 10_000,
    ) -> None:
        """Make a server; it listens once it is started.

        Args:
            models: Scripts by model name, where "x" means "x:latest"; None takes the demo models.
            host: The address to listen on.
            port: The port to listen on; 0 takes a free one.
            version: What `/api/version` says.
            clock: What to wait with; None takes the machine's clock.
            max_requests: How many requests are remembered.
        """
        self.models: dict[str, Script] = dict(demo_models() if models is None else models)
        self.requests: deque[ReceivedRequest] = deque(maxlen=max_requests)
        self.unexpected: deque[UnexpectedRequest] = deque(maxlen=max_requests)
        self._listener = Listener("the fake Ollama", host, port)
        self._version = version
        self._clock = clock or SystemClock()
        self._memory = Memory(self._clock)
        self._struck: WeakKeyDictionary[Fault, int] = WeakKeyDictionary()
        self._playlists: WeakKeyDictionary[Replay, Playlist] = WeakKeyDictionary()
        self._arrived = asyncio.Event()
        self._connections: dict[web.RequestHandler, Connection] = {}
        self._routes: dict[str, dict[str, Endpoint]] = {
            "/": {"GET": self._root, "HEAD": self._root},
            "/api/version": {"GET": self._get_version, "HEAD": self._get_version},
            "/api/tags": {"GET": self._tags, "HEAD": self._tags},
            "/api/ps": {"GET": self._ps},
            "/api/show": {"POST": self._show},
            "/api/chat": {"POST": self._chat},
        }

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
        """The requests that are chats, oldest first."""
        return [request for request in self.requests if request.path == "/api/chat"]

    async def wait_for_request(self, nth: int = 1, *, path: str = "/api/chat") -> ReceivedRequest:
        """Wait for the `nth` request to `path` among those remembered. Safe to cancel."""
        while True:
            came = [request for request in self.requests if request.path == path]
            if len(came) >= nth:
                return came[nth - 1]
            await self._arrived.wait()

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
        self._memory = Memory(self._clock)  # another start is another process

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
        try:
            return await self._answer(http, received)
        except ApiError as error:
            return _respond(received, wire.error(error.message), status=error.status)
        except ConnectionError:
            # A write met the closed connection before the cancellation came.
            received.end(Ending.CLIENT_LEFT)
            return web.Response()

    async def _answer(self, http: web.BaseRequest, received: ReceivedRequest) -> web.StreamResponse:
        methods = self._routes.get(http.path, {})
        handler = methods.get(http.method)
        try:
            if handler and http.method == "POST":
                received.body = parse_json(await _read(http))
        finally:
            self.requests.append(received)
            self._arrived.set()
            self._arrived = asyncio.Event()
        if handler:
            return await handler(http, received)
        if methods:
            return _respond(received, b"405 method not allowed", "text/plain", status=405)
        return _respond(received, b"404 page not found", "text/plain", status=404)

    async def _root(self, _: web.BaseRequest, received: ReceivedRequest) -> web.Response:
        return _respond(received, b"Ollama is running", "text/plain; charset=utf-8")

    async def _get_version(self, _: web.BaseRequest, received: ReceivedRequest) -> web.Response:
        return _respond(received, wire.go_json({"version": self._version}))

    async def _tags(self, _: web.BaseRequest, received: ReceivedRequest) -> web.Response:
        models = [(canonical(name), script.details) for name, script in self.models.items()]
        return _respond(received, wire.tags(models))

    async def _ps(self, _: web.BaseRequest, received: ReceivedRequest) -> web.Response:
        now = self._clock.monotonic()
        loaded = [
            (model.name, model.details, model.context_length, model.expires_at - now)
            for model in self._memory.loaded()
        ]
        return _respond(received, wire.ps(loaded, self._clock.time_ns()))

    async def _show(self, _: web.BaseRequest, received: ReceivedRequest) -> web.Response:
        name = model_of(received.body)
        script = self._script(name)
        return _respond(
            received, wire.show(canonical(name), script.details, script.all_capabilities)
        )

    async def _chat(self, http: web.BaseRequest, received: ReceivedRequest) -> web.StreamResponse:
        request = ReceivedChat.parse(received.body)
        if not request.model:
            raise ApiError(400, "model is required")
        script = self._script(request.model)
        name = canonical(request.model)
        if not request.messages and request.keep_alive == 0:
            self._memory.unload(name)
            return self._respond_without_answer(received, request, "unload")
        _check_capabilities(request, script)
        fault = self._next_fault(script) if request.messages else None
        if fault and fault.kind is FaultKind.STATUS:
            received.fault = fault
            received.end(Ending.FAULTED)
            raise ApiError(fault.code, fault.message or _status_message(fault.code, request.model))
        if self._memory.get(name) is None:
            received.enter(Phase.LOADING)
        async with self._memory.use(
            name,
            script.details,
            cold_load=script.pace.cold_load,
            keep_alive=request.keep_alive,
            context_length=request.num_ctx or script.details.context_length,
        ) as load_seconds:
            if not request.messages:
                return self._respond_without_answer(received, request, "load")
            received.enter(Phase.EVALUATING)
            try:
                said = script.answer(request)
                if not isinstance(said, Replay):
                    answer = ScriptedAnswer(
                        http,
                        received,
                        request,
                        script,
                        said,
                        fault,
                        load_seconds=load_seconds,
                        clock=self._clock,
                    )
            except Exception as error:
                _log.exception("the script of %s failed", name)
                raise ApiError(500, f"the script failed: {error!r}") from error
            if isinstance(said, Replay):
                exchange = self._recorded(said, received, stream=request.stream)
                return await send_replay(
                    http, received, exchange, said.speed, script.split, self._clock
                )
            return await answer.send()

    def _recorded(self, replay: Replay, received: ReceivedRequest, *, stream: bool) -> Exchange:
        """Return the recorded exchange that answers a request to a model.

        Raises:
            ApiError: None does.
        """
        if replay not in self._playlists:
            self._playlists[replay] = replay.playlist()
        try:
            return find_exchange(self._playlists[replay], received, stream=stream)
        except UnexpectedRequest as unexpected:
            self.unexpected.append(unexpected)
            raise ApiError(UNEXPECTED_STATUS, str(unexpected)) from unexpected

    def _respond_without_answer(
        self, received: ReceivedRequest, request: ReceivedChat, done_reason: str
    ) -> web.Response:
        """Say that the model has been loaded or unloaded; that is never a stream."""
        return _respond(
            received,
            wire.chat_response(
                request.model, self._clock.time_ns(), wire.message(), done_reason=done_reason
            ),
        )

    def _script(self, name: str) -> Script:
        wanted = canonical(name)
        for known, script in self.models.items():
            if canonical(known) == wanted:
                return script
        raise ApiError(404, f"model '{name}' not found")

    def _next_fault(self, script: Script) -> Fault | None:
        """Return the script's fault, and count it, while it has times left to strike."""
        fault = script.fault
        if fault is None:
            return None
        struck = self._struck.get(fault, 0)
        if fault.times is not None and struck >= fault.times:
            return None
        self._struck[fault] = struck + 1
        return fault


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


def _respond(
    received: ReceivedRequest, body: bytes, content_type: str = wire.JSON, *, status: int = 200
) -> web.Response:
    """Return an answer that is sent at once, and note that with it the request ends."""
    received.status = status
    received.end(Ending.FINISHED)
    return web.Response(body=body, status=status, headers={"Content-Type": content_type})


def _check_capabilities(request: ReceivedChat, script: Script) -> None:
    """Refuse what the model cannot do.

    Raises:
        ApiError: The request asks for it.
    """
    quoted = json.dumps(request.model, ensure_ascii=False)
    if request.think and not script.can("thinking"):
        raise ApiError(400, f"{quoted} does not support thinking")
    if not script.can("completion"):
        raise ApiError(400, f"{quoted} does not support chat")
    if request.tools and not script.can("tools"):
        full_name = f"registry.ollama.ai/library/{canonical(request.model)}"
        raise ApiError(400, f"{full_name} does not support tools")


def _status_message(code: int, model: str) -> str:
    """Return what Ollama says with an error status."""
    match code:
        case 404:
            return f"model '{model}' not found"
        case 503:
            return "server busy, please try again.  maximum pending requests exceeded"
        case _:
            return "llama runner process has terminated: exit status 2"
