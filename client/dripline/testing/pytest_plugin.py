"""pytest fixtures for tests of streaming code, whatever library it uses.

The servers run in their own thread. They can therefore serve blocking code, such as
`ollama.Client`, as well as code in any event loop, and need no other plugin.

pytest imports this module wherever dripline is installed, even for tests that do not use it. So it
imports other modules only in the fixtures: those tests then lose no time and need no extra.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    import aiohttp

    from dripline import ChatClient
    from dripline.recordings.matching import Match, UnexpectedRequest
    from dripline.recordings.proxy import Keep
    from dripline.recordings.recording import Recording
    from dripline.recordings.replay_server import ReplayServer
    from dripline.recordings.replayed_request import ReplayedRequest
    from dripline.recordings.splits import SplitPlan
    from dripline.testing import FakeOllama, ReceivedRequest, Script
    from dripline.testing.environment import ClientEnvironment
    from dripline.testing.fixed_port import FixedPort
    from dripline_server.app import Server

T = TypeVar("T")

OLLAMA_URL = "http://127.0.0.1:11434"
# Which recording to keep if another process has created one in the meantime.
_KEEP: dict[str, Keep] = {"once": "first", "all": "last", "new": "both"}
_START_SECONDS = 30.0
_RECORD = "--dripline-record"
_HINT = f"To record it, run with {_RECORD}=new; to record it again, with {_RECORD}=all."

# The servers of each test, to be checked for unexpected requests.
_SERVERS: pytest.StashKey[list[_Unexpected]] = pytest.StashKey()
_PORT: pytest.StashKey[FixedPort] = pytest.StashKey()
_ENVIRONMENT: pytest.StashKey[ClientEnvironment] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and settings."""
    group = parser.getgroup("dripline")
    group.addoption(
        _RECORD,
        choices=["once", "none", "all", "new"],
        nargs="?",
        const="once",
        help="what `replay` records against a real server: once: recordings that are missing; none:"
        " nothing; new: also what an existing recording lacks; all: every recording anew"
        " (default: none where the variable CI is set, else once)",
    )
    group.addoption(
        "--dripline-env",
        action="store_true",
        help="set OLLAMA_HOST, OPENAI_BASE_URL and ANTHROPIC_BASE_URL, and API keys where none are"
        " set, so that clients that are made on import reach `fake_ollama` and `replay`",
    )
    parser.addini("dripline_env", "the same as --dripline-env", type="bool", default=False)
    parser.addini(
        "dripline_recordings",
        "folder of recordings, from the root; default: recordings/ beside the test's file",
        default="",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Set the clients' variables before any test is imported."""
    _set_environment(early_config)


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers."""
    _set_environment(config)  # if another plugin loaded this one too late for the hook above
    config.addinivalue_line(
        "markers",
        "dripline_splits(*plans, two_way=None): run the test once for each split plan that `replay`"
        " is to use; without plans those of `dripline.testing.usual_splits`; with"
        " two_way='name.jsonl' every way to cut that recording in two",
    )
    config.addinivalue_line(
        "markers", "dripline_settings(**settings): settings of the `chat_server`, as `Settings` has"
    )


def _set_environment(config: pytest.Config) -> None:
    if _ENVIRONMENT in config.stash:
        return
    if not (config.getini("dripline_env") or config.known_args_namespace.dripline_env):
        return
    from dripline.testing.environment import ClientEnvironment
    from dripline.testing.fixed_port import FixedPort

    config.stash[_PORT] = port = FixedPort()
    config.stash[_ENVIRONMENT] = ClientEnvironment(port.url)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Restore the variables."""
    if _ENVIRONMENT in config.stash:
        config.stash[_ENVIRONMENT].restore()
        config.stash[_PORT].close()


@contextmanager
def _port(config: pytest.Config) -> Iterator[int]:
    """Yield the port for a server: the one in the clients' variables, if it is free."""
    if _PORT not in config.stash:
        yield 0
        return
    with config.stash[_PORT].port() as port:
        yield port


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that sent a request to which its recording has no answer."""
    try:
        result = yield
    except Exception as error:
        if unexpected := _first_unexpected(item):
            error.add_note(f"{unexpected}\n{_HINT}")
        raise
    _fail_if_unexpected(item)
    return result


class _Unexpected:
    """The unexpected requests to one server; each is reported once."""

    def __init__(self, requests: Sequence[UnexpectedRequest]) -> None:
        self._requests = requests
        self._reported = 0

    def next(self) -> UnexpectedRequest | None:
        """Return the first unreported one, and count all as reported."""
        new = list(self._requests)[self._reported :]
        self._reported += len(new)
        return new[0] if new else None


def _watch(item: pytest.Item, server: FakeOllama | ReplayServer) -> None:
    item.stash.setdefault(_SERVERS, []).append(_Unexpected(server.unexpected))


def _first_unexpected(item: pytest.Item) -> UnexpectedRequest | None:
    found = [server.next() for server in item.stash.get(_SERVERS, [])]
    return next(filter(None, found), None)


def _fail_if_unexpected(item: pytest.Item) -> None:
    __tracebackhide__ = True
    if unexpected := _first_unexpected(item):
        pytest.fail(f"{unexpected}\n{_HINT}", pytrace=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each split plan; the test's id contains the plan."""
    marker = metafunc.definition.get_closest_marker("dripline_splits")
    if marker is None:
        return
    if "dripline_split" not in metafunc.fixturenames:
        name = metafunc.definition.nodeid
        raise pytest.UsageError(f"{name}: dripline_splits needs `replay` or `dripline_split`")
    folder = _folder(metafunc.config, metafunc.definition.path)
    plans = _plans(folder, *marker.args, **marker.kwargs)
    metafunc.parametrize("dripline_split", plans, ids=str, indirect=True)


def _plans(folder: Path, *plans: SplitPlan, two_way: str | None = None) -> list[SplitPlan]:
    from dripline.recordings.recording import Recording
    from dripline.recordings.splits import as_recorded, two_way_splits, usual_splits

    if two_way is None:
        return list(plans or usual_splits)
    path = folder / two_way
    if not path.exists():  # the first run records it
        return [*plans, as_recorded]
    longest = max(len(exchange.body) for exchange in Recording.load(path).exchanges)
    return [*plans, *two_way_splits(longest)]


def _folder(config: pytest.Config, test_file: Path) -> Path:
    named = str(config.getini("dripline_recordings"))
    return config.rootpath / named if named else test_file.parent / "recordings"


class Background:
    """An event loop in a thread, for servers whose clients block or run in other loops."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dripline", daemon=True)
        self._thread.start()

    def run(self, main: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine in the loop, wait for it and return its result.

        Raises:
            TimeoutError: It needed longer than `timeout` seconds, and was cancelled.
        """
        future = asyncio.run_coroutine_threadsafe(main, self._loop)
        try:
            return future.result(timeout)
        finally:
            future.cancel()

    async def run_async(self, main: Coroutine[Any, Any, T]) -> T:
        """Do the same from another event loop. Safe to cancel."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(main, self._loop))

    @contextmanager
    def running(self, context: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter and leave an asynchronous context in the loop, both in the same task."""
        entered: asyncio.Future[T] = self._loop.create_future()
        leave = asyncio.Event()

        async def hold() -> None:
            try:
                async with context as value:
                    entered.set_result(value)
                    await leave.wait()
            except Exception as error:
                if entered.done():
                    raise
                entered.set_exception(error)

        async def wait_entered() -> T:
            return await entered

        held = asyncio.run_coroutine_threadsafe(hold(), self._loop)
        try:
            yield self.run(wait_entered(), _START_SECONDS)
        finally:
            self._loop.call_soon_threadsafe(leave.set)
            held.result(_START_SECONDS)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class OllamaFixture:
    """A fake Ollama in its own thread, with the requests of the code under test.

    Attributes:
        url: Its address.
        models: The scripts by model name, including the demo models; may be changed at any time.
    """

    def __init__(self, fake: FakeOllama, background: Background) -> None:
        self.url: str = fake.url
        self.models: dict[str, Script] = fake.models
        self._fake = fake
        self._background = background

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests so far, oldest first; `ended` is None while one is being answered."""
        self._fake.settle(0)
        return list(self._fake.requests)

    @property
    def chats(self) -> list[ReceivedRequest]:
        """The chat requests."""
        self._fake.settle(0)
        return self._fake.chats

    def wait_ended(self, nth: int | None = None, *, timeout: float = 5.0) -> ReceivedRequest:
        """Wait until a chat has ended, and return it; its `ended` and `verdict` say how.

        Do not call it in a coroutine, because it would block the code under test; use `ended`.

        Args:
            nth: The number of the chat, from 1. None: the last one.
            timeout: The time limit in seconds.

        Raises:
            TimeoutError: It did not end, or did not arrive; the message lists what arrived instead.
        """
        try:
            return self._background.run(self._ended(nth), timeout)
        except TimeoutError:
            hint = ""
            with suppress(RuntimeError):
                asyncio.get_running_loop()
                hint = "; in a coroutine use `await fake_ollama.ended()`, which lets others run"
            raise TimeoutError(f"{self._what_came(nth, timeout)}{hint}") from None

    async def ended(self, nth: int | None = None, *, timeout: float = 5.0) -> ReceivedRequest:  # noqa: ASYNC109 (as above)
        """Do the same as `wait_ended`, in a test that is a coroutine.

        Raises:
            TimeoutError: It did not end, or did not arrive; the message lists what arrived instead.
            RuntimeError: The coroutine runs in trio instead of asyncio.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise RuntimeError(
                "`await fake_ollama.ended()` needs asyncio; under trio use"
                " `await trio.to_thread.run_sync(fake_ollama.wait_ended)`"
            ) from None
        try:
            async with asyncio.timeout(timeout):
                return await self._background.run_async(self._ended(nth))
        except TimeoutError:
            raise TimeoutError(self._what_came(nth, timeout)) from None

    def settle(self) -> None:
        """Wait a moment for answers that are on their way: see `FakeOllama.settle`."""
        self._fake.settle()

    async def _ended(self, nth: int | None) -> ReceivedRequest:
        chat = await self._fake.wait_for_request(nth or max(1, len(self._fake.chats)))
        await chat.wait_ended()
        return chat

    def _what_came(self, nth: int | None, timeout: float) -> str:
        chats = self._fake.chats
        number = nth or max(1, len(chats))
        what = f"chat {number} did not end" if len(chats) >= number else f"chat {number} never came"
        came = ", ".join(
            f"{request.method} {request.path} {_state(request)}" for request in self.requests
        )
        return f"{what} within {timeout:g} s; what came: {came or 'nothing'}"


def _state(request: ReceivedRequest) -> str:
    """Return the status of a finished answer; otherwise, or without a status, the verdict."""
    if request.ended is None:
        return f"({request.verdict})"
    return str(request.status or f"({request.verdict})")


class ReplayFixture:
    """A recording as chunks and as a server, with the requests that the server received.

    Attributes:
        url: The server's address; the paths are those that were recorded.
    """

    def __init__(
        self, server: ReplayServer, load: Callable[[], Recording], split: SplitPlan
    ) -> None:
        self.url: str = server.url
        self._server = server
        self._load = load
        self._split = split

    @property
    def recording(self) -> Recording:
        """The recording with its original pieces."""
        return self._load()

    @property
    def chunks(self) -> list[bytes]:
        """The body, split by the split plan; the recording must have only one exchange."""
        return self._split(self.recording.chunks)

    @property
    def requests(self) -> list[ReplayedRequest]:
        """The requests so far, oldest first; `ended` is None while one is being answered."""
        self._server.settle(0)
        return list(self._server.requests)

    def settle(self) -> None:
        """Wait a moment for answers that are on their way: see `ReplayServer.settle`."""
        self._server.settle()


@pytest.fixture(scope="session")
def dripline_background() -> Iterator[Background]:
    """The thread in which the servers run."""
    background = Background()
    yield background
    background.close()


@pytest.fixture
def fake_ollama(
    dripline_background: Background, request: pytest.FixtureRequest
) -> Iterator[OllamaFixture]:
    """A fake Ollama: see `OllamaFixture`."""
    from dripline.testing import FakeOllama

    with _port(request.config) as port:
        fake = FakeOllama(port=port)
        with dripline_background.running(fake):
            _watch(request.node, fake)
            yield OllamaFixture(fake, dripline_background)
    _fail_if_unexpected(request.node)


@pytest.fixture
def chat_server(
    fake_ollama: OllamaFixture, dripline_background: Background, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """A dripline server that uses the fake Ollama, at `url`. Its default model is "demo"."""
    try:
        from dripline_server.app import serve
        from dripline_server.settings import Settings
    except ModuleNotFoundError as missing:
        package = (missing.name or "").split(".")[0]
        pytest.fail(f"chat_server needs {package}: pip install 'dripline[server]'", pytrace=False)
    settings: dict[str, Any] = {"model": "demo"}
    for marker in reversed(list(request.node.iter_markers("dripline_settings"))):
        settings |= marker.kwargs
    given = Settings(**{"port": 0, "ollama": fake_ollama.url, **settings})
    with dripline_background.running(serve(given)) as server:
        yield server


@pytest.fixture
def chat_client(chat_server: Server, request: pytest.FixtureRequest) -> Iterator[ChatClient]:
    """A client of the chat server, for any asyncio event loop in which the test runs."""
    from dripline import ChatClient

    if _runs_in_trio(request):
        pytest.fail(
            "chat_client needs asyncio. Under trio, give chat_server.url to a client that knows"
            " trio, such as httpx.",
            pytrace=False,
        )
    loops = []

    async def note_loop(
        sent: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        # Do not keep connections open, because the test's event loop may end with the test.
        sent.headers["Connection"] = "close"
        loops.append(asyncio.get_running_loop())
        return await handler(sent)

    token = chat_server.state.settings.token
    client = ChatClient(chat_server.url, token, middlewares=[note_loop])
    yield client
    loop = loops[-1] if loops and not loops[-1].is_closed() else None
    if loop is None or loop.is_running():
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.close())
        loop.close()
    else:
        loop.run_until_complete(client.close())


def _runs_in_trio(request: pytest.FixtureRequest) -> bool:
    """Return whether pytest-trio or anyio runs the test in trio."""
    if request.node.get_closest_marker("trio"):
        return True
    if "anyio_backend" not in request.fixturenames:
        return False
    backend = request.getfixturevalue("anyio_backend")
    return "trio" in (backend if isinstance(backend, tuple) else (backend,))


@pytest.fixture
def dripline_split(request: pytest.FixtureRequest) -> SplitPlan:
    """The split plan of this run of a test that is marked with `dripline_splits`."""
    from dripline.recordings.splits import as_recorded

    plan: SplitPlan = getattr(request, "param", as_recorded)
    return plan


@pytest.fixture
def replay(
    dripline_split: SplitPlan, dripline_background: Background, request: pytest.FixtureRequest
) -> Iterator[Callable[..., ReplayFixture]]:
    """A function `replay(name, *, match="path", split=None, speed=math.inf, server=...)`.

    It serves a recording of any number of exchanges at `url`. `match` says how a request finds its
    answer: by method and "path", by the "body" too, in the recorded "order", or by a function of
    the recorded request and the actual one. A request that was not recorded fails the test. `split`
    defaults to the plan of the marker `dripline_splits`, otherwise to the recorded pieces.

    If the recording is missing, requests are passed on to `server`, by default the real Ollama, and
    recorded. The option `--dripline-record` can change or forbid that.
    """
    from dripline.recordings.proxy import RecordingProxy
    from dripline.recordings.recording import Recording
    from dripline.recordings.replay_server import ReplayServer
    from dripline.testing.environment import in_ci

    folder = _folder(request.config, request.path)
    mode = request.config.getoption(_RECORD) or ("none" if in_ci() else "once")
    with ExitStack() as servers:

        def start(
            name: str,
            *,
            match: Match = "path",
            split: SplitPlan | None = None,
            speed: float = math.inf,
            server: str = OLLAMA_URL,
        ) -> ReplayFixture:
            path = folder / name
            plan = split or dripline_split
            recording, elsewhere = Recording(), None
            if path.exists() and mode != "all":
                recording = Recording.load(path)
            elif mode == "none":
                pytest.fail(f"there is no recording {path}; make it with {_RECORD}")
            if mode in ("all", "new") or not recording.exchanges:
                proxy = RecordingProxy(server, path, keep=_KEEP[mode])
                servers.enter_context(dripline_background.running(proxy))
                elsewhere = proxy.pass_on
            served = ReplayServer(
                recording,
                match=match,
                split=plan,
                speed=speed,
                root=_root(server),
                port=servers.enter_context(_port(request.config)),
                elsewhere=elsewhere,
            )
            servers.enter_context(dripline_background.running(served))
            _watch(request.node, served)
            return ReplayFixture(served, lambda: Recording.load(path), plan)

        yield start
    _fail_if_unexpected(request.node)


def _root(server: str) -> str:
    """Return the path of a server's address, to which a recording appends the requests' paths."""
    from yarl import URL

    return URL(server).path.rstrip("/")
