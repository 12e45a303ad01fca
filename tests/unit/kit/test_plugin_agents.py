"""Agents of many requests, in somebody's project: recorded once, and replayed ever after."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.testing import Call, FakeOllama, Reply, Script, in_rounds
from tests.support.foreign_project import RunTests, runs_tests

pytest_plugins = ["pytester"]

# The same agent with three clients: it asks, calls the tool that the model wants, and asks again.
OLLAMA = """
    import os
    import ollama

    def get_weather(city: str) -> str:
        return f"sunny in {city}"

    def agent(url, question):
        messages = [{"role": "user", "content": question}]
        with ollama.Client(url) as client:
            while True:
                said, calls = "", []
                for chunk in client.chat("m", messages, tools=[get_weather], stream=True):
                    said += chunk.message.content or ""
                    calls += chunk.message.tool_calls or []
                if not calls:
                    return said
                messages.append({"role": "assistant", "content": said, "tool_calls": calls})
                for call in calls:
                    result = get_weather(**call.function.arguments)
                    messages.append({"role": "tool", "content": result})
"""
HTTPX = """
    import json, os
    import httpx

    TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}

    def agent(url, question):
        messages = [{"role": "user", "content": question}]
        with httpx.Client(base_url=url) as client:
            assert client.get("/api/version").json()["version"]
            while True:
                said, calls = "", []
                body = {"model": "m", "messages": messages, "tools": [TOOL]}
                with client.stream("POST", "/api/chat", json=body) as response:
                    for line in response.iter_lines():
                        message = json.loads(line)["message"]
                        said += message["content"]
                        calls += message.get("tool_calls", [])
                if not calls:
                    return said
                messages.append({"role": "assistant", "content": said, "tool_calls": calls})
                messages += [{"role": "tool", "content": "sunny"} for call in calls]
"""
OPENAI = """
    import os
    import openai

    TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}

    def agent(url, question):
        messages = [{"role": "user", "content": question}]
        with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-hunter2") as client:
            while True:
                said, calls = "", {}
                for chunk in client.chat.completions.create(
                    model="m", messages=messages, tools=[TOOL], stream=True
                ):
                    delta = chunk.choices[0].delta
                    said += delta.content or ""
                    for call in delta.tool_calls or []:
                        calls[call.index] = call
                if not calls:
                    return said
                made = [
                    {"id": call.id, "type": "function", "function": {
                        "name": call.function.name, "arguments": call.function.arguments}}
                    for call in calls.values()
                ]
                messages.append({"role": "assistant", "content": said, "tool_calls": made})
                for call in made:
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": "ok"})
"""
TEST = """
    import time

    def test_agent(replay):
        tape = replay("agent.jsonl", match="body", server=os.environ["REAL_SERVER"])
        question = os.environ.get("QUESTION", "Weather in Zurich?")
        assert agent(tape.url, question) == "It is sunny."
        # The server notes the end of an answer a moment after the client has it.
        until = time.monotonic() + 10
        while not all(request.got_whole_answer for request in tape.requests):
            assert time.monotonic() < until
            time.sleep(0.01)
"""
AGENTS = {"ollama": OLLAMA, "httpx": HTTPX, "openai": OPENAI}


async def _completions(request: web.Request) -> web.StreamResponse:
    """OpenAI's streams: a tool call, and once its result is there, the answer."""
    messages = (await request.json())["messages"]
    call = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": "{}"}}
    deltas: list[object] = [{"content": "It is"}, {"content": " sunny."}]
    if messages[-1]["role"] == "user":
        deltas = [{"tool_calls": [call]}]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for delta in deltas:
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        data = orjson.dumps({**chunk, "choices": [{"index": 0, "delta": delta}]})
        await response.write(b"data: %b\n\n" % data)
    await response.write(b"data: [DONE]\n\n")
    return response


