"""A server with a token, from the client's side: the library and the commands."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dripline import ChatClient, DriplineError, Recorder, RequestError, RequestRefused
from dripline.cli.client_settings import ClientSettings, load
from dripline.testing import Ending, Pace, Script
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import run
from tests.support.scripted_server import Say, ScriptedServer, answer
from tests.support.stack import Stack, stack

TOKEN = "correct-horse-battery-staple"
WRONG = "incorrect-horse-battery-staple"
STORY = Script([f"{n} " for n in range(40)], Pace(tokens_per_second=100))
ENDLESS = Script([f"{n} " for n in range(6000)], Pace(tokens_per_second=100))
TOLD = "".join(f"{n} " for n in range(40))


@pytest.fixture
async def guarded() -> AsyncIterator[Stack]:
    models = {"story": STORY, "endless": ENDLESS}
    async with stack(models, model="story", token=TOKEN) as s:
        yield s


async def test_every_request_has_it(
    guarded: Stack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Chat, resume, attach, stop, models; no log, recording or repr has it."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "x.jsonl"
    async with (
        CuttingProxy(guarded.url) as proxy,
        Recorder(path) as recorder,
        ChatClient(proxy.url, TOKEN, middlewares=[recorder]) as client,
    ):
        assert {model.name for model in await client.models()} == {"story:latest", "endless:latest"}
        async with client.chat("Hi") as stream:
            async for _ in stream:
                if "5 " in stream.answer.text and not stream.reconnects:
                    await proxy.refuse()
                    await proxy.listen()
        assert (stream.answer.text, stream.reconnects) == (TOLD, 1)
        async with client.attach(stream.run_id) as again:
            assert [event async for event in again][-1] == stream.answer.end
        async with client.chat("Hi", model="endless"):
            pass  # Leaving stops it.
        request = await guarded.ollama.wait_for_request(2)
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        assert TOKEN not in repr(client)
    assert path.read_text().count("REDACTED") >= 4
    assert TOKEN not in path.read_text()
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("token", "advice"),
    [("", "asks for its token: set it as DRIPLINE_TOKEN"), (WRONG, "rejects this token")],
    ids=["none", "wrong"],
)
async def test_refused(guarded: Stack, token: str, advice: str) -> None:
    """The library and each command say what to do, and nothing of the token."""
    async with ChatClient(guarded.url, token) as client:
        with pytest.raises(RequestRefused, match=advice) as refused:
            await client.models()
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")
    assert WRONG not in "".join(traceback.format_exception(refused.value))
    environment = {"DRIPLINE_SERVER": guarded.url, "DRIPLINE_TOKEN": token}
    results = await asyncio.gather(
        *(
            run("dripline", *command, environment=environment)
            for command in (["ask", "Hi"], ["models"], ["chat"])
        )
    )
    for code, out, err in results:
        assert (code, out) == (2, "")
        assert advice in err
        assert WRONG not in err
    assert not guarded.ollama.chats


async def test_the_commands_take_it_from_the_environment(guarded: Stack, tmp_path: Path) -> None:
    """`ask`, `chat`, `models`, `record`; `--server` goes before DRIPLINE_SERVER."""
    path = tmp_path / "x.jsonl"
    environment = {"DRIPLINE_SERVER": guarded.url, "DRIPLINE_TOKEN": TOKEN}
    elsewhere = {**environment, "DRIPLINE_SERVER": "http://127.0.0.1:1"}
    ask, models, chat, record = await asyncio.gather(
        run("dripline", "--server", guarded.url, "ask", "Hi", environment=elsewhere),
        run("dripline", "models", environment=environment),
        run("dripline", "chat", stdin=b"Hi\n", environment=environment),
        run("dripline", "record", str(path), "--", "ask", "Hi", environment=environment),
    )
    assert ask == (0, f"{TOLD}\n", "")
    assert models[0] == 0
    assert "story:latest" in models[1]
    assert chat == (0, f"> Hi\n\n{TOLD}\n\n", "")
    assert record == (0, f"{TOLD}\n", "")
    assert TOKEN not in path.read_text()


@pytest.mark.parametrize("token", ["two\nlines", "end\n", " led", "grün", "\0", "a\x7f"])
async def test_what_cannot_be_a_header(token: str) -> None:
    """A clear error before anything is sent, which does not tell it."""
    with pytest.raises(RequestError, match=r"DRIPLINE_TOKEN.*printable ASCII") as refused:
        ChatClient(token=token)
    assert token not in str(refused.value)


async def test_a_command_with_what_cannot_be_a_header() -> None:
    """The same as a sentence, and the exit code for wrong use."""
    code, out, err = await run("dripline", "ask", "Hi", environment={"DRIPLINE_TOKEN": "grün"})
    assert (code, out) == (2, "")
    assert err.startswith("dripline: the token (DRIPLINE_TOKEN) cannot be sent")


@pytest.mark.parametrize(
    "said",
    [answer(302, Location="/models"), Say(b"SSH-2.0-x\r\n\r\n"), Say(b"", "RST"), answer(500)],
    ids=["redirects for ever", "no HTTP", "reset", "500"],
)
async def test_a_server_that_is_none(said: Say) -> None:
    """No exception in the chain has it, not even in what only a debugger shows."""
    async with ScriptedServer(said) as server, ChatClient(server.url, TOKEN) as client:
        with pytest.raises(DriplineError) as raised:
            await client.models()
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}".encode()
    error: BaseException | None = raised.value
    while error:
        assert TOKEN not in repr(error)
        assert TOKEN not in repr(error.args)
        error = error.__cause__ or error.__context__


async def test_another_server_does_not_get_it() -> None:
    """A redirect to elsewhere goes without the token."""
    async with (
        ScriptedServer(answer(200, b'{"models": []}')) as elsewhere,
        ScriptedServer(answer(302, Location=f"{elsewhere.url}/models")) as server,
        ChatClient(server.url, TOKEN) as client,
    ):
        await client.models()
    assert "authorization" not in elsewhere.asked[0].headers


def test_settings() -> None:
    """An empty variable counts as not set; the token is in no repr."""
    assert load({"DRIPLINE_SERVER": "", "DRIPLINE_TOKEN": ""}) == ClientSettings()
    settings = load({"DRIPLINE_SERVER": "http://box", "DRIPLINE_TOKEN": TOKEN})
    assert settings == ClientSettings("http://box", TOKEN)
    assert TOKEN not in repr(settings)
