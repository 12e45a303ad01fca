"""A tool in a thread may outlive the event loop that called it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from dripline.events import ToolCall
from dripline.tool import Tool
from dripline.tool_runner import ToolRunner


class ClosingLoop(asyncio.SelectorEventLoop):
    """Seen by other threads, it is closed between their looking and their calling."""

    def is_closed(self) -> bool:
        return threading.current_thread() is threading.main_thread() and super().is_closed()


def test_a_tool_that_returns_as_the_loop_is_closed() -> None:
    """Nobody waits for it any more: its thread ends without a fault."""
    release = threading.Event()
    threads = []

    def wait() -> None:
        """Wait for the loop's end."""
        threads.append(threading.current_thread())
        release.wait()

    async def give_up() -> None:
        runner = ToolRunner(timeout=60, max_result=100)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await runner.call(Tool(wait), ToolCall("1", "wait", {}))

    loop = ClosingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(give_up())
    release.set()
    (thread,) = threads
    thread.join()