@pytest.fixture
async def real_server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An Ollama and an OpenAI, until it is set to be away."""
    calls = Reply("", tool_calls=[Call("get_weather", {"city": "Zurich"})])
    script = Script(in_rounds(calls, "It is sunny."), capabilities=["completion", "tools"])

    async with FakeOllama({"m": script}) as fake:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", _completions)
        async with TestServer(application) as openai:
            monkeypatch.setenv("OLLAMA", fake.url)
            monkeypatch.setenv("OPENAI", str(openai.make_url("")).rstrip("/"))
            yield fake.url


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> RunTests:
    """Run a test file in a project without any async plugin."""
    return runs_tests(pytester, monkeypatch)


@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_is_recorded_and_replayed(
    run: RunTests,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    real_server: str,
    name: str,
) -> None:
    """Green when it records and ever after, without the server; another question is red."""
    server = os.environ["OPENAI" if name == "openai" else "OLLAMA"]
    monkeypatch.setenv("REAL_SERVER", server)
    code = AGENTS[name] + TEST
    made = await asyncio.to_thread(run, code)
    made.assert_outcomes(passed=1)
    [path] = (pytester.path / "recordings").iterdir()
    recording = Recording.load(path)
    assert len(recording.exchanges) == (3 if name == "httpx" else 2)
    assert {exchange.ending for exchange in recording.exchanges} == {ExchangeEnding.EOF}
    assert "hunter2" not in path.read_text()

    monkeypatch.setenv("REAL_SERVER", "http://127.0.0.1:1")
    for arguments in ((), ("--dripline-record=none",), ("--dripline-record=new",)):
        replayed = await asyncio.to_thread(run, code, *arguments)
        replayed.assert_outcomes(passed=1)
    monkeypatch.setenv("QUESTION", "Weather in Bern?")
    other = await asyncio.to_thread(run, code)
    other.assert_outcomes(failed=1)
    shown = other.stdout.str()
    assert "unexpected request: POST /" in shown
    assert 'content: recorded "Weather in Zurich?", came "Weather in Bern?"' in shown
    assert "--dripline-record=new" in shown
    monkeypatch.setenv("REAL_SERVER", server)
    added = await asyncio.to_thread(run, code, "--dripline-record=new")
    added.assert_outcomes(passed=1)
    both = Recording.load(path)
    assert both.exchanges[: len(recording.exchanges)] == recording.exchanges
    assert len(both.exchanges) == len(recording.exchanges) + 2
    assert [found.name for found in path.parent.iterdir()] == [path.name]


SWALLOWS = """
    import urllib.request, urllib.error, pytest

    def ask(url):
        try:
            urllib.request.urlopen(url, b"{}").read()
        except urllib.error.HTTPError:
            pass

    def test_passes_alone(replay):
        ask(replay("x.jsonl").url + "/api/chat")
    def test_swallowed(replay):
        ask(replay("x.jsonl").url + "/api/chats")
    def test_too_often(replay):
        tape = replay("x.jsonl")
        ask(tape.url + "/api/chat")
        ask(tape.url + "/api/chat")
    @pytest.fixture
    def late(replay):
        tape = replay("x.jsonl")
        yield tape
        ask(tape.url + "/late")
    def test_late(late): pass
    @pytest.mark.xfail(strict=True)
    def test_expected_to_fail(replay):
        ask(replay("x.jsonl").url + "/api/chats")
    def test_fails_itself(replay):
        ask(replay("x.jsonl").url + "/api/chats")
        assert False, "its own reason"
