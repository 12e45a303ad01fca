"""The signals that end a program, in a process of its own each; Ctrl-C is asyncio's."""

from __future__ import annotations

import pytest

from tests.support.processes import run_python

PROGRAM = """
import asyncio, os, signal
from dripline.cli import signals

async def main():
    try:
        os.kill(os.getpid(), signal.{first})
        await asyncio.sleep({patience})
        print("not cancelled")
    finally:
        print("unwinding")
        os.kill(os.getpid(), signal.{second})
        await asyncio.sleep(0)
        print("unwound")

signals._ECHO = {echo}
{before}
signals.unwind_on_signals()
signals.run_loop(main())
"""
FOR_EVER, AT_ONCE = 1000, 0
UNWOUND = ["unwinding", "unwound"]
IGNORED = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
CASES = {
    "SIGTERM": ("SIGTERM", "SIGCONT", FOR_EVER, 143, UNWOUND),
    "SIGHUP": ("SIGHUP", "SIGCONT", FOR_EVER, 129, UNWOUND),
    "an echo": ("SIGHUP", "SIGHUP", FOR_EVER, 129, UNWOUND),
    "the first counts": ("SIGHUP", "SIGTERM", FOR_EVER, 129, UNWOUND),
    "no echo": ("SIGHUP", "SIGTERM", AT_ONCE, 143, UNWOUND[:1]),
}


@pytest.mark.parametrize(("first", "second", "echo", "code", "said"), CASES.values(), ids=CASES)
async def test_a_signal_unwinds(
    first: str, second: str, echo: int, code: int, said: list[str]
) -> None:
    """The work of a loop is cancelled, and what it does then is left in peace by an echo."""
    program = PROGRAM.format(first=first, second=second, echo=echo, patience=FOR_EVER, before="")
    assert (await run_python(program))[:2] == (code, "".join(f"{line}\n" for line in said))


async def test_an_ignored_signal_stays_so() -> None:
    """As with nohup."""
    program = PROGRAM.format(
        first="SIGHUP", second="SIGHUP", echo=AT_ONCE, patience=0, before=IGNORED
    )
    assert await run_python(program) == (0, "not cancelled\nunwinding\nunwound\n", "")
