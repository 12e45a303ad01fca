"""The `dripline-server` command, as a real process."""

from __future__ import annotations

import signal
import socket

import aiohttp
import ollama
import pytest

from dripline_server.settings import DEFAULT_OLLAMA_URL
from tests.support.processes import command, line, run, run_python
from tests.support.stack import user
from tests.support.usual_ollama import skip_if_ollama_runs


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_serve_stands_in_for_ollama_and_stops_cleanly(stop: signal.Signals) -> None:
    """Without an Ollama it says so and answers all the same; a signal ends it with code 0."""
    skip_if_ollama_runs()
    environment = {"OLLAMA_HOST": ""}
    async with command("dripline-server", "--port", "0", environment=environment) as process:
        url = (await line(process)).removeprefix("dripline is at ")
        assert f"No Ollama answers at {DEFAULT_OLLAMA_URL}" in await line(process)
        async with aiohttp.ClientSession() as http:
            response = await http.post(f"{url}/chat", json={"messages": user("Hi")})
            assert '"status":"completed"' in await response.text()
        process.send_signal(stop)
        _, err = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [(("--ollama", "http://127.0.0.1:1"), {}), ((), {"OLLAMA_HOST": "127.0.0.1:1"})],
    ids=["flag", "OLLAMA_HOST"],
)
async def test_an_explicit_ollama_is_never_replaced(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    """Whoever says where Ollama is means that one."""
    started = command("dripline-server", "--port", "0", *arguments, environment=environment)
    async with started as process:
        url = (await line(process)).removeprefix("dripline is at ")
        async with aiohttp.ClientSession() as http:
            body = {"messages": user("Hi"), "model": "demo"}
            text = await (await http.post(f"{url}/chat", json=body)).text()
        assert '"code":"ollama_unreachable"' in text


async def test_it_says_what_to_install() -> None:
    """Where the client alone is."""
    code, _, err = await run_python(
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from dripline_server.start_cli import main; sys.exit(main())"
    )
    assert (code, err) == (
        2,
        "dripline-server needs prometheus_client: pip install 'dripline[server]'\n",
    )


async def test_a_taken_port_is_said() -> None:
    """Exit code 1 and the address, not a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, err = await run(
            "dripline-server", "--port", port, "--ollama", "http://127.0.0.1:1"
        )
    assert code == 1
    assert port in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--port", "high"], {}, "--port: 'high'"),
        ([], {"DRIPLINE_HEARTBEAT": "often"}, "DRIPLINE_HEARTBEAT: 'often'"),
        (["--colour=red"], {}, "--colour"),
        (["--tokens", "no.toml"], {}, "--tokens: no.toml: cannot be read: No such file"),
        (["--tools", "no.such"], {}, "--tools: no.such cannot be imported: ModuleNotFoundError"),
        (["--port", "1", "fake-ollama"], {}, "go after it"),
        (["fake-ollama", "--port", "70000"], {}, "70000"),
    ],
)
async def test_bad_options_are_named(
    arguments: list[str], environment: dict[str, str], words: str
) -> None:
    """Exit code 2, and the option's name."""
    code, _, err = await run("dripline-server", *arguments, environment=environment)
    assert code == 2
    assert words in err


async def test_the_fake_ollama_runs_alone() -> None:
    """`dripline-server fake-ollama` is an Ollama to the `ollama` package."""
    async with command("dripline-server", "fake-ollama", "--port", "0") as process:
        url = (await line(process)).removeprefix("a fake Ollama is at ")
        async with ollama.AsyncClient(url) as client:
            names = {model.model for model in (await client.list()).models}
            assert "demo:latest" in names
            answer = await client.chat("demo", messages=user("Hi"))
            assert answer.message.content
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