"""


def test_an_unexpected_request_fails_the_test(run: RunTests, pytester: pytest.Pytester) -> None:
    """Even where the code under test hides the error; and after the test, in its teardown."""
    from tests.support.recordings import CHAT, recording_of

    (pytester.path / "recordings").mkdir()
    recording_of([b"{}"], request=CHAT).save(pytester.path / "recordings/x.jsonl")
    result = run(SWALLOWS)
    result.assert_outcomes(passed=2, failed=3, errors=1, xfailed=1)
    result.stdout.fnmatch_lines_random(
        [
            "FAILED test_it.py::test_swallowed - Failed: unexpected request: POST /api/chats",
            "FAILED test_it.py::test_too_often - Failed: unexpected request: POST /api/chat",
            "ERROR test_it.py::test_late - Failed: unexpected request: POST /late",
            "*the recording has it once, and it has come more often*",
            "E       unexpected request: POST /api/chats",
            "*its own reason*",
        ]
    )


async def test_modes(
    run: RunTests, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """once, none, all and new; what they do to a file that is there, and to one that is not."""
    folder = pytester.path / "recordings"
    code = """
        import os, httpx
        def test_x(replay):
            tape = replay("x.jsonl", server=os.environ["REAL_SERVER"])
            for path in os.environ["PATHS"].split():
                assert httpx.get(tape.url + path).status_code == 200
    """

    def paths() -> list[str]:
        return [exchange.request.path for exchange in Recording.load(folder / "x.jsonl").exchanges]

    async with FakeOllama() as real:
        monkeypatch.setenv("REAL_SERVER", real.url)

        async def runs(mode: str, asked: str, **outcome: int) -> None:
            monkeypatch.setenv("PATHS", asked)
            result = await asyncio.to_thread(run, code, *([mode] if mode else []))
            result.assert_outcomes(**outcome)

        await runs("--dripline-record=none", "/api/tags", failed=1)
        assert not folder.exists()
        await runs("", "/api/tags", passed=1)
        assert paths() == ["/api/tags"]
        await runs("--dripline-record", "/api/tags /api/ps", failed=1)
        assert paths() == ["/api/tags"]
        await runs("--dripline-record=new", "/api/tags /api/ps /api/ps", passed=1)
        assert paths() == ["/api/tags", "/api/ps", "/api/ps"]
        asked = len(real.requests)
        await runs("--dripline-record=none", "/api/ps /api/tags /api/ps", passed=1)
        assert len(real.requests) == asked
        await runs("--dripline-record=all", "/api/version", passed=1)
        assert paths() == ["/api/version"]
        monkeypatch.setenv("CI", "true")
        await runs("", "/api/tags", failed=1)


@pytest.mark.parametrize("mode", ["once", "new", "all"])
async def test_workers_that_record_the_same_file(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """They do not disturb each other: each test is green, and one whole file is left."""
    run = runs_tests(pytester, monkeypatch, "xdist")
    code = """
        import os, httpx, pytest
        @pytest.mark.parametrize("n", range(6))
        def test_x(replay, n):
            tape = replay("x.jsonl", server=os.environ["REAL_SERVER"], match="body")
            for path in ("/api/tags", "/api/ps"):
                assert httpx.get(tape.url + path).status_code == 200
            chat = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}]}
            assert httpx.post(tape.url + "/api/chat", json=chat).is_success
    """
    async with FakeOllama() as real:
        monkeypatch.setenv("REAL_SERVER", real.url)
        result = await asyncio.to_thread(run, code, "-n", "3", f"--dripline-record={mode}")
    result.assert_outcomes(passed=6)
    [path] = (pytester.path / "recordings").iterdir()
    recording = Recording.load(path)
    assert [exchange.request.path for exchange in recording.exchanges] == [
        "/api/tags",
        "/api/ps",
        "/api/chat",
    ]
    assert {exchange.ending for exchange in recording.exchanges} == {ExchangeEnding.EOF}


MADE_ON_IMPORT = """
    import os
    import ollama
    import openai
    from dripline.testing import Ending, Script

    HOST = os.environ["OLLAMA_HOST"]
    client = openai.OpenAI(max_retries=0)
    HI = [{"role": "user", "content": "Hi"}]

    def test_ollama(fake_ollama):
        fake_ollama.models["m"] = Script(["Blue", "."])
        assert fake_ollama.url == HOST
        assert ollama.chat("m", HI).message.content == "Blue."
        assert fake_ollama.wait_ended().ended is Ending.FINISHED

    def test_openai(replay):
        tape = replay("openai.jsonl", server=os.environ["OPENAI"])
        assert tape.url == HOST
        chunks = client.chat.completions.create(model="m", messages=HI, stream=True)
        assert [c for chunk in chunks for c in chunk.choices]

    def test_both(fake_ollama, replay):
        assert fake_ollama.url == HOST != replay("openai.jsonl").url

    def test_the_others():
        assert os.environ["OPENAI_BASE_URL"] == f"{HOST}/v1"
        assert os.environ["ANTHROPIC_BASE_URL"] == HOST
        assert os.environ["OPENAI_API_KEY"] == "sk-mine"
        assert os.environ["ANTHROPIC_API_KEY"] == "dripline"
