"""The `dripline` command, as a real process."""

from __future__ import annotations

import json
import signal

import pytest

from dripline_server.fake_ollama import Ending, Fault, Pace, Reply, Script
from tests.support.processes import command, run
from tests.support.stack import stack


async def test_ask_prints_the_answer() -> None:
    """The text and nothing else, with a line end of its own."""
    async with stack(Script(Reply(["Grüezi", " mitenand"], thinking="Hmm"))) as s:
        code, out, err = await run("dripline", "--server", s.url, "ask", "Hi")
    assert (code, out, err) == (0, "Grüezi mitenand\n", "")


async def test_ask_prints_tokens_as_they_come() -> None:
    """The first token is there while the model is silent; Ctrl-C then stops the generation."""
    async with (
        stack(Script(["First"], fault=Fault.stall(at_token=1))) as s,
        command("dripline", "--server", s.url, "ask", "Hi") as process,
    ):
        assert process.stdout
        assert await process.stdout.readexactly(5) == b"First"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_ask_reads_what_is_piped_in() -> None:
    """`cat notes.txt | dripline ask "Summarise"`: the prompt, then the notes."""
    async with stack(Script()) as s:
        arguments = ("--server", s.url, "ask", "Summarise", "--system", "Be brief")
        code, _, _ = await run("dripline", *arguments, stdin="Zürich \n".encode())
        body = s.ollama.chats[-1].body
    assert code == 0
    assert isinstance(body, dict)
    assert body["messages"] == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Summarise\n\nZürich"},
    ]


async def test_ask_json_prints_one_event_a_line() -> None:
    """As on the wire."""
    async with stack({"one": Script("Hi")}) as s:
        arguments = ("--server", s.url, "ask", "--json", "--model", "one", "Hello")
        code, out, _ = await run("dripline", *arguments)
    events = [json.loads(text) for text in out.splitlines()]
    assert code == 0
    assert [event["type"] for event in events] == ["start", "text_message", "end"]
    assert events[0]["data"]["model"] == "one"


async def test_ask_prints_thinking_where_asked() -> None:
    """To standard error, so that a pipe gets the answer alone."""
    async with stack(Script(Reply("Yes", thinking="Hmm"))) as s:
        code, out, err = await run("dripline", "--server", s.url, "ask", "--thinking", "Hi")
    assert (code, out) == (0, "Yes\n")
    assert "Hmm" in err


FAILURES = {
    "the model fails": (Script(["a"], fault=Fault.cut(at_token=1)), ["Hi"], 1, "upstream_cut"),
    "no such model": (Script(), ["Hi", "--model", "none"], 1, "ollama pull none"),
    "nothing asked": (Script(), [], 2, "say what to ask"),
    "an unknown flag": (Script(), ["Hi", "--loud"], 2, "--loud"),
}


@pytest.mark.parametrize(("script", "arguments", "code", "words"), FAILURES.values(), ids=FAILURES)
async def test_ask_fails_with_a_code(
    script: Script, arguments: list[str], code: int, words: str
) -> None:
    """Scripts can tell the ways of failing apart; people are told what to do."""
    async with stack(script) as s:
        found, _, err = await run("dripline", "--server", s.url, "ask", *arguments)
    assert found == code
    assert words in err
    assert "Traceback" not in err


async def test_no_server() -> None:
    """Exit code 3, and a sentence."""
    code, out, err = await run("dripline", "--server", "http://127.0.0.1:1", "ask", "Hi")
    assert (code, out) == (3, "")
    assert "no server answers at http://127.0.0.1:1" in err


async def test_a_closed_pipe_stops_the_generation() -> None:
    """`dripline ask ... | head -1` ends quietly, and the model with it."""
    script = Script("word " * 100_000, pace=Pace(tokens_per_second=500))
    async with (
        stack(script) as s,
        command("dripline", "--server", s.url, "ask", "Hi") as process,
    ):
        assert process.stdout
        assert process.stderr
        await process.stdout.readexactly(4)
        process.stdout._transport.close()  # type: ignore[attr-defined]
        assert await process.stderr.read() == b""
        assert await process.wait() == 0
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_models_lists_them() -> None:
    """A table for people, JSON for scripts."""
    async with stack({"one": Script(), "two": Script(Reply("x", thinking="y"))}) as s:
        code, out, _ = await run("dripline", "--server", s.url, "models")
        assert code == 0
        assert "one:latest" in out
        assert "completion, thinking" in out
        code, out, _ = await run("dripline", "--server", s.url, "models", "--json")
        assert {json.loads(text)["name"] for text in out.splitlines()} == {
            "one:latest",
            "two:latest",
        }
