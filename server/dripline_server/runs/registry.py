"""Every run: starting, finding, keeping for a while, and letting go."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

from dripline.errors import ErrorCode
from dripline.events import Error
from dripline.tool_runner import ToolRunner
from dripline_server.metrics import Metrics
from dripline_server.run_log import FoundRun, RunExists, RunLogs, RunLogUnavailable
from dripline_server.run_log.memory import Budget
from dripline_server.runs.records import RunRecords
from dripline_server.runs.run import Run, RunControls
from dripline_server.runs.run_request import RunRequest
from dripline_server.settings import Settings
from dripline_server.upstream.upstreams import Upstreams


class RegistryFull(Exception):
    """No further run is taken now; `str()` says why.

    Attributes:
        shutting_down: Whether this server ends.
    """

    def __init__(self, message: str, *, shutting_down: bool = False) -> None:
        super().__init__(message)
        self.shutting_down = shutting_down


class RunIdInUse(Exception):
    """A client's own name for a run is that of another request's."""


class RunRegistry:
    """The runs of this process, and a way to those of the others.

    Ended runs stay for a while, oldest out first: bounded in time, number and bytes.

    Args:
        settings: The bounds.
        upstreams: Who answers, at the time of each start.
        runner: Calls the server's tools.
        logs: Where the runs write.
        budget: What their logs may hold here; beyond that, they ask this registry for room.
        metrics: Where runs are counted.
        records: Where runs are recorded.
    """

    def __init__(
        self,
        settings: Settings,
        upstreams: Upstreams,
        runner: ToolRunner,
        logs: RunLogs,
        budget: Budget,
        metrics: Metrics,
        records: RunRecords,
    ) -> None:
        self._settings = settings
        self._upstreams = upstreams
        self._runner = runner
        self._logs = logs
        self._budget = budget
        self._metrics = metrics
        self._records = records
        self._active: dict[str, Run] = {}
        # Those of them whose log is being made: done once it is, or cannot be.
        self._starting: dict[str, asyncio.Future[None]] = {}
        # In the order in which they ended, each with the timer that lets go of it.
        self._ended: dict[str, tuple[Run, asyncio.TimerHandle]] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        budget.when_exceeded(self._make_room)
        metrics.watch(
            runs=lambda: self.active,
            readers=lambda: sum(run.readers for run in self._runs()),
            log_bytes=lambda: budget.used,
        )

    async def start(self, request: RunRequest, run_id: str | None = None) -> FoundRun:
        """Start a run.

        Args:
            request: What it is to do.
            run_id: The client's own name for it: where there is a run of this name already, that
                one is returned, so that a client can ask twice.

        Raises:
            RunIdInUse: The run of this name was asked to do something else.
            RegistryFull: As many are going on as may, or the server is shutting down.
            RunLogUnavailable: Its log cannot be made.
        """
        if run_id:
            found = await self.find(run_id)
            if found is None and (run_id in self._active or run_id in self._starting):
                found = await self.find(run_id)  # another request asked meanwhile
            if found:
                return _same(found, request)
        try:
            return await self._start(request, run_id or secrets.token_urlsafe(16))
        except RunExists as exists:
            # Another process was asked at the same time, and was first.
            if run_id and (found := await self.find(run_id)):
                return _same(found, request)
            raise RunLogUnavailable("the run was there, and has gone") from exists

    async def _start(self, request: RunRequest, run_id: str) -> Run:
        self._check_room()
        record = self._records.begin(run_id)
        self._starting[run_id] = asyncio.get_running_loop().create_future()
        self._idle.clear()
        controls = RunControls()
        try:
            log = await self._logs.create(run_id, request.model, controls, request.digest)
            run = self._active[run_id] = Run(
                run_id,
                request,
                log,
                self._upstreams.current,
                self._runner,
                self._metrics,
                on_end=lambda: self._keep(run),
                max_tool_rounds=self._settings.max_tool_rounds,
                loading_after=self._settings.loading_after,
                think_tags=self._settings.think_tags == "auto",
                record=record.upstream if record else None,
            )
        except BaseException:
            self._records.end(run_id)
            raise
        finally:
            self._starting.pop(run_id).set_result(None)
            self._look_whether_idle()
        controls.run = run
        if controls.stopped:
            run.stop()
        elif self._draining:
            run.stop(_shutdown_error())
        return run

    async def find(self, run_id: str) -> FoundRun | None:
        """Return a run of this process or of another, or None where nobody knows it.

        Raises:
            RunLogUnavailable: The other processes' runs cannot be known.
        """
        if starting := self._starting.get(run_id):
            await asyncio.wait({starting})
        if run := self._active.get(run_id):
            return run
        if run_id in self._ended:
            return self._ended[run_id][0]
        return await self._logs.find(run_id)

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Take no further run, and wait for those that go on: so long, or until told to hurry."""
        self._draining = True
        waits = {asyncio.create_task(self._idle.wait()), asyncio.create_task(hurry.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def close(self) -> None:
        """End every run, as failed where it goes on, and wait until each has ended."""
        self._draining = True
        for run in self._active.values():
            run.stop(_shutdown_error())
        await self._idle.wait()
        # Their logs are not forgotten: other processes may have them to read.
        for _, timer in self._ended.values():
            timer.cancel()

    def forget_ended(self) -> None:
        """Let go of every ended run now, instead of in time."""
        while self._ended:
            self._forget(next(iter(self._ended)))

    @property
    def draining(self) -> bool:
        """Whether it takes no further run, because the server ends."""
        return self._draining

    @property
    def active(self) -> int:
        """How many runs are going on here."""
        return len(self._active) + len(self._starting)

    def _runs(self) -> Iterator[Run]:
        yield from self._active.values()
        for run, _ in self._ended.values():
            yield run

    def _check_room(self) -> None:
        if self._draining:
            message = "This server is shutting down. Ask again in a moment."
            raise RegistryFull(message, shutting_down=True)
        if self.active >= self._settings.max_runs:
            raise RegistryFull(
                f"{self.active} chats are going on, as many as there may be (--max-runs)."
            )
        if self._budget.exceeded:
            raise RegistryFull("The run logs hold all that they may (--total-log-bytes).")

    def _look_whether_idle(self) -> None:
        if not self.active:
            self._idle.set()

    def _keep(self, run: Run) -> None:
        """Keep a run that has just ended for a while."""
        self._records.end(run.id)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._settings.keep_time, self._forget, run.id)
        self._ended[run.id] = (run, timer)
        del self._active[run.id]
        self._look_whether_idle()
        if len(self._ended) > self._settings.keep_runs:
            self._forget(next(iter(self._ended)))

    def _make_room(self) -> None:
        """Let go of the oldest ended runs until the logs are within their budget."""
        while self._ended and self._budget.used > self._budget.limit:
            self._forget(next(iter(self._ended)))

    def _forget(self, run_id: str) -> None:
        _, timer = self._ended.pop(run_id)
        timer.cancel()
        self._logs.forget(run_id)


def _same(found: FoundRun, request: RunRequest) -> FoundRun:
    """Return a run that has the name that was asked for, if it does what is asked for."""
    if found.request not in ("", request.digest):
        raise RunIdInUse
    return found


def _shutdown_error() -> Error:
    code = ErrorCode.SERVER_SHUTDOWN
    return Error(code, "The server shut down. Ask again in a moment.", code.retryable)
