"""The pytest plugin under every event loop that tests run in, and under none."""

from __future__ import annotations

import pytest

from tests.support.foreign_project import runs_tests

pytest_plugins = ["pytester"]

# What a coroutine does with the fixtures, in whatever runs it.
CHAT = """
    fake_ollama.models["m"] = Script(["Blue", "."])
    async with chat_client.chat("Why?", model="m") as stream:
        events = [event async for event in stream]
    assert events[-1].status == "completed"
    assert (await fake_ollama.ended()).verdict.startswith("read to the end")
    async with httpx.AsyncClient() as http:
        response = await http.get(replay("hello.jsonl").url)
    assert response.text.endswith("[DONE]\\n\\n")
"""
IMPORTS = "import asyncio, unittest\nimport httpx, pytest\nfrom dripline.testing import Script\n"


def body(indent: int) -> str:
    return CHAT.replace("\n    ", "\n" + " " * indent)


FUNCTION = f"async def test_it(fake_ollama, chat_client, replay):{body(4)}"
BACKEND = "(anyio_backend_name, fake"
TWO = f"{FUNCTION}\nasync def test_again(fake_ollama, chat_client, replay):{body(4)}"

WAYS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "no plugin": (
        (),
        (),
        (
            "def test_it(fake_ollama, chat_client, replay):\n"
            f"    async def main():{body(8)}\n    asyncio.run(main())\n"
        ),
    ),
    "no plugin, two loops": (
        (),
        (),
        (
            "def test_it(fake_ollama, chat_server, replay):\n"
            "    from dripline import ChatClient\n"
            "    async def main():\n"
            f"        chat_client = ChatClient(chat_server.url){body(8)}"
            "        await chat_client.close()\n"
            "    asyncio.run(main())\n    asyncio.run(main())\n"
        ),
    ),
    "unittest": (
        (),
        (),
        (
            "class TestIt(unittest.IsolatedAsyncioTestCase):\n"
            "    @pytest.fixture(autouse=True)\n"
            "    def fixtures(self, fake_ollama, chat_client, replay):\n"
            "        self.given = fake_ollama, chat_client, replay\n"
            "    async def test_it(self):\n"
            f"        fake_ollama, chat_client, replay = self.given{body(8)}"
        ),
    ),
    "pytest-asyncio, auto": (("pytest_asyncio.plugin",), ("-o", "asyncio_mode=auto"), TWO),
    **{
        f"pytest-asyncio, strict, {scope}": (
            ("pytest_asyncio.plugin",),
            ("-o", "asyncio_mode=strict"),
            f"pytestmark = pytest.mark.asyncio(loop_scope={scope!r})\n{TWO}",
        )
        for scope in ("function", "module", "session")
    },
    "pytest-asyncio, session loops for fixtures and tests": (
        ("pytest_asyncio.plugin",),
        (
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=session"),
            *("-o", "asyncio_default_test_loop_scope=session"),
        ),
        TWO,
    ),
    "anyio on asyncio": (
        ("anyio",),
        (),
        (
            "pytestmark = pytest.mark.anyio\n@pytest.fixture\n"
            f"def anyio_backend(): return 'asyncio'\n{TWO}"
        ),
    ),
    "anyio on asyncio, in auto mode of pytest-asyncio": (
        ("anyio", "pytest_asyncio.plugin"),
        ("-o", "asyncio_mode=auto"),
        f"@pytest.fixture\ndef anyio_backend(): return 'asyncio'\n{TWO.replace('(fake', BACKEND)}",
    ),
}


@pytest.mark.parametrize(("plugins", "arguments", "code"), WAYS.values(), ids=WAYS)
def test_every_loop(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    hello: None,
    plugins: tuple[str, ...],
    arguments: tuple[str, ...],
    code: str,
) -> None:
    """All fixtures work, and leave nothing behind: warnings are errors."""
    run = runs_tests(pytester, monkeypatch, *plugins)
    result = run(IMPORTS + code, *arguments)
    assert set(result.parseoutcomes()) == {"passed"}, result.stdout.str()


TRIO = {
    "anyio": (
        "anyio",
        (
            "pytestmark = pytest.mark.anyio\n@pytest.fixture\n"
            "def anyio_backend(): return 'trio', {'strict_exception_groups': True}\n"
        ),
    ),
    "pytest-trio": ("trio", "pytestmark = pytest.mark.trio\n"),
}


@pytest.mark.parametrize(("plugin", "mark"), TRIO.values(), ids=TRIO)
def test_trio(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, hello: None, plugin: str, mark: str
) -> None:
    """What works there works; what does not says what does."""
    run = runs_tests(pytester, monkeypatch, plugin)
    result = run(
        f"{IMPORTS}import trio\n{mark}"
        "async def test_works(fake_ollama, replay):\n"
        "    async with httpx.AsyncClient() as http:\n"
        "        await http.get(replay('hello.jsonl').url)\n"
        "        chat = {'model': 'demo', 'messages': [{'role': 'user', 'content': 'Hi'}]}\n"
        "        await http.post(f'{fake_ollama.url}/api/chat', json=chat)\n"
        "    chat = await trio.to_thread.run_sync(fake_ollama.wait_ended)\n"
        "    assert chat.verdict.startswith('read to the end')\n"
        "async def test_ended(fake_ollama):\n"
        "    with pytest.raises(RuntimeError, match='trio.to_thread.run_sync'):\n"
        "        await fake_ollama.ended()\n"
        "async def test_client(chat_client): pass\n"
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*chat_client needs asyncio. Under trio, give chat_server.url*"])


@pytest.fixture
def hello(pytester: pytest.Pytester) -> None:
    """A recording."""
    from tests.support.recordings import recording_of

    folder = pytester.path / "recordings"
    folder.mkdir()
    recording_of([b"data: Hi\n\n", b"data: [DONE]\n\n"]).save(folder / "hello.jsonl")
