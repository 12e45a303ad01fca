"""A run: one answer in the making, its readers, and its one ending."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

from dripline.errors import ErrorCode
from dripline.events import End, Error, Event, Start, Status, to_json
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
from dripline_server.runs.run_request import AnswerFailed, MakeAnswerer, RunRequest
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import Record

logger = logging.getLogger(__name__)


class Run(FoundRun):
    """One answer in the making, which only writes to its log. Readers follow the log.

    It starts as soon as it is constructed. It ends exactly once, and the last event in its log is
    always `end`. By then all connections that the answer needed are closed.

    Args:
        run_id: The run's id. Whoever knows it may read and stop the run.
        request: The request to answer.
        log: Receives the run's events.
        make: Makes the answer.
        metrics: Counts the run.
        on_end: Called when the last event is in the log.
        record: Starts the recording of each request to Ollama.
    """

    __slots__ = (
        "_answering",
        "_ending",
        "_generating",
        "_grace",
        "_log",
        "_metrics",
        "_opening",
        "_readers",
        "_readers_elsewhere",
        "_stopped",
        "_stopped_by",
        "_telling",
        "_unread",
        "began",
        "caller",
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
        make: MakeAnswerer,
        metrics: Metrics,
        *,
        on_end: Callable[[], None],
        record: Record | None = None,
    ) -> None:
        self.id = run_id
        self.model = request.model
        self.request = request.digest
        self.caller = request.caller.name
        self.began = time.time()
        self._grace = request.grace
        self.end: End | None = None
        self._log = log
        self._metrics = metrics
        self._readers = 0
        self._readers_elsewhere = 0
        self._unread: asyncio.TimerHandle | None = None
        self._answering = make(run_id, log, self._stop_phases, record)
        # The first events of the stream, until they are in the log.
        start = Start(self._answering.agent, run_id, self.model)
        self._opening: Sequence[Event] = (*request.ui_controls, start)
        self._stopped = False
        self._stopped_by: Error | None = None
        self._telling: asyncio.Task[None] | None = None
        name = run_id[:ID_SHOWN]
        # Only the task holds the request, which may contain megabytes of images, so that both are
        # freed together. Stopping cancels this task alone: another one writes the end of the log.
        self._generating = asyncio.create_task(self._generate(request), name=f"generate {name}")
        if phases := self._answering.phases(request):
            self._telling = asyncio.create_task(self._tell_phases(phases), name=f"phases {name}")
        self._generating.add_done_callback(lambda done: self._begin_end(done, on_end))
        self._watch_readers()

    @property
    def status(self) -> str:
        """What it does: "running", or how it ended ("completed", "cancelled" or "failed")."""
        return self.end.status if self.end else "running"

    @property
    def readers(self) -> int:
        """How many readers are attached in this process."""
        return self._readers

    async def log_state(self, seen: int = 0) -> LogState:
        """Return the position of its log; see `ReadableLog.state`."""
        return await self._log.state(seen)

    def stop(self, because: Error | None = None) -> None:
        """End the run now: as failed if an error is given, otherwise as cancelled.

        The answer is cancelled, and Ollama's socket closed, in the event loop's next turn. Only the
        first call has an effect, and only before the run has ended.
        """
        if not self._stopped and not self._generating.done():
            self._stopped, self._stopped_by = True, because
            self._generating.cancel()

    def log_lost(self, because: RunLogUnavailable) -> None:
        """End the run as failed, because its log can no longer be written."""
        self.stop(_log_lost(because))

    async def request_stop(self) -> None:
        """End the run now, as cancelled."""
        self.stop()

    @asynccontextmanager
    async def follow(
        self, after: int, deliver_now: Callable[[Batch], bool] = not_now
    ) -> AsyncIterator[AsyncIterator[Batch]]:
        """Attach a reader to the log; see `ReadableLog.follow`.

        When the last reader has left, the run stops after its grace time.
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
        """Update how many other processes have readers; those keep the run going as well."""
        self._readers_elsewhere = count
        self._watch_readers()

    def _watch_readers(self) -> None:
        """Start the grace time when nobody reads, and cancel it when somebody does."""
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
        await self._answering.run(request)

    def _stop_phases(self) -> None:
        if self._telling:
            self._telling.cancel()

    async def _tell_phases(self, phases: AsyncGenerator[str]) -> None:
        """Send readers a status while the model sends nothing."""
        with suppress(RunLogUnavailable):
            async with aclosing(phases):
                async for phase in phases:
                    await self._log.append([to_json(Status(phase, self.model))])

    def _begin_end(self, generating: asyncio.Task[None], on_end: Callable[[], None]) -> None:
        # Created only now, because a waiting task would cost each run 2 KB.
        self._ending = asyncio.create_task(self._end(generating), name=f"end {self.id[:ID_SHOWN]}")
        self._ending.add_done_callback(lambda _: on_end())

    async def _end(self, generating: asyncio.Task[None]) -> None:
        if self._telling:
            self._telling.cancel()
            await asyncio.wait({self._telling})
        # The last event has to be written even if this fails; without it readers wait for ever.
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
        """Return the last events; if the run never started, these include the first ones."""
        return [to_json(event) for event in (*self._opening, error, end) if event]

    def _report(self, error: Error | None, end: End) -> None:
        self._metrics.run_ended(end, error, self._answering.agent, self.caller)
        logger.info(
            "run ended",
            extra={
                "run": self.id[:ID_SHOWN],
                "model": self.model,
                "status": end.status,
                "code": error.code if error else "",
                "tokens": end.usage.completion_tokens,
                "seconds": end.usage.total_time,
                "caller": self.caller,
            },
        )

    def _outcome(self, generating: asyncio.Task[None]) -> tuple[Error | None, End]:
        """Return the error, if the run failed, and the end event."""
        usage = self._answering.usage(asyncio.get_running_loop().time())
        if error := self._failure(generating):
            return error, End("failed", usage=usage)
        if generating.cancelled():
            return None, End("cancelled", usage=usage)
        return None, End("completed", self._answering.reason, usage)

    def _failure(self, generating: asyncio.Task[None]) -> Error | None:
        """Return why the answer failed; None if it completed or was stopped."""
        if generating.cancelled():
            return self._stopped_by
        match generating.exception():
            case None:
                return None
            case UpstreamError(code=code, message=message):
                return Error(code, message, code.retryable)
            case AnswerFailed(error=error):
                return error
            case RunLogUnavailable() as lost:
                return _log_lost(lost)
            case fault:
                return self._fault(fault)

    def _fault(self, fault: BaseException) -> Error:
        logger.error("run %s failed by a fault in dripline", self.id[:ID_SHOWN], exc_info=fault)
        code = ErrorCode.INTERNAL_ERROR
        return Error(code, "A fault in dripline ended the answer; its log says more.")


class RunControls(LogOwner):
    """Passes a log's requests on to its run. The log exists first, and the run is made with it.

    Attributes:
        run: The run; None until it has been made.
        stopped: Whether a stop was requested, perhaps before the run was made.
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
