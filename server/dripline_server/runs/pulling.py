"""A run that gets a model: its progress is the answer."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from dripline.events import Status, Usage, to_json
from dripline_server.run_log import RunLog
from dripline_server.runs.run_request import RunRequest
from dripline_server.upstream.ollama import Ollama

# Seconds between two reports on a pull: an hour of it takes a megabyte of the log.
PAUSE = 0.5


class Pulling:
    """Gets a model, and tells how far that is: at each new phase, and every `PAUSE` seconds.

    Args:
        upstream: The Ollama that gets it.
        log: Receives the progress.

    Attributes:
        agent: What the `start` event names.
        reason: Why a completed run ended; there is nothing to say.
    """

    __slots__ = ("_began", "_log", "_now", "_upstream", "agent", "reason")

    def __init__(self, upstream: Ollama, log: RunLog) -> None:
        self._upstream = upstream
        self._log = log
        self._now = asyncio.get_running_loop().time
        self._began = self._now()
        self.agent = "ollama"
        self.reason = ""

    def usage(self, now: float) -> Usage:
        """Return the time up to `now`."""
        return Usage(total_time=now - self._began)

    def phases(self, request: RunRequest) -> None:
        """There is no model yet to wait for."""
        del request

    async def run(self, request: RunRequest) -> None:
        """Get the model. Cancelling closes Ollama's socket; Ollama keeps what has arrived.

        Raises:
            UpstreamError: Ollama failed, or there is no such model.
            RunLogUnavailable: The log cannot be written.
        """
        phase, due = "", 0.0
        async with aclosing(self._upstream.pull(request.model)) as pull:
            async for progress in pull:
                if progress.phase != phase or self._now() >= due:
                    phase, due = progress.phase, self._now() + PAUSE
                    status = Status(phase, request.model, progress.completed, progress.total)
                    await self._log.append([to_json(status)])
