"""The `dripline` command, as a real process."""

from __future__ import annotations

import json
import os
import signal
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI

from dripline.testing import Ending, Fault, Pace, Reply, Script
from dripline_server.app import serve
from dripline_server.settings import Settings
from tests.support.odd_ollama import OddOllama, lines
from tests.support.processes import BIN, command, run, run_python
from tests.support.stack import stack


async def test_ask_prints_the_answer() -> None:
    """The text and nothing else, with a line end of its own."""
    async with stack(Script(Reply(["Grüezi", " mitenand"], thinking="Hmm"))) as s:
        code, out, err = await run("dripline", "--server", s.url, "ask", "Hi")
    assert (code, out, err) == (0, "Grüezi mitenand\n", "")


async def test_the_server_may_be_named_after_the_command() -> None:
    """It goes before what is named in front of it."""
    async with stack(Script("Hi")) as s:
        for arguments in (["ask", "Hi"], ["models", "--json"], ["chat"]):
            code, out, err = await run(
                *("dripline", "--server", "http://127.0.0.1:1", *arguments, "--server", s.url),
                stdin=b"Hi\n",
            )
            assert (code, err) == (0, "")
            assert out


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


async def test_ask_says_that_it_waits_for_what_is_piped_in() -> None:
    """An open pipe without a word does not hang silently; once it ends, the answer comes."""
    async with (
        stack(Script("Blue.")) as s,
        command("dripline", "--server", s.url, "ask", "Why?", stdin=PIPE) as process,
    ):
        assert process.stderr
        assert b"--no-stdin" in await process.stderr.readline()
        out, err = await process.communicate(b"notes")
    assert (process.returncode, out, err) == (0, b"Blue.\n", b"")


@pytest.mark.parametrize("flag", ["-n", "--no-stdin"])
async def test_ask_leaves_standard_input_alone(flag: str) -> None:
    """In a loop each question is one line, and an open pipe is not waited for."""
    async with stack(Script("Blue.")) as s:
        loop = f'while read -r line; do "$0" --server {s.url} ask {flag} "$line"; done'
        code, out, err = await run("/bin/sh", "-c", loop, str(BIN / "dripline"), stdin=b"a\nb\n")
        assert (code, out, err) == (0, "Blue.\nBlue.\n", "")
        bodies: Any = [chat.body for chat in s.ollama.chats]
        assert [body["messages"][0]["content"] for body in bodies] == ["a", "b"]
        arguments = ("--server", s.url, "ask", flag, "c")
        async with command("dripline", *arguments, stdin=PIPE) as process:
            assert await process.wait() == 0


async def test_ask_says_that_the_answer_was_cut_off() -> None:
    """One that ended at its limit looks whole."""
    async with stack(Script(Reply("Blue.", done_reason="length"))) as s:
        code, out, err = await run("dripline", "--server", s.url, "ask", "Why?")
    assert (code, out) == (0, "Blue.\n")
    assert "cut off" in err


async def test_ask_says_that_the_prompt_was_cut() -> None:
    """Ollama drops what does not fit into the context, without a word."""
    said = lines({"content": "Blue."}, done={"prompt_eval_count": 256})
    async with (
        OddOllama(said) as ollama,
        serve(Settings(port=0, ollama=ollama.url, model="m")) as server,
    ):
        code, out, err = await run("dripline", "--server", server.url, "ask", "-n", "word " * 500)
    assert (code, out) == (0, "Blue.\n")
    assert "num_ctx" in err


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


NOT_UTF_8 = os.fsdecode(b"a\xff")
# With what the shell does around the command, "$@".
ODD = {
    "a prompt that is no Unicode": ('"$@" ask "$BAD"', 0, ""),
    "such a model": ('"$@" ask Hi --model "$BAD"', 1, "invalid model name"),
    "no address": ('"$@" --server foo ask Hi', 2, "not an HTTP address, such as http://"),
    "a password in what is no address": ('"$@" --server http://u:p@h:x ask Hi', 2, "REDACTED@h:x"),
    "endless input": ('"$@" ask Hi < /dev/zero', 2, "the piped input cannot be read: more than"),
    "a full disk": ('"$@" ask Hi > /dev/full', 4, "No space left on device"),
    "a full disk, at the end": ('"$@" models > /dev/full', 4, "No space left on device"),
    "no output": ('"$@" ask Hi >&-', 0, ""),
    "nothing at all": ('"$@" ask Hi <&- >&- 2>&-', 0, ""),
    "a chat without input": ('"$@" chat <&-', 0, ""),
    "a chat on a full disk": ('echo Hi | "$@" chat > /dev/full', 4, "No space left on device"),
}


@pytest.mark.parametrize(("line", "code", "words"), ODD.values(), ids=ODD)
async def test_odd_uses(line: str, code: int, words: str) -> None:
    """One sentence and an exit code, never a traceback."""
    async with stack(Script("Grüezi")) as s:
        shell = ("-c", line, "sh", str(BIN / "dripline"), "--server", s.url)
        found, _, err = await run("/bin/sh", *shell, environment={"BAD": NOT_UTF_8})
    assert (found, words in err) == (code, True), err
    assert err.count("\n") == (1 if words else 0)


async def test_an_output_that_has_not_every_character() -> None:
    """The others are escaped, as Python does it on standard error."""
    async with stack(Script("Grüezi 東京")) as s:
        latin = {"PYTHONIOENCODING": "latin-1:strict", "LC_ALL": "C"}
        async with command("dripline", "--server", s.url, "ask", "Hi", environment=latin) as one:
            out, err = await one.communicate()
    assert (out, err) == ("Grüezi \\u6771\\u4eac\n".encode("latin-1"), b"")


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


