"""The answer that an agent makes in one run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import aclosing
from dataclasses import replace
from time import perf_counter
from typing import Any

from dripline.errors import ErrorCode, RunFailed
from dripline.events import Error, Usage
from dripline.json_text import without_lone_surrogates
from dripline_server.agents.agent import Agent, AgentError, NotAnAnswer
from dripline_server.agents.agent_chat import Chat
from dripline_server.agents.yielded import Yielded
from dripline_server.run_log import ID_SHOWN, RunLog
from dripline_server.runs.run_request import AnswerFailed, RunRequest

logger = logging.getLogger(__name__)

# An agent that never waits lets everybody else go first after this many seconds.
SLICE = 0.004
# What may wait for the log, in bytes and in events, before the agent has to wait too.
MAX_PENDING = 64 * 1024
MAX_PENDING_EVENTS = 4096
# An agent that computes for so many seconds without a pause is named in the log.
LONG_STEP = 0.5
# Seconds in which an agent that has called a tool of the client may begin a further call.
FURTHER_CALLS = 5.0
# Longer messages of an `AgentError` are cut off, in characters.
MAX_MESSAGE = 4000


class AgentAnswer:
    """Drives an agent in a task of its own, and writes what it yields to the log.

    The first thing that an agent yields after it has waited goes to the log at once. What it yields
    before it waits again is collected, and so is what it yields while the log is being written. So
    an agent that yields as fast as it can costs little, on Redis too, and no text is held back from
    a reader.

    Args:
        agent: The agent.
        run_id: The run's id.
        log: Receives the events.
        make_chat: Makes what the agent gets.
        stop_time: Seconds that the agent has to end when it is stopped.
        stall_timeout: Seconds of silence after which it fails; 0: never.
        abandon: Gets the task of an agent that does not end.
        on_answer: Called when the agent has yielded its first event.
    """

    reason = "stop"

    def __init__(
        self,
        agent: Agent,
        run_id: str,
        log: RunLog,
        make_chat: Callable[[RunRequest], Chat],
        on_answer: Callable[[], object],
        *,
        stop_time: float,
        stall_timeout: float,
        abandon: Callable[[asyncio.Task[None]], object],
    ) -> None:
        self.agent = agent.name
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time
        self._agent: Agent = agent
        self._run_shown = run_id[:ID_SHOWN]
        self._log = log
        self._make_chat = make_chat
        self._stop_time = stop_time
        self._stall_timeout = stall_timeout
        self._abandon = abandon
        self._on_answer = on_answer
        self._usage = Usage()
        self._started = self._now()
        self._first_token: float | None = None
        self._failure: Error | None = None
        # Whether the agent is to end, whether nothing more is accepted from it, and whether it has
        # been cancelled.
        self._over = self._closing = self._stopping = False
        # Set when there is something to do for `run`.
        self._news = asyncio.Event()
        # Events that wait until the log is free, and their bytes.
        self._pending: list[bytes] = []
        self._size = 0
        # Whether `run` is adding events to the log, which may not be in it yet.
        self._writing = False
        # The future that the agent waits for until `_pending` is empty.
        self._room: asyncio.Future[None] | None = None
        # Whether an event has come since the event loop's last turn, and when its slice began.
        self._in_turn = False
        self._slice = 0.0
        self._last = self._started
        self._timer: asyncio.TimerHandle | None = None

    def usage(self, now: float) -> Usage:
        """See `Answerer.usage`."""
        first = self._first_token
        return replace(
            self._usage,
            first_token_time=None if first is None else round(first - self._started, 6),
            total_time=round(now - self._started, 6),
        )

    def phases(self, request: RunRequest) -> None:
        """See `Answerer.phases`: an agent yields a `Status` itself."""

    async def run(self, request: RunRequest) -> None:
        """Answer the request. Cancelling stops the agent, and waits for it, with a limit.

        Raises:
            AnswerFailed: The agent failed.
        """
        chat = self._make_chat(request)
        yielded = Yielded(self.agent, request.client_tools, chat.state)
        del request
        self._last = self._now()
        driving = asyncio.create_task(
            _Watched(self._drive(chat, yielded), self._tell_long_step),
            name=f"agent {self.agent} {self._run_shown}",
        )
        driving.add_done_callback(lambda _: self._news.set())
        self._watch_silence()
        try:
            await self._write_until_over(driving)
        finally:
            if self._timer:
                self._timer.cancel()
            await self._end(driving, chat)
            self._usage = chat.usage
            self.reason = str(chat.reason)
        if self._failure:
            raise AnswerFailed(self._failure)

    async def _write_until_over(self, driving: asyncio.Task[None]) -> None:
        """Write what waits for the log, until the agent has ended or is to end."""
        while True:
            while self._pending:
                self._writing = True
                await self._log.append(self._take_pending())
                self._writing = False
                self._make_room()
            if self._over or self._closing or driving.done():
                return
            self._news.clear()
            await self._news.wait()

    async def _end(self, driving: asyncio.Task[None], chat: Chat) -> None:
        """See that the agent has ended, or give it up after its time."""
        cancelled: asyncio.CancelledError | None = None
        if not self._closing:
            self._stop(driving)
        until = self._now() + self._stop_time
        while not driving.done() and (left := until - self._now()) > 0:
            try:
                await asyncio.wait({driving}, timeout=left)
            except asyncio.CancelledError as error:  # stopped while the agent was cleaning up
                cancelled = error
                self._stop(driving)
        if not driving.done():
            self._give_up(driving)
        await chat.close()
        if self._pending and self._log.is_free and not self._writing:
            self._log.add(self._take_pending())
        if cancelled:
            raise cancelled

    def _stop(self, driving: asyncio.Task[None]) -> None:
        self._closing = self._stopping = True
        driving.cancel()

    def _give_up(self, driving: asyncio.Task[None]) -> None:
        self._stop(driving)
        thread = ". Its thread goes on until the function returns" if self._agent.in_thread else ""
        logger.error(
            "the agent %s has not ended %g s after its stop (--agent-stop-time), so its run ends"
            " without it%s",
            self.agent,
            self._stop_time,
            thread,
            extra={"run": self._run_shown},
        )
        self._abandon(driving)

    async def _drive(self, chat: Chat, yielded: Yielded) -> None:
        """Iterate the agent; its failure goes to `_failure`."""
        cleaning_up = False
        try:
            async with aclosing(self._agent.answer(chat)) as items:
                try:
                    async for item in items:
                        if self._closing or not self._accept(item, chat, yielded):
                            cleaning_up = True
                            break
                        if self._size > MAX_PENDING or len(self._pending) > MAX_PENDING_EVENTS:
                            await self._wait_for_room()
                        elif self._now() - self._slice > SLICE:
                            await asyncio.sleep(0)
                    else:
                        for payload in yielded.finish():
                            self._write(payload)
                except AnswerFailed as failed:
                    self._failure = self._failure or failed.error
                    cleaning_up = True
                finally:
                    # What follows is the agent's own cleaning up, for which it has a limited time.
                    self._closing = True
                    self._news.set()
        except BaseException as error:
            if self._stopping and isinstance(error, asyncio.CancelledError):
                raise
            if self._stopping or cleaning_up:
                self._log_failure("the agent %s failed while it was cleaning up", error)
            else:
                self._failure = self._failure or self._error_of(error)
            # Also a SystemExit or a KeyboardInterrupt: asyncio would stop the server's event loop.

    def _accept(self, item: object, chat: Chat, yielded: Yielded) -> bool:
        """Write what the agent has yielded; return False if that ends the run."""
        self._last = self._now()
        awaits_client = yielded.calls_client
        for payload in yielded.payloads(item):
            self._write(payload)
        if yielded.calls_client and not awaits_client:
            self._loop.call_later(FURTHER_CALLS, self._end_calls, chat)
        return not yielded.over

    def _end_calls(self, chat: Chat) -> None:
        """End the run, because the agent has made its calls; not while a model may add one."""
        if chat.asks:
            self._loop.call_later(FURTHER_CALLS, self._end_calls, chat)
        else:
            self._over = True
            self._news.set()

    def _write(self, payload: bytes) -> None:
        if self._first_token is None:
            self._first_token = self._last
            self._on_answer()
        if not self._in_turn:
            self._in_turn = True
            self._slice = self._last
            self._loop.call_soon(self._end_turn)
            if not (self._pending or self._writing) and self._log.is_free:
                self._log.add([payload])
                return
        self._pending.append(payload)
        self._size += len(payload)

    def _end_turn(self) -> None:
        """Write what has been collected since the event loop's last turn."""
        self._in_turn = False
        if not self._pending or self._writing:
            return
        if self._log.is_free:
            self._log.add(self._take_pending())
            self._make_room()
        else:
            self._news.set()

    def _take_pending(self) -> list[bytes]:
        pending, self._pending, self._size = self._pending, [], 0
        return pending

    async def _wait_for_room(self) -> None:
        """Wait until everything that was collected is in the log."""
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
            self._last = self._now()

    def _make_room(self) -> None:
        if self._room and not self._room.done():
            self._room.set_result(None)

    def _watch_silence(self) -> None:
        """Fail the agent when it has yielded nothing for too long, unless it waits for the log."""
        if not self._stall_timeout or self._closing:
            return
        now = self._now()
        if self._room:
            self._last = now
        left = self._last + self._stall_timeout - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._watch_silence)
            return
        code = ErrorCode.AGENT_STALLED
        message = f"The agent {self.agent} sent nothing for {self._stall_timeout:g} s."
        self._failure = self._failure or Error(code, message, code.retryable)
        self._over = True
        self._news.set()

    def _error_of(self, error: BaseException) -> Error:
        code = ErrorCode.AGENT_FAILED
        match error:
            case AgentError(message=message, retryable=retryable):
                told = without_lone_surrogates(str(message)[:MAX_MESSAGE])
                return Error(code, told or f"The agent {self.agent} failed.", bool(retryable))
            case RunFailed() if error.code in ErrorCode.__members__.values():
                return Error(error.code, error.message, error.retryable)
            case NotAnAnswer():
                return Error(code, f"The agent {self.agent} {error}.")
        self._log_failure("the agent %s failed", error)
        return Error(code, f"The agent {self.agent} failed; the server's log says why.")

    def _log_failure(self, what: str, error: BaseException) -> None:
        logger.error(what, self.agent, exc_info=error, extra={"run": self._run_shown})

    def _tell_long_step(self, seconds: float) -> None:
        logger.warning(
            "the agent %s blocked the event loop for %.1f s, and nobody else was served meanwhile;"
            " let it await, or make it a plain generator, which runs in a thread",
            self.agent,
            seconds,
            extra={"run": self._run_shown},
        )


class _Watched(Coroutine[Any, Any, None]):
    """A coroutine that tells how long it computes without a pause, if that is long."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], long_step: Callable[[float], object]
    ) -> None:
        self._coroutine = coroutine
        self._long_step = long_step

    def send(self, value: Any) -> Any:
        """See `Coroutine.send`."""
        began = perf_counter()
        try:
            return self._coroutine.send(value)
        finally:
            if (seconds := perf_counter() - began) > LONG_STEP:
                self._long_step(seconds)

    def throw(self, *error: Any) -> Any:
        """See `Coroutine.throw`."""
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """See `Coroutine.close`."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, None]:
        return self._coroutine.__await__()
