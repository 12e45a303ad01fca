"""`dripline ask` on a real terminal: what a model says cannot drive it."""

from __future__ import annotations

import asyncio
import os

import pytest

from dripline.testing import Fault, Reply, Script
from tests.support.processes import BIN, run
from tests.support.stack import stack

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\x7f ok"


async def on_terminal(*arguments: str) -> str:
    """Run a command on a terminal of its own, and return all that it wrote there."""
    terminal, its_end = os.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            BIN / "dripline",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=its_end,
            stderr=its_end,
        )
        await process.wait()
        os.set_blocking(terminal, False)
        return os.read(terminal, 65536).decode()
    finally:
        os.close(terminal)
        os.close(its_end)


@pytest.mark.parametrize("flag", ["--thinking", "--json"])
async def test_a_terminal_is_not_driven(flag: str) -> None:
    """Not by the answer, not by the thinking, not by an event's JSON."""
    async with stack(Script(Reply([HOSTILE], thinking=[HOSTILE]))) as s:
        written = await on_terminal("--server", s.url, "ask", flag, "Hi")
    assert written.count(" ok") == 2
    assert not {"\x1b", "\x9b", "\x7f"} & set(written)


async def test_line_ends_between_two_tokens() -> None:
    """CR and LF are one line end, though they come apart; a CR without LF is seen."""
    reply = Reply(["one\r", "\ntwo\r", "three\r"], thinking=["deep\r", "\nthought"])
    async with stack(Script(reply)) as s:
        written = await on_terminal("--server", s.url, "ask", "--thinking", "Hi")
    assert written == "deep\r\nthoughtone\r\ntwo␍three␍\r\n"


async def test_an_error_does_not_drive_it() -> None:
    """Ollama's words come through in the message."""
    async with stack(Script(["a"], fault=Fault.error(HOSTILE, at_token=1))) as s:
        written = await on_terminal("--server", s.url, "ask", "Hi")
    assert "␛[2J" in written
    assert not {"\x1b", "\x9b", "\x7f"} & set(written)


async def test_a_pipe_gets_what_the_model_said() -> None:
    """Byte for byte."""
    async with stack(Script(Reply([HOSTILE]))) as s:
        assert await run("dripline", "--server", s.url, "ask", "Hi") == (0, f"{HOSTILE}\n", "")
