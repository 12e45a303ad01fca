"""`dripline chat` on a real terminal, against the real server and the fake Ollama."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dripline.testing import (
    Ending,
    Fault,
    Pace,
    Phase,
    Script,
)
from tests.support.cutting_proxy import CuttingProxy
from tests.support.gated_clock import GatedClock
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import several
from tests.support.stack import stack
from tests.support.terminal_chat import asked, chat, chat_at

NUMBERED = re.compile(r"\bn(\d+)\b")


def long_answer() -> str:
    """Every kind of block, each higher than the screen; what counts is numbered, n0, n1, ..."""
    n = iter(range(1000))
    rows = [f"| n{next(n)} | 東京 {'x' * (i % 7)} |" for i in range(14)]
    return "\n".join(
        [
            "# Title 東京",
            "",
            " ".join(f"word n{next(n)} 👋" for _ in range(30)),
            "",
            *(f"{i}. item n{next(n)} **bold**\n   - inner n{next(n)}" for i in range(1, 13)),
            "",
            "```python",
            *(f"def f{i}(): return 'n{next(n)}'  # 注" for i in range(40)),
            "```",
            "",
            "| a | b |",
            "|---|---|",
            *rows,
            "",
            "> quote " + " ".join(f"n{next(n)}" for _ in range(20)),
            "",
            "<b>n" + str(next(n)) + "</b> and the last word.",
        ]
    )


LONG = long_answer()
HELD = Pace(first_token=1, tokens_per_second=1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_markdown_grows_and_nothing_comes_twice() -> None:
    """At any moment each piece is there once at most, in its order; at the end all are."""
    clock = GatedClock()
    async with stack(Script(LONG, HELD), clock=clock) as s, chat(s) as t:
        await t.type("Hi")

        def done(text: str) -> bool:
            clock.let_go(25)
            found = [int(number) for number in NUMBERED.findall(text)]
            assert len(found) == len(set(found)), text
            return "tokens/s" in text

        text = await t.wait(done)
    found = {int(number) for number in NUMBERED.findall(text)}
    assert found == {int(number) for number in NUMBERED.findall(LONG)}
    assert "<b>n" in text
    assert "**" not in text
    assert text.count("Ctrl-C stops") == 0


async def test_a_window_may_change_its_size() -> None:
    """Narrower, lower, wider: nothing is lost, and nothing is there twice."""
    clock = GatedClock()
    async with stack(Script(LONG, HELD), clock=clock) as s, chat(s) as t:
        await t.type("Hi")
        for number, size in ((5, (50, 20)), (20, (100, 14)), (60, (64, 30)), (80, (80, 24))):

            def come(text: str, number: int = number) -> bool:
                clock.let_go(10)
                return f"n{number}" in text

            await t.wait(come)
            await t.resize(*size)
        clock.let_go(len(LONG))
        text = await t.wait("tokens/s")
    found = [int(number) for number in NUMBERED.findall(text)]
    assert sorted(found) == sorted({int(number) for number in NUMBERED.findall(LONG)})
    assert text.count("Ctrl-C stops") == 0


@pytest.mark.parametrize("exported", [{}, {"COLUMNS": "80", "LINES": "24"}], ids=str)
async def test_a_window_may_become_much_smaller(exported: dict[str, str]) -> None:
    """A quarter of a full screen is left: what was live is taken back all the same."""
    words = [f"n{i} 東京 " for i in range(150)]
    script, clock = Script(words, HELD, fault=Fault.stall(at_token=140)), GatedClock()
    async with stack(script, clock=clock) as s, chat(s, environment=exported) as t:
        for count in (1, 2):
            await t.type("/help")
            await t.wait(lambda text, count=count: text.count("press the button") == count)  # type: ignore[misc]
        await t.type("Hi")
        clock.let_go(101)
        await t.wait("n100")
        await t.resize(40, 12)
        clock.let_go(40)
        await t.wait("n139")  # drawn for the new size
        await t.press("C-c")
        text = await t.wait("stopped")
    assert NUMBERED.findall(text) == [str(i) for i in range(140)]
    assert "Ctrl-C stops" not in text


@pytest.mark.parametrize("loading", [False, True], ids=["answering", "loading"])
async def test_ctrl_c_stops_the_answer_and_then_the_chat(loading: bool) -> None:
    """The model really stops; the chat goes on with what had come; a second Ctrl-C leaves."""
    pace = Pace(cold_load=1000) if loading else Pace()
    script = Script(["Only this"], pace, fault=Fault.stall(at_token=1))
    async with stack(script, grace=10_000, loading_after=0.1) as s, chat(s) as t:
        await t.type("Hi")
        await t.wait("loading story" if loading else "Only this")
        request = await s.ollama.wait_for_request()
        await t.press("C-c")
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        await t.wait("stopped · ")
        await t.wait(lambda text: text.rstrip().endswith(">\nstory"))
        await t.press("C-c")
        assert await t.exit_code() == 0
        text = await t.text()
    assert ("Only this" in text) is not loading
    assert "Traceback" not in text


async def test_a_second_ctrl_c_leaves_at_once() -> None:
    """Though the server does not answer any more."""
    script = Script(["Only this"], fault=Fault.stall(at_token=1))
    async with stack(script) as s, CuttingProxy(s.url) as proxy, chat_at(proxy.url) as t:
        await t.type("Hi")
        await t.wait("Only this")
        await proxy.refuse()
        await t.wait("connection lost, resuming")
        await t.press("C-c", "C-c")
        assert await t.exit_code() == 0


async def test_messages_of_several_lines_and_the_history(tmp_path: Path) -> None:
    """Pasted lines and Alt-Enter do not send; what was typed comes back in the next chat."""
    async with stack(Script("Yes.")) as s:
        async with chat(s, home=tmp_path) as t:
            await t.paste("one\ntwo\n")
            await t.press("M-Enter")
            await t.type("three", "C-j")
            await t.type("four")
            await t.wait("tokens")
            assert asked(s)[-1] == "one\ntwo\n\nthree\nfour"
            await t.press("C-d")
            assert await t.exit_code() == 0
        assert (tmp_path / "state/dripline/history").stat().st_mode & 0o777 == 0o600
        async with chat(s, home=tmp_path) as t:
            await t.press("Up")
            await t.wait("four")


async def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """They are sent, and kept in the history, as a question mark each."""
    async with stack(Script("Yes.")) as s:
        async with chat(s, home=tmp_path) as t:
            await t.type_bytes("Gr\xfc\xdfe\r".encode("latin-1"))
            await t.wait("in all")
        assert asked(s) == ["Gr??e"]
        async with chat(s, home=tmp_path) as t:
            await t.press("Up")
            await t.wait("> Gr??e")


async def test_commands() -> None:
    """Completion, what a request gets, wrong names and values, and taking back."""
    scripts = {
        "alpha": Script("From alpha."),
        "beta": Script(
            lambda request: f"{len(request.messages)} heard.", capabilities=["completion"]
        ),
    }
    async with stack(scripts) as s, chat(s, "--model", "alpha") as t:
        await t.type("/mod", "Tab")
        await t.wait("> /model")
        await t.type(" be", "Tab")
        await t.wait("> /model beta:latest")
        await t.press("Enter")
        await t.wait("beta:latest answers the next messages")
        for line, said in {
            "/temprature 1": "there is no /temprature",
            "/retyr": "did you mean /retry?",
            "/set temperature hot": "should be a number from 0 to 10",
            "/set temprature 1": "temprature: there is no such option; did you mean temperature?",
            "/image setup.py": "beta:latest cannot read images",
            "/model betta": "did you mean beta:latest?",
            "/set temperature 0.2": "temperature is 0.2",
            "/set think off": "think is off",
            "/system Be brief": "the system prompt is set",
            "One": "2 heard.",
            "Two": "4 heard.",
            "/undo": "taken back: Two",
            "Three": "4 heard.",
            "/help": "/copy [code]",
        }.items():
            await t.type(line)
            await t.wait(said)
        body: Any = s.ollama.chats[0].body
        assert (body["options"], body["think"]) == ({"temperature": 0.2}, False)
        assert body["messages"][0] == {"role": "system", "content": "Be brief"}
        await t.type("/edit")
        await t.wait(lambda text: text.count("> Three") == 2)
        await t.type(" and more")
        await t.wait(lambda text: text.count("4 heard.") == 3)
        assert asked(s)[-1] == "Three and more"
        await t.type("/save talk.json")
        await t.wait("saved to talk.json")
        await t.type("/new")
        await t.wait("a new conversation")
        await t.type("/load talk.json")
        await t.wait("4 messages; beta:latest answers")
        await t.type("/retry")
        await t.wait(lambda text: text.count("4 heard.") == 5)


async def test_tab_completes_however_fast_one_types() -> None:
    """Right after a letter and right before one, as when all was typed while an answer came."""
    script = Script(["Only this"], fault=Fault.stall(at_token=1))
    async with stack({"alpha": script, "beta": script}) as s, chat(s, "--model", "alpha") as t:
        await t.type("Hi")
        await t.wait("Only this")
        await t.type("/mod\t be\t")
        await t.press("C-c")
        await t.wait("beta:latest answers the next messages")


async def test_a_drop_is_one_quiet_line() -> None:
    """The answer is whole, and there once."""
    words, clock = [f"n{i} " for i in range(100)], GatedClock()
    async with (
        stack(Script(words, HELD), clock=clock) as s,
        CuttingProxy(s.url) as proxy,
        chat_at(proxy.url) as t,
    ):
        await t.type("Hi")
        clock.let_go(21)
        await t.wait("n20")
        await proxy.refuse()
        await t.wait("connection lost, resuming")
        await proxy.listen()
        clock.let_go(80)
        shown = await t.wait("resumed once")
    assert [int(number) for number in NUMBERED.findall(shown)] == list(range(100))
    assert "connection lost" not in shown


async def test_a_server_that_was_restarted() -> None:
    """What had come stays, a line says what to do, and the chat goes on with the new server."""
    script = Script(["Only this"], fault=Fault.stall(at_token=1))
    async with (
        stack(script) as s,
        stack(Script("All of it.")) as new,
        CuttingProxy(s.url) as proxy,
        chat_at(proxy.url) as t,
    ):
        await t.type("Hi")
        await t.wait("Only this")
        request = await s.ollama.wait_for_request()
        await request.wait_phase(Phase.STALLED)
        proxy.targets = (new.url,)
        await proxy.refuse()
        await proxy.listen()
        await t.wait("/retry asks again")
        await t.type("/retry")
        await t.wait("All of it.")


async def test_a_server_is_restarted_under_an_answer(redis: RedisServer) -> None:
    """With Redis, any server goes on with the answer: it is whole, and the drops are one line."""
    script, clock = Script([f"n{i} " for i in range(100)], HELD), GatedClock()
    async with (
        several(script, redis, clock=clock) as s,
        CuttingProxy(s.servers[0].url) as proxy,
        chat_at(proxy.url) as t,
    ):
        await t.type("Hi")
        clock.let_go(11)
        await t.wait("n10")
        proxy.targets = (s.servers[1].url,)
        await proxy.refuse()
        await proxy.listen()
        clock.let_go(30)
        await t.wait("n40")
        proxy.targets = (s.servers[0].url,)
        s.servers[1].signal(signal.SIGKILL)
        clock.let_go(60)
        shown = await t.wait(lambda text: re.search(r"resumed 2\s+times", text) is not None)
    assert [int(number) for number in NUMBERED.findall(shown)] == list(range(100))
    assert "connection lost" not in shown


async def test_copy_goes_through_the_terminal() -> None:
    """Where no program does it: the last answer's Markdown, or its last code."""
    async with stack(Script("Say:\n\n```\nhi 東京\n```")) as s, chat(s) as t:
        await t.type("Hi")
        await t.wait("tokens/s")
        await t.type("/copy code")
        await t.wait("through the terminal")
        assert await t.run("show-buffer") == "hi 東京\n"


async def test_typing_ahead() -> None:
    """What is typed while an answer comes waits for the prompt, and does not break the picture."""
    script, clock = Script([*["word "] * 30, "end."], HELD), GatedClock()
    async with stack(script, clock=clock) as s, chat(s) as t:
        await t.type("First")
        clock.let_go(5)
        await t.wait("word word")
        await t.type("Second")
        clock.let_go(59)
        text = await t.wait(lambda text: text.count("tokens/s") == 2)
        assert "> Second" in text
        assert text.count("word") == 60
        assert asked(s) == ["First", "Second"]
