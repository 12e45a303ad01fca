"""The stream of a chat with Python functions as tools: several runs, shown as one stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

from dripline.answer import Answer
from dripline.chat.chat_stream import ChatStream, OnLeave, ending_of
from dripline.chat.run_stream import LEAVE_TIMEOUT, Requester, RunStream, despite_cancellation
from dripline.chat.transcript import Transcript
from dripline.events import End, Event, Start, ToolCall, ToolResult, Usage
from dripline.tool import Tool
from dripline.tool_runner import ToolRunner, call_key

T = TypeVar("T")

DEFAULT_TOOL_ROUNDS = 8


class ToolChatStream(ChatStream):
    """The stream of a chat with functions; `ChatClient.chat(..., tools=[function])` creates it.

    When a run ends with calls of the functions, the stream calls them one after the other and
    starts the next run with their results. The caller sees each call, each result as a
    `ToolResult`, one `start` and one `end`. `answer` and its usage cover all runs; `run_id` and
    `last_event_id` are those of the current run.

    An exception in a function is logged and sent to the model, which continues. A model must not
    call functions forever: after `max_rounds` requests, or when it repeats a call and gets the same
    result, it is asked once more without the functions, so that it has to answer. The reason of the
    `end` is then "tool_rounds". If the model also calls tools that are not functions, the functions
    are called first; then the stream ends, and the caller must answer the other calls.

    Cancelling a step does not cancel a function: the next step waits for the same call. Leaving the
    stream or calling `stop()` does cancel it if it is a coroutine function; the status of the `end`
    is then "cancelled".

    Attributes:
        messages: The conversation of the latest request, including earlier calls and results.
    """

    def __init__(
        self,
        client: Requester,
        *,
        messages: Sequence[Mapping[str, Any]],
        fields: Mapping[str, Any],
        schemas: Sequence[Mapping[str, Any]],
        functions: Mapping[str, Tool],
        max_rounds: int,
        on_leave: OnLeave,
    ) -> None:
        self.messages: Sequence[Mapping[str, Any]] = messages
        self.answer: Answer = Answer()
        self._client = client
        offered = [*schemas, *(function.schema for function in functions.values())]
        self._fields = {**fields, "tools": offered}
        self._last_fields = {**fields, "tools": list(schemas)}
        self._functions = functions
        self._on_leave: OnLeave = on_leave
        self._runner = ToolRunner()
        self._rounds_left = max_rounds
        self._is_later_run = False
        self._transcript = Transcript()
        # Results by call: those of earlier runs, and those of the current run.
        self._results: dict[bytes, str] = {}
        self._new_results: dict[bytes, str] = {}
        self._usage = Usage()
        self._reconnects = 0  # of the runs before
        self._run = self._next_run()
        # The current run's calls without a result; and, after its end, the functions to call next.
        self._open_calls: dict[str, ToolCall] = {}
        self._to_call: deque[ToolCall] = deque()
        self._ended: End | None = None
        self._work: asyncio.Task[Any] | None = None
        self._sending = False
        self._stopped = False
        self._failure: Exception | None = None

    @property
    def run_id(self) -> str:
        """See `ChatStream`."""
        return self._run.run_id

    @property
    def reconnects(self) -> int:
        """See `ChatStream`."""
        return self._reconnects + self._run.reconnects

    @property
    def last_event_id(self) -> str:
        """See `ChatStream`."""
        return self._run.last_event_id

    async def __aenter__(self) -> Self:
        """See `ChatStream`."""
        await self._run.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See `ChatStream`."""
        try:
            await despite_cancellation(self._settle())
        finally:
            await self._run.__aexit__(kind, error, traceback)

    async def _settle(self) -> None:
        """Cancel the running function, or wait for the id of a run that is being started.

        Without its id, that run could not be stopped.
        """
        if self._work:
            if self._sending:
                await asyncio.wait({self._work}, timeout=LEAVE_TIMEOUT)
            self._work.cancel()
            await asyncio.wait({self._work}, timeout=LEAVE_TIMEOUT)
        await self._runner.close()
        self._failure = self._failure or RuntimeError("the stream has been left")

    async def stop(self) -> None:
        """Stop the run or the function that is active; see `ChatStream.stop`."""
        self._stopped = True
        if self._work and not self._sending:
            self._work.cancel()
        await self._run.stop()

    async def __anext__(self) -> Event:
        """See `ChatStream`."""
        while not self.answer.end:
            if self._failure:
                raise self._failure
            if self._ended:
                event = await self._answer_calls(self._ended)
            else:
                event = self._observe(await anext(self._run))
            if event:
                self.answer.add(event)
                return event
        raise ending_of(self.answer)

    def _observe(self, event: Event) -> Event | None:
        """Note an event of the run and return it; None if the caller must not see it."""
        self._transcript.add(event)
        match event:
            case Start() if self._is_later_run:
                self.answer.add(event)
                return None
            case ToolCall(call_id):
                self._open_calls[call_id] = event
            case ToolResult(call_id):
                self._open_calls.pop(call_id, None)
            case End():
                return self._observe_end(event)
        return event

    def _observe_end(self, end: End) -> Event | None:
        """Return the end, or None if functions must be called first."""
        self._usage += end.usage
        calls = [one for one in self._open_calls.values() if one.name in self._functions]
        if end.status != "completed" or not calls or self._is_last_round:
            return self._last(end)
        self._to_call.extend(calls)
        self._ended = end
        return None

    async def _answer_calls(self, ended: End) -> Event | None:
        """Call the next function, or start the next run."""
        if self._stopped:
            return self._last(End("cancelled"))
        if self._to_call:
            return await self._call_next(self._to_call[0])
        if self._open_calls:
            return self._last(ended)
        self._sending = True
        try:
            await self._keep_at(self._start_next_run)
        except Exception as error:
            self._failure = error  # never sent again: that could start a second run
            raise
        finally:
            self._sending = self._work is not None
        if self._stopped:
            await self._run.stop()
        return None

    async def _call_next(self, call: ToolCall) -> ToolResult | None:
        result = await self._keep_at(lambda: self._runner.call(self._functions[call.name], call))
        if result is None:
            return None
        self._to_call.popleft()
        del self._open_calls[call.id]
        self._transcript.add(result)
        key = call_key(call)
        if self._results.get(key) == result.content:
            self._rounds_left = 0
        self._new_results[key] = result.content
        return result

    async def _start_next_run(self) -> None:
        await self._run.__aexit__(None, None, None)
        self.messages = [*self.messages, *self._transcript.messages]
        self._transcript = Transcript()
        self._results |= self._new_results
        self._new_results = {}
        run = self._next_run()
        await run.__aenter__()
        self._reconnects += self._run.reconnects
        self._run, self._is_later_run, self._ended = run, True, None

    def _next_run(self) -> RunStream:
        self._rounds_left -= 1
        fields = self._last_fields if self._is_last_round else self._fields
        return RunStream(
            self._client, messages=self.messages, fields=fields, on_leave=self._on_leave
        )

    async def _keep_at(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Start the work, or keep waiting if it has been started; None if it was cancelled."""
        if self._work is None:
            self._work = asyncio.create_task(work())
        await asyncio.wait({self._work})
        done, self._work = self._work, None
        return None if done.cancelled() else done.result()

    @property
    def _is_last_round(self) -> bool:
        return self._rounds_left < 0

    def _last(self, end: End) -> End:
        """Return the end that the caller sees, which covers all runs."""
        reason = end.reason
        if self._is_last_round and reason in ("", "stop"):
            reason = "tool_rounds"
        return replace(end, reason=reason, usage=self._usage)
