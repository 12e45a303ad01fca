"""A chat whose tools are Python functions: several runs, which its loop sees as one stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

from dripline.chat.chat_stream import (
    LEAVE_TIMEOUT,
    ChatStream,
    OnLeave,
    Requester,
    despite_cancellation,
)
from dripline.chat.transcript import Transcript
from dripline.events import End, Event, Start, ToolCall, ToolResult, Usage
from dripline.http.backoff import Attempts
from dripline.sse import ServerSentEvent
from dripline.tool import ClientTool

T = TypeVar("T")

DEFAULT_TOOL_ROUNDS = 8


class ToolChatStream(ChatStream):
    """The stream of a chat with functions; made by `ChatClient.chat(..., tools=[function])`.

    When a run has ended in calls of the functions, they are called one after the other, and the
    next run is started with what they gave. The loop sees each call, each result as a `ToolResult`,
    one `start` and one `end`; `answer` is all runs together, with the usage of all of them.
    `run_id` and `last_event_id` are those of the run that goes on.

    An exception in a function is logged and told to the model, which goes on. After `max_rounds`
    requests the model is asked once more without the functions, so that it answers; the reason of
    the `end` is "tool_rounds" then. Where it calls other tools of the request too, the functions
    are called first, and the `end` comes: those are for the caller to answer.

    A step that is cancelled does not cancel a function: the next step waits for the same call.
    Leaving the stream and `stop()` do, where it is a coroutine function; `end` is "cancelled" then.

    Attributes:
        messages: The conversation that was sent last, with the calls and the results before.
    """

    def __init__(
        self,
        client: Requester,
        *,
        messages: Sequence[Mapping[str, Any]],
        fields: Mapping[str, Any],
        schemas: Sequence[Mapping[str, Any]],
        functions: Mapping[str, ClientTool],
        max_rounds: int,
        on_leave: OnLeave,
    ) -> None:
        offered = [*schemas, *(function.schema for function in functions.values())]
        super().__init__(
            client, messages=messages, fields={**fields, "tools": offered}, on_leave=on_leave
        )
        self._last_fields = {**fields, "tools": list(schemas)}
        self._functions = functions
        self._rounds_left = max_rounds - 1
        self._run = 1
        self._transcript = Transcript()
        self._usage = Usage()
        # Of the run: the calls without a result. Once it has ended: what is to be done, then.
        self._open_calls: dict[str, ToolCall] = {}
        self._to_call: deque[ToolCall] = deque()
        self._ended: End | None = None
        self._work: asyncio.Task[Any] | None = None
        self._sending = False
        self._stopped = False
        self._failure: Exception | None = None

    async def stop(self) -> None:
        """Stop whatever goes on: the run, or the function; see `ChatStream.stop`."""
        self._stopped = True
        if self._work and not self._sending:
            self._work.cancel()
        await super().stop()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await despite_cancellation(self._settle())
        finally:
            await super().__aexit__(kind, error, traceback)

    async def _settle(self) -> None:
        """End the function that goes on; a request that goes on gets its run's name, to stop it."""
        if self._work is None:
            return
        if self._sending:
            await asyncio.wait({self._work}, timeout=LEAVE_TIMEOUT)
        self._work.cancel()
        await asyncio.wait({self._work}, timeout=LEAVE_TIMEOUT)

    async def _step(self) -> Event | None:
        if self._failure:
            raise self._failure
        return await self._go_on(self._ended) if self._ended else await super()._step()

    def _take(self, message: ServerSentEvent) -> Event | None:
        event = super()._take(message)
        if event:
            self._transcript.add(event)
        match event:
            case Start() if self._run > 1:
                return None
            case ToolCall(call_id):
                self._open_calls[call_id] = event
            case ToolResult(call_id):
                self._open_calls.pop(call_id, None)
            case End():
                return self._take_end(event)
        return event

    def _take_end(self, end: End) -> Event | None:
        """Return the end, unless functions are to be called first."""
        self._usage += end.usage
        calls = [one for one in self._open_calls.values() if one.name in self._functions]
        if end.status != "completed" or not calls or self._is_last_round:
            return self._finish(end)
        self._to_call.extend(calls)
        self._received = iter(())  # Nothing of a run comes after its end.
        self._ended, self._over, self.answer.end = end, False, None
        return None

    async def _go_on(self, ended: End) -> Event | None:
        """Call the next function, or start the next run."""
        if self._stopped:
            return self._finish(End("cancelled"))
        if self._to_call:
            return await self._call_next(self._to_call[0])
        if self._open_calls:
            return self._finish(ended)
        self._sending = True
        try:
            await self._keep_at(self._start_next_run)
        except Exception as error:
            self._failure = error  # sending it again could start two runs
            raise
        finally:
            self._sending = self._work is not None
        if self._stopped:
            await super().stop()
        return None

    async def _call_next(self, call: ToolCall) -> ToolResult | None:
        result = await self._keep_at(lambda: self._functions[call.name].call(call))
        if result is None:
            if not self._stopped:
                self._failure = RuntimeError(f"the tool {call.name} was cancelled")
            return None
        self._to_call.popleft()
        del self._open_calls[call.id]
        self.answer.add(result)
        self._transcript.add(result)
        return result

    async def _start_next_run(self) -> None:
        self.messages = [*self.messages, *self._transcript.messages]
        self._transcript = Transcript()
        self._run += 1
        self._rounds_left -= 1
        self._disconnect()
        self._seq = 0
        self._attempts = Attempts(self._client.backoff)
        await self._send(self._last_fields if self._is_last_round else self._fields)
        self._ended = None

    async def _keep_at(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Do some work, or go on waiting for it; None where it was cancelled."""
        if self._work is None:
            self._work = asyncio.create_task(work())
        await asyncio.wait({self._work})
        done, self._work = self._work, None
        return None if done.cancelled() else done.result()

    @property
    def _is_last_round(self) -> bool:
        return self._rounds_left < 0

    def _finish(self, end: End) -> End:
        if self._is_last_round and end.reason in ("", "stop"):
            end = replace(end, reason="tool_rounds")
        end = replace(end, usage=self._usage)
        self._over, self.answer.end = True, end
        return end
