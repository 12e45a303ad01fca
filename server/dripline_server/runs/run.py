"""A run: one generation, its readers, and its one ending."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

from dripline.errors import ErrorCode
from dripline.events import End, Error, Event, Start, Status, to_json
from dripline.tool_runner import ToolRunner
from dripline_server.metrics import Metrics
from dripline_server.run_log import (
    ID_SHOWN,
    Batch,
    FoundRun,
    LogOwner,
    LogState,
    RunLog,
    RunLogUnavailable,
    not_now,
)
from dripline_server.runs.generation import Generation
from dripline_server.runs.run_request import RunRequest
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import Record
from dripline_server.upstream.ollama import Ollama

logger = logging.getLogger(__name__)


class Run(FoundRun):
    """One generation, which only writes to its log. Readers follow the log.

    It begins as soon as it is made. However it ends, it ends once, and the last event of its log is
    `end`. Its upstream connection is closed by then.

    Args:
        run_id: Names it; knowing it is the right to read and to stop the run.
        request: What it is to do.
        log: Where it writes.
        upstream: Who answers.
        runner: Calls the server's tools.
        metrics: Where it is counted.
        on_end: Called once the last event is in the log.
        max_tool_rounds: How many times the model may be asked with the server's tools.
        loading_after: Seconds of silence before readers are told what the run waits for.
        think_tags: See `Generation`.
        record: Begins a recording of each request to Ollama.
    """

    __slots__ = (
        "_ending",
        "_generating",
        "_generation",
        "_grace",
        "_loading_after",
        "_log",
        "_metrics",
        "_opening",
        "_readers",
        "_readers_elsewhere",
        "_stopped",
        "_stopped_by",
        "_telling",
        "_unread",
        "_upstream",
        "end",
        "id",
        "model",
        "request",
    )

    def __init__(
        self,
        run_id: str,
        request: RunRequest,
        log: RunLog,
        upstream: Ollama,
        runner: ToolRunner,
        metrics: Metrics,
        *,
        on_end: Callable[[], None],
        max_tool_rounds: int,
        loading_after: float,
        think_tags: bool = False,
        record: Record | None = None,
    ) -> None:
        self.id = run_id
        self.model = request.model
        self.request = request.digest
        self._grace = request.grace
        self.end: End | None = None
        self._log = log
        self._upstream = upstream
        self._metrics = metrics
        self._loading_after = loading_after
        self._readers = 0
        self._readers_elsewhere = 0
        self._unread: asyncio.TimerHandle | None = None
        # What a stream begins with, until it is in the log.
        self._opening: Sequence[Event] = (*request.ui_controls, Start("ollama", run_id, self.model))
        self._stopped = False
        self._stopped_by: Error | None = None
        self._generation = Generation(
            upstream,
            runner,
            max_rounds=max_tool_rounds,
            metrics=metrics,
            log=log,
            on_answer=self._stop_phases,
            think_tags=think_tags,
            prompt=request.prompt,
            record=record,
        )
        name = run_id[:ID_SHOWN]
        # Nothing keeps the request once it is answered: it may hold megabytes of images.
        # Stopping cancels the generation; what ends the log is not cancelled with it.
        self._generating = asyncio.create_task(self._generate(request), name=f"generate {name}")
        self._telling = asyncio.create_task(
            self._tell_phases(request.prompt.context), name=f"phases {name}"
        )
        self._generating.add_done_callback(lambda done: self._begin_end(done, on_end))
        self._watch_readers()

    @property
    def readers(self) -> int:
        """How many readers are attached here."""
        return self._readers

    async def log_state(self, seen: int = 0) -> LogState:
        """Return where its log stands; see `ReadableLog.state`."""
        return await self._log.state(seen)

    def stop(self, because: Error | None = None) -> None:
        """End the run now: as cancelled, or as failed where there is an error to tell.

        Ollama's socket is closed in the event loop's next turn. Only the first call counts, and
        none after the end.
        """
        if not self._stopped and not self._generating.done():
            self._stopped, self._stopped_by = True, because
            self._generating.cancel()

    def log_lost(self, because: RunLogUnavailable) -> None:
        """End the run as failed: its log cannot be written any more."""
        self.stop(_log_lost(because))

    async def request_stop(self) -> None:
        """End the run now, as cancelled."""
        self.stop()

    @asynccontextmanager
    async def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """Attach a reader to the log; see `ReadableLog.follow`.

        When the last reader goes, the run is stopped after its grace time.
        """
        self._readers += 1
        self._watch_readers()
        try:
            async with self._log.follow(after, deliver_now) as batches:
                yield batches
        finally:
            self._readers -= 1
            self._watch_readers()

    def readers_elsewhere(self, count: int) -> None:
        """Hear how many processes have readers attached; they count as ours do."""
        self._readers_elsewhere = count
        self._watch_readers()

    def _watch_readers(self) -> None:
        """Start the grace time when nobody reads, end it when somebody does."""
        if self._readers or self._readers_elsewhere or self.end:
            if self._unread:
                self._unread.cancel()
                self._unread = None
        elif self._unread is None and self._grace < math.inf:
            loop = asyncio.get_running_loop()
            self._unread = loop.call_later(self._grace, self.stop)

    async def _generate(self, request: RunRequest) -> None:
        opening, self._opening = self._opening, ()
        await self._log.append([*map(to_json, opening)])
        await self._generation.run(request)

    def _stop_phases(self) -> None:
        self._upstream.note_answer(self.model)
        self._telling.cancel()

    async def _tell_phases(self, context: int) -> None:
        """Tell readers what the run waits for while nothing comes."""
        phases = self._upstream.phases(self.model, context, self._loading_after)
        with suppress(RunLogUnavailable):
            async with aclosing(phases):
                async for phase in phases:
                    await self._log.append([to_json(Status(phase, self.model))])

    def _begin_end(self, generating: asyncio.Task[None], on_end: Callable[[], None]) -> None:
        # Only now: a task that waits all the while costs each run 2 KB.
        self._ending = asyncio.create_task(self._end(generating), name=f"end {self.id[:ID_SHOWN]}")
        self._ending.add_done_callback(lambda _: on_end())

    async def _end(self, generating: asyncio.Task[None]) -> None:
        self._telling.cancel()
        await asyncio.wait({self._telling})
        # Whatever goes wrong here: without a last event readers wait for ever.
        try:
            error, self.end = self._outcome(generating)
            last = self._last(error, self.end)
        except Exception as fault:  # noqa: BLE001 (it is logged)
            error, self.end = self._fault(fault), End("failed")
            last = self._last(error, self.end)
        self._watch_readers()
        try:
            await self._log.finish(last)
        except Exception as fault:  # noqa: BLE001 (it is logged)
            error, self.end = self._fault(fault), End("failed")
            self._log.finish_here(self._last(error, self.end))
        self._report(error, self.end)

    def _last(self, error: Error | None, end: End) -> list[bytes]:
        """Return the last events; they are all of them where it was stopped before its start."""
        return [to_json(event) for event in (*self._opening, error, end) if event]

    def _report(self, error: Error | None, end: End) -> None:
        self._metrics.run_ended(end, error)
        logger.info(
            "run ended",
            extra={
                "run": self.id[:ID_SHOWN],
                "model": self.model,
                "status": end.status,
                "code": error.code if error else "",
                "tokens": end.usage.completion_tokens,
                "seconds": end.usage.total_time,
            },
        )

    def _outcome(self, generating: asyncio.Task[None]) -> tuple[Error | None, End]:
        """Return what the run ends with, and the error before it if it failed."""
        usage = self._generation.answer.usage(asyncio.get_running_loop().time())
        if error := self._failure(generating):
            return error, End("failed", usage=usage)
        if generating.cancelled():
            return None, End("cancelled", usage=usage)
        return None, End("completed", self._generation.answer.reason, usage)

    def _failure(self, generating: asyncio.Task[None]) -> Error | None:
        """Return what the generation failed of; None where it was completed or just stopped."""
        if generating.cancelled():
            return self._stopped_by
        match generating.exception():
            case None:
                return None
            case UpstreamError(code=code, message=message):
                return Error(code, message, code.retryable)
            case RunLogUnavailable() as lost:
                return _log_lost(lost)
            case fault:
                return self._fault(fault)

    def _fault(self, fault: BaseException) -> Error:
        logger.error("run %s failed by a fault in dripline", self.id[:ID_SHOWN], exc_info=fault)
        code = ErrorCode.INTERNAL_ERROR
        return Error(code, "A fault in dripline ended the answer; its log says more.")


class RunControls(LogOwner):
    """What a log asks of its run, which is made only once there is a log.

    Attributes:
        run: The run; None until it has been made.
        stopped: Whether it was to be stopped before that.
    """

    __slots__ = ("run", "stopped")

    def __init__(self) -> None:
        self.run: Run | None = None
        self.stopped = False

    def stop(self) -> None:
        """See `LogOwner.stop`."""
        self.stopped = True
        if self.run:
            self.run.stop()

    def log_lost(self, because: RunLogUnavailable) -> None:
        """See `LogOwner.log_lost`."""
        if self.run:
            self.run.log_lost(because)

    def readers_elsewhere(self, count: int) -> None:
        """See `LogOwner.readers_elsewhere`."""
        if self.run:
            self.run.readers_elsewhere(count)


def _log_lost(lost: RunLogUnavailable) -> Error:
    code = ErrorCode.RUN_LOG_LOST
    return Error(code, lost.message, code.retryable)
