"""The pytest plugin, in tests of other people's code: `ollama`, httpx, plain aiohttp."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.splits import every_byte
from dripline.testing import FakeOllama, Script
from dripline.testing.pytest_plugin import Background
from tests.support.recordings import recording_of

pytest_plugins = ["pytester"]

SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
EVENTS = ["data: Grüezi\n\n".encode(), b"data: [DONE]\n\n"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> object:
    """Run a test file in a process of its own, and return pytest's result.

    Of all plugins only those it is about are loaded, dripline's by the name that it installs:
    the others take many times as long as the tests. The README's tests run with all.
    """
    pytester.makeini(SETTINGS)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_PLUGINS", raising=False)

    def run(code: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=code)
        return pytester.runpytest_subprocess(
            "-v", "-p", "pytest_asyncio.plugin", "-p", "dripline", *arguments
        )

    return run


@pytest.fixture
def recordings(pytester: pytest.Pytester) -> Path:
    """The folder where `replay` looks."""
    folder = pytester.path / "recordings"
    folder.mkdir()
    recording_of(EVENTS).save(folder / "hello.jsonl")
    return folder


# Each is a whole test file, as it could stand in anyone's project.
EXAMPLES = {
    "the ollama package, blocking": """
        import ollama
        from dripline.testing import Ending, Script

        def test_it_reads_all(fake_ollama):
            fake_ollama.models["mistral"] = Script(["Blue", "."])
            with ollama.Client(fake_ollama.url) as client:
                chunks = client.chat("mistral", [{"role": "user", "content": "Hi"}], stream=True)
                assert "".join(chunk.message.content for chunk in chunks) == "Blue."
            assert fake_ollama.wait_ended().ended is Ending.FINISHED
            assert fake_ollama.requests[-1].verdict.startswith("read to the end, after 2 tokens")
    """,
    "the ollama package, asyncio": """
        import ollama
        from dripline.testing import Ending, Fault, Script

        async def test_it_leaves(fake_ollama):
            fake_ollama.models["mistral"] = Script(["Blue", "."], fault=Fault.stall(at_token=1))
            async with ollama.AsyncClient(fake_ollama.url) as client:
                messages = [{"role": "user", "content": "Hi"}]
                async for chunk in await client.chat("mistral", messages, stream=True):
                    break
            chat = await fake_ollama.ended()
            assert chat.ended is Ending.CLIENT_LEFT
            assert chat.verdict.startswith("left after 1 tokens")
    """,
    "httpx": """
        import httpx
        from dripline.recordings.splits import every_byte

        def test_it_joins_characters(replay):
            with httpx.stream("GET", replay("hello.jsonl", split=every_byte).url) as response:
                assert response.headers["content-type"] == "text/event-stream"
                lines = [line for line in response.iter_lines() if line]
            assert lines == ["data: Grüezi", "data: [DONE]"]
    """,
    "plain aiohttp": """
        import aiohttp
        import pytest

        @pytest.mark.dripline_splits(two_way="hello.jsonl")
        async def test_every_split(replay):
            text = ""
            async with aiohttp.ClientSession() as http:
                async with http.get(replay("hello.jsonl").url) as response:
                    async for line in response.content:
                        text += line.decode()
            assert text == "data: Grüezi\\n\\ndata: [DONE]\\n\\n"
    """,
    "dripline": """
        import pytest
        from dripline import End, Start, TextMessage
        from dripline.testing.assertions import assert_same_events
        from dripline.testing import Script

        @pytest.mark.dripline_settings(model="mistral")
        async def test_a_chat(fake_ollama, chat_client):
            fake_ollama.models["mistral"] = Script(["Blue", "."])
            async with chat_client.chat("Why?") as stream:
                events = [event async for event in stream]
            assert_same_events(events[1:-1], [TextMessage("Blue"), TextMessage(".")])

        def test_the_server_alone(chat_server, fake_ollama):
            import urllib.request
            with urllib.request.urlopen(chat_server.url + "/models") as response:
                assert b'"demo' in response.read()
    """,
}


@pytest.mark.parametrize("code", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example(run: object, recordings: Path, code: str) -> None:
    """It passes, without a warning."""
    assert callable(run)
    result = run(code)
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}, result.stdout.str()


def test_the_failing_split_is_named(run: object, recordings: Path) -> None:
    """Decoding each chunk by itself fails where a character is cut, and there alone."""
    assert callable(run)
    result = run(
        """
        import pytest

        @pytest.mark.dripline_splits(two_way="hello.jsonl")
        def test_naive(replay):
            for chunk in replay("hello.jsonl").chunks:
                chunk.decode()
        """
    )
    size = sum(map(len, EVENTS))
    result.assert_outcomes(passed=size - 2, failed=1)
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_naive[[]cut_at(9)[]]*"])


def test_the_usual_splits_and_chosen_ones(run: object, recordings: Path) -> None:
    """Without plans the usual ones; the mark needs a fixture that takes it."""
    assert callable(run)
    code = """
        import pytest
        from dripline.recordings.splits import fixed, whole

        @pytest.mark.dripline_splits()
        def test_usual(replay):
            assert b"".join(replay("hello.jsonl").chunks).startswith(b"data: ")

        @pytest.mark.dripline_splits(whole, fixed(3))
        def test_chosen(dripline_split):
            assert len(dripline_split([b"abc", b"def"])) in (1, 2)

        def test_unmarked(dripline_split):
            assert str(dripline_split) == "as_recorded"
    """
    result = run(code)
    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["*test_usual[[]seeded(2, largest=64)[]] PASSED*"])
    result = run("import pytest\n@pytest.mark.dripline_splits()\ndef test_x(): pass")
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*dripline_splits needs `replay` or `dripline_split`*"])


async def test_a_missing_recording_is_made_once(
    run: object, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a real server, whatever the client; then it is replayed, without the server."""
    assert callable(run)
    monkeypatch.delenv("CI", raising=False)
    async with FakeOllama({"mistral": Script(["Blue", "."], split=every_byte)}) as real:
        code = f"""
        import ollama
        import pytest

        @pytest.mark.dripline_splits(two_way="new/sky.jsonl")
        def test_x(replay):
            with ollama.Client(replay("new/sky.jsonl", server="{real.url}").url) as client:
                chunks = client.chat("mistral", [{{"role": "user", "content": "Hi"}}], stream=True)
                assert "".join(chunk.message.content for chunk in chunks) == "Blue."
        """
        refused = await asyncio.to_thread(run, code, "--dripline-record=none")
        refused.assert_outcomes(failed=1)
        refused.stdout.fnmatch_lines(["*there is no recording *sky.jsonl*--dripline-record*"])
        made = await asyncio.to_thread(run, code)
        made.assert_outcomes(passed=1)
        assert len(real.chats) == 1
        recording = Recording.load(recordings / "new" / "sky.jsonl")
        assert recording.ending is ExchangeEnding.EOF
        assert recording.request.url == f"{real.url}/api/chat"
        assert len(recording.body.splitlines()) == 3
        chosen = [f"test_it.py::test_x[cut_at({offset})]" for offset in (1, 9)]
        again = await asyncio.to_thread(run, code, *chosen)
        again.assert_outcomes(passed=2)
        assert len(real.chats) == 1
        anew = await asyncio.to_thread(run, code, "--dripline-record=all", chosen[0])
        anew.assert_outcomes(passed=1)
        assert len(real.chats) == 2
    assert list((recordings / "new").iterdir()) == [recordings / "new" / "sky.jsonl"]


