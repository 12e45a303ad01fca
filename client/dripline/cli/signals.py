"""The signals that end a program: they unwind it, and that stops the run."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

# Windows has no SIGHUP.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Seconds. A window that closes says so twice: its terminal does, and its shell.
_ECHO = 1.0


def unwind_on_signals() -> None:
    """Have SIGTERM and SIGHUP unwind the program, as Ctrl-C does; its exit code is 128 + theirs.

    Those that are ignored, as with nohup, stay so.
    """
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run an event loop as `asyncio.run` does; the signals that unwind the program cancel `main`.

    An exception wherever the signal strikes could be in the midst of closing a connection, and
    whoever waits for its end then waits for ever. Of several signals the first one counts; a later
    one, no echo of it, is such an exception: it ends what is in the way of unwinding.

    Raises:
        SystemExit: A signal came.
        KeyboardInterrupt: Ctrl-C; asyncio treats that so by itself.
    """
    first: tuple[int, float] | None = None

    async def cancelled_by_signals() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task

        def cancel(number: int, frame: FrameType | None) -> None:
            nonlocal first
            if not first:
                first = number, time.monotonic()
                loop.call_soon_threadsafe(task.cancel)
            elif time.monotonic() - first[1] > _ECHO:
                _exit(number, frame)

        taken = [number for number in _ENDING if signal.getsignal(number) is _exit]
        try:
            for number in taken:
                signal.signal(number, cancel)
            return await main
        finally:
            for number in taken:
                signal.signal(number, _exit)

    try:
        return asyncio.run(cancelled_by_signals())
    except asyncio.CancelledError:
        if first:
            _exit(first[0], None)
        raise
    finally:
        main.close()  # should Ctrl-C have come before it began


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
