"""Every stream of a run begins with `start` and has one `end`, whatever becomes of the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import cast

from dripline import AddButton, End, Error, ErrorCode, Start
from dripline.events import Event, from_json
from dripline.tool_runner import ToolRunner
from dripline_server.metrics import Metrics
from dripline_server.run_log import RunLog
from dripline_server.run_log.memory import Budget, MemoryRunLog
from dripline_server.runs.generation import Generation
from dripline_server.runs.run import Run
from dripline_server.runs.run_request import RunRequest
from dripline_server.upstream.chat_chunks import Chunk
from dripline_server.upstream.ollama import Ollama


class SilentUpstream:
    """Stands where `Ollama` does, and never answers."""

    async def phases(self, model: str, context: int, after: float) -> AsyncGenerator[str]:
        await asyncio.sleep(after)
        yield "waiting"

    def note_answer(self, model: str) -> None:
        """Hear it."""

    async def chat(self, model: str, body: bytes, *_: object) -> AsyncGenerator[list[Chunk]]:
        await asyncio.Event().wait()
        yield []


class BrokenLog(MemoryRunLog):
    """A log that cannot be finished."""

    async def finish(self, payloads: Sequence[bytes]) -> None:
        raise OSError("no space left")


class Bench:
    """A run that has been started, and whether it has said that it has ended."""

    def __init__(self, log: RunLog) -> None:
        metrics = Metrics()
        request = RunRequest("m", b"{}", ui_controls=[AddButton("Go", "go")])
        self.ended = asyncio.Event()
        self.run = Run(
            "r",
            request,
            log,
            partial(self._generation, metrics),
            metrics,
            on_end=self.ended.set,
        )

    @staticmethod
    def _generation(
        metrics: Metrics, _: str, log: RunLog, on_answer: Callable[[], object], _record: object
    ) -> Generation:
        return Generation(
            cast("Ollama", SilentUpstream()),
            ToolRunner(timeout=1, max_result=100),
            max_rounds=1,
            metrics=metrics,
            log=log,
            on_answer=on_answer,
            loading_after=99,
        )

    async def read(self, until: int = 0) -> list[Event | None]:
        """Read the run from its beginning: to its end, or so many events."""
        events: list[Event | None] = []
        async with self.run.follow(0) as batches:
            async for batch in batches:
                events += map(from_json, batch.payloads)
                if len(events) == until:
                    break
        return events


async def test_stopped_before_its_first_step() -> None:
    """A server that shuts down may stop a run as soon as it is there."""
    bench = Bench(MemoryRunLog(1000, Budget(1000)))
    because = Error(ErrorCode.SERVER_SHUTDOWN, "Ask again.")
    bench.run.stop(because)
    button, start, error, end = await bench.read()
    assert button == AddButton("Go", "go")
    assert start == Start("ollama", "r", "m")
    assert error == because
    assert isinstance(end, End)
    assert end.status == "failed"


async def test_a_log_that_cannot_be_finished() -> None:
    """Its readers, and those who come later, are told; and so is whoever keeps the run."""
    bench = Bench(BrokenLog(1000, Budget(1000)))
    reading = asyncio.create_task(bench.read())
    assert len(await bench.read(until=2)) == 2
    bench.run.stop()
    _, _, error, end = await reading
    assert isinstance(error, Error)
    assert error.code == ErrorCode.INTERNAL_ERROR
    assert end == bench.run.end == End("failed")
    await bench.ended.wait()
    assert await bench.read() == await reading
