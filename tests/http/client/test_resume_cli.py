"""The `dripline` command through drops and signals, as a real process."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dripline.testing import Ending, Fault, Pace, Phase, Script
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.processes import BIN, command, run
from tests.support.stack import stack


async def test_ask_goes_on_after_a_drop() -> None:
    """The output is whole, and nothing is said where nobody looks."""
    script = Script([f"{n} " for n in range(100)], pace=Pace(tokens_per_second=1000))
    async with stack(script) as s, CuttingProxy(s.url) as proxy:
        proxy.cuts += [Cut(1000), Cut(700)]
        code, out, err = await run("dripline", "--server", proxy.url, "ask", "Hi")
        assert len(proxy.done) == 2
    assert (code, out, err) == (0, "".join(f"{n} " for n in range(100)) + "\n", "")


async def test_a_person_is_told_of_a_drop() -> None:
    """One quiet line on a terminal."""
    async with stack(Script(["One", " two"])) as s, CuttingProxy(s.url) as proxy:
        proxy.cuts.append(Cut(500))
        terminal, its_end = os.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                BIN / "dripline",
                "--server",
                proxy.url,
                "ask",
                "Hi",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=its_end,
            )
            out, _ = await process.communicate()
            assert out == b"One two\n"
            os.set_blocking(terminal, False)
            assert os.read(terminal, 1000).count(b"reconnecting ...") == 1
        finally:
            os.close(terminal)
            os.close(its_end)


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
BY_SIGNAL = pytest.mark.parametrize(("number", "code"), SIGNALS.items(), ids=lambda one: str(one))
WORDS = pytest.mark.parametrize("words", [["ask", "Hi"], ["chat"]], ids=lambda words: words[0])
HALF_TOLD = Script(["First"], fault=Fault.stall(at_token=1))


@asynccontextmanager
async def half_told(name: str, *arguments: str) -> AsyncIterator[Process]:
    """A command that gets a line on its input too, and has printed the first token."""
    async with command(name, *arguments, stdin=PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"Hi\n")
        process.stdin.write_eof()
        await process.stdout.readuntil(b"First")
        yield process


async def assert_ends(process: Process, code: int) -> None:
    """It ends so, and quietly."""
    assert process.stderr
    assert await process.wait() == code
    assert b"Traceback" not in await process.stderr.read()


@WORDS
@BY_SIGNAL
async def test_a_signal_stops_the_model(
    number: signal.Signals, code: int, words: list[str]
) -> None:
    """At once, and not after the grace time for readers that may come back."""
    async with (
        stack(HALF_TOLD, grace=10_000) as s,
        half_told("dripline", "--server", s.url, *words) as process,
    ):
        request = await s.ollama.wait_for_request()
        await request.wait_phase(Phase.STALLED)
        process.send_signal(number)
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        await assert_ends(process, code)


# `dripline`, to which a signal comes while it closes its first connection.
STRUCK = """
import os, sys
from asyncio.selector_events import BaseSelectorEventLoop as Loop
from dripline.cli.main import main

remove = Loop._remove_reader

def struck(loop, fd):
    if sys._getframe(1).f_code.co_name == "_force_close":
        Loop._remove_reader = remove
        os.kill(os.getpid(), int(sys.argv[1]))
    return remove(loop, fd)

Loop._remove_reader = struck
sys.exit(main(sys.argv[2:]))
"""


@WORDS
@BY_SIGNAL
async def test_a_signal_may_come_at_any_moment(
    number: signal.Signals, code: int, words: list[str]
) -> None:
    """Also while a connection closes, whose end would never be told if it raised there."""
    async with (
        stack(HALF_TOLD) as s,
        CuttingProxy(s.url) as proxy,
        half_told(
            *("python", "-c", STRUCK, str(int(number)), "--server", proxy.url, *words)
        ) as process,
    ):
        await proxy.refuse()
        await assert_ends(process, code)


async def test_ask_says_what_became_of_the_run() -> None:
    """A server that was restarted: exit code 4, what had come, and a sentence."""
    async with (
        stack(HALF_TOLD) as s,
        stack(HALF_TOLD) as restarted,
        CuttingProxy(s.url) as proxy,
        command("dripline", "--server", proxy.url, "ask", "Hi") as process,
    ):
        assert process.stdout
        assert process.stderr
        assert await process.stdout.readexactly(5) == b"First"
        proxy.targets = (restarted.url,)
        await proxy.refuse()
        await proxy.listen()
        assert await process.wait() == 4
        assert b"server was restarted" in await process.stderr.read()
