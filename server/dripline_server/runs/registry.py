"""All runs: starts them, finds them, keeps finished ones for a while, and discards them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dripline.errors import ErrorCode
from dripline.events import Error
from dripline.tool_runner import ToolRunner
from dripline_server.callers import Caller
from dripline_server.known_tokens import KnownTokens
from dripline_server.metrics import Metrics
from dripline_server.run_log import FoundRun, RunExists, RunLog, RunLogs, RunLogUnavailable
from dripline_server.run_log.memory import Budget
from dripline_server.runs.generation import Generation
from dripline_server.runs.places import Places, RegistryFull
from dripline_server.runs.records import RunRecords
from dripline_server.runs.run import Run, RunControls
from dripline_server.runs.run_request import MakeAnswerer, Prompt, RunRequest
from dripline_server.settings import Settings
from dripline_server.upstream.http_client import Record
from dripline_server.upstream.upstreams import Upstreams


class RunIdInUse(Exception):
    """The client's id for a new run already belongs to a run with another request."""


class RunOfAnother(Exception):
    """The client's id for a new run already belongs to a run of another caller."""


class RunRegistry:
    """The runs of this process, and access to the runs of other processes.

    Finished runs stay for a while, limited in time, number and bytes. The oldest is discarded
    first.

    Args:
        settings: The limits.
        upstreams: Gives the Ollama that answers a new run.
        runner: Calls the server's tools.
        logs: Creates the runs' logs.
        budget: The memory that the logs may use. When it is exceeded, this registry discards
            finished runs.
        metrics: Counts the runs.
        records: Records the runs.
        tokens: The runs of a caller whose token is removed are stopped.

    Attributes:
        places: The places that active runs take.
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
        tokens: KnownTokens,
    ) -> None:
        self._settings = settings
        self._upstreams = upstreams
        self._runner = runner
        self._logs = logs
        self._budget = budget
        self._metrics = metrics
        self._records = records
        self._tokens = tokens
        self.places = Places(settings.max_runs)
        self._active: dict[str, Run] = {}
        # Runs whose log is being created; each future is done when that has worked or failed.
        self._starting: dict[str, asyncio.Future[None]] = {}
        # Finished runs in the order in which they ended, each with the timer that discards it.
        self._ended: dict[str, tuple[Run, asyncio.TimerHandle]] = {}
        # What stops each relayed request that counts as a run, and its caller's name.
        self._relays: dict[Callable[[Error], None], str] = {}
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()
        budget.when_exceeded(self._make_room)
        tokens.when_removed(self._stop_runs_of)
        metrics.watch(
            runs=lambda: self.active,
            readers=lambda: sum(run.readers for run in self._runs()),
            log_bytes=lambda: budget.used,
        )

    async def start(self, request: RunRequest, run_id: str | None = None) -> FoundRun:
        """Start a run.

        Args:
            request: The request that the run answers.
            run_id: An id chosen by the client. If the caller has a run with this id, it is
                returned, so that a client can safely repeat its request.

        Raises:
            RunIdInUse: The run with this id answers another request.
            RunOfAnother: The run with this id belongs to another caller.
            RegistryFull: A limit of active runs is reached, or the server shuts down.
            RunLogUnavailable: The run's log cannot be created.
        """
        if run_id:
            found = await self._find(run_id)
            if found is None and (run_id in self._active or run_id in self._starting):
                found = await self._find(run_id)  # another request started it meanwhile
            if found:
                return _same(found, request)
        try:
            return await self._start(request, run_id or secrets.token_urlsafe(16))
        except RunExists as exists:
            # Another process got the same request at the same time and was faster.
            if run_id and (found := await self._find(run_id)):
                return _same(found, request)
            raise RunLogUnavailable("the run existed, but has gone") from exists

    async def _start(self, request: RunRequest, run_id: str) -> Run:
        self._check_room()
        caller = request.caller
        self.places.take(caller)
        self._starting[run_id] = asyncio.get_running_loop().create_future()
        self._idle.clear()
        controls = RunControls()
        try:
            record = self._records.begin(run_id)
            log = await self._logs.create(
                run_id, request.model, controls, request.digest, caller.name
            )
            run = self._active[run_id] = Run(
                run_id,
                request,
                log,
                request.answering or self._by_ollama(request.model, request.prompt),
                self._metrics,
                on_end=lambda: self._keep(run),
                record=record.upstream if record else None,
            )
        except BaseException:
            self._records.end(run_id)
            self.places.release(caller.name)
            raise
        finally:
            self._starting.pop(run_id).set_result(None)
            self._note_if_idle()
        controls.run = run
        if controls.stopped:
            run.stop()
        elif self._draining:
            run.stop(_shutdown_error())
        elif not self._tokens.knows(caller.name):
            run.stop(_token_removed())  # after its request had arrived
        return run

    def _by_ollama(self, model: str, prompt: Prompt) -> MakeAnswerer:
        """Return what makes an answer by Ollama. It does not hold the request."""
        upstream, settings = self._upstreams.current, self._settings

        def make(
            _: str, log: RunLog, on_answer: Callable[[], object], record: Record | None
        ) -> Generation:
            def answered() -> None:
                upstream.note_answer(model)
                on_answer()

            return Generation(
                upstream,
                self._runner,
                max_rounds=settings.max_tool_rounds,
                metrics=self._metrics,
                log=log,
                on_answer=answered,
                think_tags=settings.think_tags == "auto",
                prompt=prompt,
                record=record,
                loading_after=settings.loading_after,
            )

        return make

    @contextmanager
    def relay(self, caller: Caller, stop: Callable[[Error], None]) -> Iterator[None]:
        """Count a request that is passed on to Ollama as an active run, until the context ends.

        Args:
            caller: Who sends the request.
            stop: Ends the request with an error if the server shuts down.

        Raises:
            RegistryFull: The server, or the caller, has as many active runs as it may; or the
                server shuts down.
        """
        self._check_room()
        self.places.take(caller)
        self._relays[stop] = caller.name
        self._idle.clear()
        if not self._tokens.knows(caller.name):
            stop(_token_removed())
        try:
            yield
        finally:
            del self._relays[stop]
            self.places.release(caller.name)
            self._note_if_idle()

    async def find(self, run_id: str, caller: str = "") -> FoundRun | None:
        """Return a caller's run, of this process or of another one; None if there is none.

        Args:
            run_id: The run's id.
            caller: The caller's name. Runs of other callers are not found.

        Raises:
            RunLogUnavailable: The runs of other processes cannot be looked up.
        """
        found = await self._find(run_id)
        return found if found and found.caller == caller else None

    async def _find(self, run_id: str) -> FoundRun | None:
        """Return a run of any caller; None if no process knows it."""
        if starting := self._starting.get(run_id):
            await asyncio.wait({starting})
        if run := self._active.get(run_id):
            return run
        if run_id in self._ended:
            return self._ended[run_id][0]
        return await self._logs.find(run_id)

    def here(self, caller: str = "") -> list[Run]:
        """Return the caller's runs of this process that can be read, the newest first."""
        own = (run for run in self._runs() if run.caller == caller)
        return sorted(own, key=lambda run: run.began, reverse=True)

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Accept no new run; wait until all have ended, the time is up, or `hurry` is set."""
        self._draining = True
        waits = {asyncio.create_task(self._idle.wait()), asyncio.create_task(hurry.wait())}
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    async def close(self) -> None:
        """End every active run as failed, and wait until each has ended."""
        self._draining = True
        for run in self._active.values():
            run.stop(_shutdown_error())
        for stop in tuple(self._relays):
            stop(_shutdown_error())
        await self._idle.wait()
        # Their logs stay, because other processes may still serve them.
        for _, timer in self._ended.values():
            timer.cancel()

    @property
    def draining(self) -> bool:
        """Whether no new run is accepted because the server shuts down."""
        return self._draining

    @property
    def active(self) -> int:
        """How many runs are active in this process, relayed requests included."""
        return len(self._active) + len(self._starting) + len(self._relays)

    def _runs(self) -> Iterator[Run]:
        yield from self._active.values()
        for run, _ in self._ended.values():
            yield run

    def _check_room(self) -> None:
        if self._draining:
            message = "This server is shutting down. Ask again in a moment."
            raise RegistryFull(ErrorCode.SERVER_SHUTDOWN, message)
        if self._budget.exceeded:
            message = "The run logs are full (--total-log-bytes). Try again later."
            raise RegistryFull(ErrorCode.SERVER_FULL, message)

    def _stop_runs_of(self, caller: str) -> None:
        for run in self._active.values():
            if run.caller == caller:
                run.stop(_token_removed())
        for stop, name in tuple(self._relays.items()):
            if name == caller:
                stop(_token_removed())

    def _note_if_idle(self) -> None:
        if not self.active:
            self._idle.set()

    def _keep(self, run: Run) -> None:
        """Keep a run for a while that has just ended."""
        self._records.end(run.id)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._settings.keep_time, self._forget, run.id)
        self._ended[run.id] = (run, timer)
        del self._active[run.id]
        self.places.release(run.caller)
        self._note_if_idle()
        if len(self._ended) > self._settings.keep_runs:
            self._forget(next(iter(self._ended)))

    def _make_room(self) -> None:
        """Discard the oldest finished runs until the logs are within their budget."""
        while self._ended and self._budget.used > self._budget.limit:
            self._forget(next(iter(self._ended)))

    def _forget(self, run_id: str) -> None:
        _, timer = self._ended.pop(run_id)
        timer.cancel()
        self._logs.forget(run_id)


def _same(found: FoundRun, request: RunRequest) -> FoundRun:
    """Return the found run if it answers the same request of the same caller; otherwise raise."""
    if found.caller != request.caller.name:
        raise RunOfAnother
    if found.request not in ("", request.digest):
        raise RunIdInUse
    return found


def _token_removed() -> Error:
    code = ErrorCode.UNAUTHORIZED
    return Error(code, "The token that started this chat is no longer valid.", code.retryable)


def _shutdown_error() -> Error:
    code = ErrorCode.SERVER_SHUTDOWN
    return Error(code, "The server shut down. Ask again in a moment.", code.retryable)