async def test_chat_through_pipes() -> None:
    """Plain and complete: questions and answers in turn, several lines in one message, commands."""
    stdin = b'Hi\n"""Two\nlines"""\n/set temperature 0.5\nChange color to red\n'
    script = Script(Reply("**Bold** \x1b[1m東京", thinking="Hmm"))
    async with stack(script) as s:
        code, out, err = await run("dripline", "--server", s.url, "chat", stdin=stdin)
        body = s.ollama.chats[-1].body
    answer = "**Bold** \x1b[1m東京\n\n"
    questions = ("> Hi\n\n", "> Two\n> lines\n\n", "> Change color to red\n\n")
    first, second, third = questions
    assert out == f"{first}{answer}{second}{answer}{third}the colour is now #FF0000\n{answer}"
    assert (code, err) == (0, "temperature is 0.5\n")
    assert isinstance(body, dict)
    assert body["options"] == {"temperature": 0.5}


async def test_chat_sends_pictures(tmp_path: Path) -> None:
    """With the next message, and that alone; to models that can see."""
    picture = tmp_path / "a picture.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    script = Script("I see", capabilities=["completion", "vision"])
    async with stack(script) as s:
        stdin = f"/image {picture}\nHi\nAnd now?\n".encode()
        code, _, _ = await run("dripline", "--server", s.url, "chat", stdin=stdin)
        bodies: list[Any] = [chat.body for chat in s.ollama.chats]
    assert code == 0
    assert bodies[0]["messages"] == [
        {"role": "user", "content": "Hi", "images": ["iVBORw0KGgo="]},
    ]
    assert "images" not in bodies[1]["messages"][-1]


CHAT_FAILURES = {
    "a wrong command": (Script("a"), "/nonsense", 2, "there is no /nonsense"),
    "nobody's folder": (Script("a"), "/load ~no-such-user/a", 2, "/load: Could not determine home"),
    "no name of a file": (Script("a"), "/load a\0b", 2, "/load: a\u2400b: embedded null byte"),
    "an endless file": (
        Script("a"),
        "/load /dev/zero",
        2,
        "/load: /dev/zero: [Errno 27] more than",
    ),
    "the model fails": (Script(["a"], fault=Fault.cut(at_token=1)), "Hi", 1, "upstream_cut"),
}


@pytest.mark.parametrize(
    ("script", "line", "code", "words"), CHAT_FAILURES.values(), ids=CHAT_FAILURES
)
async def test_a_piped_chat_ends_with_its_first_failure(
    script: Script, line: str, code: int, words: str
) -> None:
    """What follows builds on what failed; the exit codes are those of `ask`."""
    async with stack(script) as s:
        arguments = ("--server", s.url, "chat")
        found, out, err = await run("dripline", *arguments, stdin=f"{line}\nNext\n".encode())
    assert found == code
    assert words in err
    assert "Next" not in out


async def test_chat_without_its_extra() -> None:
    """It says what to install."""
    code, _, err = await run_python(
        "import sys; sys.modules['rich'] = None\n"
        "from dripline.cli.main import main; sys.exit(main(['chat']))"
    )
    assert (code, err) == (2, "dripline chat needs rich: pip install 'dripline[terminal]'\n")


async def test_ask_does_not_wait_for_what_chat_needs() -> None:
    """A script's start is not slowed by it."""
    async with stack(Script("Hi")) as s:
        code, out, _ = await run_python(
            "import sys; from dripline.cli.main import main\n"
            f"main(['--server', {s.url!r}, 'ask', 'Hi'])\n"
            "print({'rich', 'prompt_toolkit', 'markdown_it'} & set(sys.modules))"
        )
    assert (code, out) == (0, "Hi\nset()\n")


async def test_a_chat_of_any_program_is_listed_watched_and_stopped() -> None:
    """An OpenAI program asks; the terminal lists the run, reads it from its start, and stops it."""
    script = Script(["One", " two"], fault=Fault.stall(at_token=2))
    async with (
        stack(script) as s,
        AsyncOpenAI(base_url=f"{s.url}/v1", api_key="x") as program,
    ):
        told = await run("dripline", "--server", s.url, "attach")
        assert told == (2, "", "dripline attach: no chat is running\n")
        create = program.chat.completions.create
        stream = await create(
            model="story", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        code, out, _ = await run("dripline", "runs", "--json", "--server", s.url)
        (listed,) = map(json.loads, out.splitlines())
        assert (code, listed["model"], listed["status"]) == (0, "story", "running")
        assert listed["run_id"] == stream.response.headers["X-Run-Id"]
        async with command("dripline", "--server", s.url, "attach") as watching:
            assert watching.stdout
            assert await watching.stdout.readexactly(7) == b"One two"
            stopped = await run("dripline", "--server", s.url, "stop", listed["run_id"])
            assert stopped == (0, "", "")
            assert await watching.wait() == 1
        with pytest.raises(APIError, match="stopped"):
            async for _ in stream:
                pass
        code, out, _ = await run("dripline", "runs", "--server", s.url)
        assert out.split()[:2] == [listed["run_id"], "cancelled"]


async def test_a_chat_is_taken_over_from_a_program_that_leaves() -> None:
    """The answer goes on for the terminal, to its end, when its program has gone."""
    script = Script(["One", " two", " three"], pace=Pace(tokens_per_second=2))
    async with (
        stack(script) as s,
        AsyncOpenAI(base_url=f"{s.url}/v1", api_key="x") as program,
    ):
        create = program.chat.completions.create
        stream = await create(
            model="story", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        async with command("dripline", "--server", s.url, "attach") as watching:
            assert watching.stdout
            assert await watching.stdout.readexactly(3) == b"One"
            await stream.close()
            assert (await watching.communicate())[0] == b" two three\n"
            assert await watching.wait() == 0
