"""pytest fixtures for anyone's tests of streaming code, whatever library it uses.

The servers run in a thread of their own. So they serve blocking code, such as `ollama.Client`, as
well as code in any event loop, and need no other plugin; only `chat_client` needs pytest-asyncio.

pytest imports this module wherever dripline is installed: what it needs is imported when it is
used, so that tests that do not use it pay nothing and need nothing.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from dripline import ChatClient
    from dripline.recordings.recording import Recording
    from dripline.recordings.splits import SplitPlan
    from dripline.testing import FakeOllama, ReceivedRequest, Script
    from dripline_server.app import Server

T = TypeVar("T")

OLLAMA_URL = "http://127.0.0.1:11434"
_START_SECONDS = 30.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--dripline-record` and the setting that says where recordings are."""
    parser.getgroup("dripline").addoption(
        "--dripline-record",
        choices=["none", "missing", "all"],
        nargs="?",
        const="missing",
        help="whether `replay` may record against a real server: missing recordings, all, or none"
        " (the default where the variable CI is set, else: missing)",
    )
    parser.addini(
        "dripline_recordings",
        "folder of recordings, from the root; default: recordings/ beside the test's file",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers."""
    config.addinivalue_line(
        "markers",
        "dripline_splits(*plans, two_way=None): run the test once for each split plan that `replay`"
        " is to use; without plans those of `dripline.recordings.splits.usual_splits`; with"
        " two_way='name.jsonl' every way to cut that recording in two",
    )
    config.addinivalue_line(
        "markers", "dripline_settings(**settings): settings of the `chat_server`, as `Settings` has"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a marked test once for each split plan; its id names the plan."""
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
    return [*plans, *two_way_splits(len(Recording.load(path).body))]


def _folder(config: pytest.Config, test_file: Path) -> Path:
    named = str(config.getini("dripline_recordings"))
    return config.rootpath / named if named else test_file.parent / "recordings"


class Background:
    """An event loop in a thread, for servers that blocking code and other loops talk to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dripline", daemon=True)
        self._thread.start()

    def run(self, main: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine in the loop, and wait for what it returns.

        Raises:
            TimeoutError: It took longer than `timeout` seconds; it has been cancelled.
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
        """Enter an asynchronous context in the loop, and leave it there, in one task."""
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
    """A fake Ollama in its own thread, and what it saw of the code under test.

    Attributes:
        url: Its address.
        models: The scripts by model name; may be changed at any time. The demo models are there.
    """

    def __init__(self, fake: FakeOllama, background: Background) -> None:
        self.url: str = fake.url
        self.models: dict[str, Script] = fake.models
        self._fake = fake
        self._background = background

    @property
    def requests(self) -> list[ReceivedRequest]:
        """What came so far, oldest first; `ended` is None while it goes on."""
        return list(self._fake.requests)

    @property
    def chats(self) -> list[ReceivedRequest]:
        """The requests that are chats."""
        return self._fake.chats

    def wait_ended(self, nth: int | None = None, *, timeout: float = 5.0) -> ReceivedRequest:
        """Wait until a chat has ended, and return it; `ended` and `verdict` say how.

        Not in an event loop's thread: there the code under test could not go on.

        Args:
            nth: Which chat, from 1; None takes the last one.
            timeout: Seconds.

        Raises:
            TimeoutError: It did not end, or never came.
        """
        return self._background.run(self._ended(nth), timeout)

    async def ended(self, nth: int | None = None, *, timeout: float = 5.0) -> ReceivedRequest:  # noqa: ASYNC109 (as above)
        """Do the same in a test that is a coroutine."""
        async with asyncio.timeout(timeout):
            return await self._background.run_async(self._ended(nth))

    async def _ended(self, nth: int | None) -> ReceivedRequest:
        chat = await self._fake.wait_for_request(nth or max(1, len(self._fake.chats)))
        await chat.wait_ended()
        return chat


class ReplayFixture:
    """A recording, cut as asked: as chunks, and as a server.

    Attributes:
        url: Where it is served; any path will do.
    """

    def __init__(self, url: str, load: Callable[[], Recording], split: SplitPlan) -> None:
        self.url = url
        self._load = load
        self._split = split

    @property
    def recording(self) -> Recording:
        """The recording, as it was recorded."""
        return self._load()

    @property
    def chunks(self) -> list[bytes]:
        """The body, cut by the split plan."""
        return self._split(self.recording.chunks)


@pytest.fixture(scope="session")
def dripline_background() -> Iterator[Background]:
    """The thread in which the servers run."""
    background = Background()
    yield background
    background.close()


@pytest.fixture
def fake_ollama(dripline_background: Background) -> Iterator[OllamaFixture]:
    """A fake Ollama: see `OllamaFixture`."""
    from dripline.testing import FakeOllama

    with dripline_background.running(FakeOllama()) as fake:
        yield OllamaFixture(fake, dripline_background)


@pytest.fixture
def chat_server(
    fake_ollama: OllamaFixture, dripline_background: Background, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """A dripline server before the fake Ollama; `url` says where. Its default model is "demo"."""
    from dripline_server.app import serve
    from dripline_server.settings import Settings

    settings: dict[str, Any] = {"model": "demo"}
    for marker in reversed(list(request.node.iter_markers("dripline_settings"))):
        settings |= marker.kwargs
    given = Settings(**{"port": 0, "ollama": fake_ollama.url, **settings})
    with dripline_background.running(serve(given)) as server:
        yield server


async def _chat_client(chat_server: Server) -> AsyncIterator[ChatClient]:
    """A client of the chat server."""
    from dripline import ChatClient

    async with ChatClient(chat_server.url, chat_server.state.settings.token) as client:
        yield client


def _without_asyncio() -> None:
    """Cannot be had."""
    pytest.fail("chat_client needs pytest-asyncio: pip install pytest-asyncio")


try:
    import pytest_asyncio
except ImportError:
    chat_client: object = pytest.fixture(_without_asyncio)
else:
    chat_client = pytest_asyncio.fixture(_chat_client)


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
    """Give `replay(name, *, split=None, speed=math.inf, server=...)`, which serves a recording.

    `split` is by default the one of the marker `dripline_splits`, and else as recorded. Where the
    recording is missing, `url` leads to `server`, by default the real Ollama, and what passes is
    recorded; `--dripline-record=none` refuses that.
    """
    from dripline.recordings.proxy import RecordingProxy
    from dripline.recordings.recording import Recording
    from dripline.recordings.replay_server import ReplayServer
    from dripline.testing.environment import in_ci

    folder = _folder(request.config, request.path)
    mode = request.config.getoption("--dripline-record") or ("none" if in_ci() else "missing")
    with ExitStack() as servers:

        def start(
            name: str,
            *,
            split: SplitPlan | None = None,
            speed: float = math.inf,
            server: str = OLLAMA_URL,
        ) -> ReplayFixture:
            path = folder / name
            plan = split or dripline_split
            served: ReplayServer | RecordingProxy
            if path.exists() and mode != "all":
                served = ReplayServer(Recording.load(path), split=plan, speed=speed)
            elif mode == "none":
                pytest.fail(f"there is no recording {path}; make it with --dripline-record")
            else:
                served = RecordingProxy(server, path)
            servers.enter_context(dripline_background.running(served))
            return ReplayFixture(served.url, lambda: Recording.load(path), plan)

        yield start