@pytest.mark.parametrize(("ci", "made"), [("", True), ("true", False)])
def test_in_ci_nothing_is_recorded_by_default(
    run: object, recordings: Path, monkeypatch: pytest.MonkeyPatch, ci: str, made: bool
) -> None:
    """Where `CI` is set, a missing recording is a failure; a server that is away leaves no file."""
    assert callable(run)
    monkeypatch.setenv("CI", ci)
    result = run(
        """
        import httpx

        def test_x(replay):
            response = httpx.get(replay("new.jsonl", server="http://127.0.0.1:1").url)
            assert response.status_code == 502
            assert "nothing to record: http://127.0.0.1:1 does not answer" in response.text
        """
    )
    result.assert_outcomes(passed=int(made), failed=int(not made))
    assert [path.name for path in recordings.iterdir()] == ["hello.jsonl"]


def test_the_folder_can_be_set(run: object, recordings: Path, pytester: pytest.Pytester) -> None:
    """`dripline_recordings` in pytest's configuration."""
    assert callable(run)
    recordings.rename(pytester.path / "tapes")
    code = 'def test_x(replay): assert replay("hello.jsonl").recording.ending == "eof"'
    result = run(code, "-o", "dripline_recordings=tapes", "--dripline-record=none")
    result.assert_outcomes(passed=1)


def test_unused_it_imports_nothing(run: object) -> None:
    """Tests that do not use dripline do not load it."""
    assert callable(run)
    result = run(
        """
        import sys

        def test_x():
            assert "dripline.testing.fake_ollama" not in sys.modules
            assert "aiohttp.web" not in sys.modules
        """
    )
    result.assert_outcomes(passed=1)


def test_background_tells_what_failed() -> None:
    """A context that cannot be entered raises where it was wanted; nothing hangs."""
    background = Background()
    try:
        taken = FakeOllama({}, port=1, host="203.0.113.1")
        with pytest.raises(OSError, match=r".+"), background.running(taken):
            pass
    finally:
        background.close()


def test_chat_server_without_the_server_part(run: object, pytester: pytest.Pytester) -> None:
    """`pip install dripline` alone: the fixture says in a sentence what to install."""
    assert callable(run)
    pytester.makeconftest("import sys; sys.modules['prometheus_client'] = None")
    result = run("def test_server(chat_server):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["chat_server needs prometheus_client: pip install 'dripline[[]server[]]'"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*ModuleNotFoundError*")
