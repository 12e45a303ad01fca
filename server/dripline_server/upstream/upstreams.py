"""Chooses who answers: Ollama, or the built-in fake until Ollama runs."""

from __future__ import annotations

import asyncio
import logging

from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama import Ollama

logger = logging.getLogger(__name__)

ANSWER_TIMEOUT = 3.0
# Seconds between two attempts to reach Ollama while the fake stands in.
LOOK_EVERY = 2.0
DEMO_MODEL = "demo"


class Upstreams:
    """The upstream that new runs use.

    Args:
        ollama: The Ollama that should answer.
        stand_in: The fake that answers until Ollama does; None without a fake.

    Attributes:
        current: The upstream that answers now.
        found: Set once Ollama has replaced the fake.
    """

    def __init__(self, ollama: Ollama, stand_in: Ollama | None = None) -> None:
        self.current = stand_in or ollama
        self.found = asyncio.Event()
        self._ollama = ollama

    @property
    def demo(self) -> str:
        """A sentence that says why the fake answers; "" if it does not."""
        if self.current is self._ollama:
            return ""
        return (
            f"No Ollama answers at {self._ollama.url}, so the built-in fake answers instead."
            " Start Ollama with `ollama serve`; dripline then uses it without a restart."
        )

    def default_model(self, named: str) -> str:
        """Return the model for requests that name none: `named`, or the fake's demo model."""
        return named or (DEMO_MODEL if self.demo else "")

    async def watch(self) -> None:
        """Wait until Ollama answers, then make it the current upstream. Safe to cancel."""
        while not await answers(self._ollama):  # noqa: ASYNC110 (another process: only polling can tell)
            await asyncio.sleep(LOOK_EVERY)
        self.current = self._ollama
        self.found.set()
        logger.info("Ollama answers at %s and replaces the built-in fake", self._ollama.url)


async def answers(upstream: Ollama) -> bool:
    """Return whether Ollama answers."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await upstream.version()
    except (UpstreamError, TimeoutError):
        return False
    return True
