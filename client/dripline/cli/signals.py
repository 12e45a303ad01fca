"""Make termination signals unwind the program, so that leaving the stream stops the run."""

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
# Seconds. When a window closes, both the terminal and the shell send a signal; the second one, if
# it comes this soon, is only an echo.
_ECHO = 1.0


def unwind_on_signals() -> None:
    """Make SIGTERM and SIGHUP unwind the program, as Ctrl-C does; the exit code is 128 + number.

    A signal that is ignored, for example because of nohup, stays ignored.
    """
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run an event loop like `asyncio.run`; SIGTERM and SIGHUP cancel `main`.

    Raising an exception in the signal handler would be simpler. But it could hit the code that
    closes a connection, and a task that waits for that would hang. So the first signal cancels. A
    second signal that is not an echo does raise, to end a cleanup that hangs.

    Raises:
        SystemExit: A signal arrived.
        KeyboardInterrupt: The user pressed Ctrl-C; asyncio itself cancels `main` then.
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
        main.close()  # if Ctrl-C came before it started, it would warn "never awaited"


def _exit(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
