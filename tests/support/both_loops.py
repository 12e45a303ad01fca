"""Tests that run under asyncio's event loop and under the server's, uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
except ImportError:  # on Windows
    pass

on_both_loops = pytest.mark.parametrize("loop", LOOPS)


def run_on(loop: str, main: Coroutine[Any, Any, None]) -> None:
    """Run a test's body in a loop of this kind."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main)