"""


@pytest.mark.parametrize("how", ["--dripline-env", "-odripline_env=true"])
async def test_clients_that_are_made_on_import(
    run: RunTests,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    real_server: str,
    how: str,
) -> None:
    """Their variables are set before anything is imported, and lead to each test's server."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.1:1")
    pytester.makeconftest("import os\nassert os.environ['OLLAMA_HOST'].startswith('http://127.')")
    for _ in range(2):  # recorded, and then replayed
        result = await asyncio.to_thread(run, MADE_ON_IMPORT, how)
        result.assert_outcomes(passed=4)


def test_without_the_option_no_variable_is_set(
    run: RunTests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that does not ask for it keeps its environment."""
    monkeypatch.setenv("OLLAMA_HOST", "http://192.0.2.1:1")
    code = "import os\ndef test_x(fake_ollama): assert '192.0.2.1' in os.environ['OLLAMA_HOST']"
    run(code).assert_outcomes(passed=1)


def test_what_came_instead_is_named(run: RunTests) -> None:
    """A chat that never ends, or never comes, is a time-out that says what came."""
    result = run(
        """
        import asyncio, httpx, pytest
        from dripline.testing import Fault, Script

        def test_never(fake_ollama):
            httpx.get(fake_ollama.url + "/api/tags")
            httpx.post(fake_ollama.url + "/api/nothing", json={})
            with pytest.raises(TimeoutError) as raised:
                fake_ollama.wait_ended(timeout=0.1)
            assert str(raised.value) == (
                "chat 1 never came within 0.1 s;"
                " what came: GET /api/tags 200, POST /api/nothing 404"
            )
            with pytest.raises(TimeoutError, match="POST /api/nothing 404"):
                asyncio.run(fake_ollama.ended(timeout=0.1))

        def test_nothing(fake_ollama):
            async def blocks():
                fake_ollama.wait_ended(timeout=0.1)
            with pytest.raises(TimeoutError, match=r"nothing; in a coroutine use .await fake_oll"):
                asyncio.run(blocks())

        def test_not_over(fake_ollama):
            fake_ollama.models["m"] = Script("a", fault=Fault.stall(at_token=1))
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            with httpx.stream("POST", fake_ollama.url + "/api/chat", json=body) as response:
                lines = response.iter_lines()
                next(lines)
                with pytest.raises(TimeoutError, match="chat 1 did not end.*still reading after 1"):
                    fake_ollama.wait_ended(timeout=0.1)
        """
    )
    result.assert_outcomes(passed=3)


def test_importing_the_plugin_is_cheap(pytester: pytest.Pytester) -> None:
    """It brings no part of the test kit, and no HTTP."""
    script = pytester.makepyfile(
        "import sys\nimport dripline.testing.pytest_plugin\n"
        "print([name for name in sys.modules if name.startswith(('aiohttp', 'dripline.'))])"
    )
    result = pytester.runpython(script)
    names = "['dripline.lazy', 'dripline.testing', 'dripline.testing.pytest_plugin']"
    assert result.outlines == [names]
