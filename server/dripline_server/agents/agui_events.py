"""AG-UI's own event objects as dripline's events, so that every dialect can send them.

AG-UI's framing has no events here: the run begins and ends by itself, and each dialect opens and
closes its messages. Reasoning that is encrypted, activities, subagents and raw events of other
programs say nothing to a reader of another dialect, and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jsonpatch
import orjson
from ag_ui.core import (
    BaseEvent,
    CustomEvent,
    ReasoningMessageChunkEvent,
    ReasoningMessageContentEvent,
    RunErrorEvent,
    StateDeltaEvent,
    StateSnapshotEvent,
    StepStartedEvent,
    TextMessageChunkEvent,
    TextMessageContentEvent,
    ToolCallArgsEvent,
    ToolCallChunkEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
)

from dripline.errors import ErrorCode
from dripline.events import (
    Custom,
    Error,
    Event,
    State,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
)
from dripline_server.runs.run_request import AnswerFailed

# The longest arguments of one tool call, in characters.
MAX_ARGUMENTS = 4 * 1024 * 1024


class AguiEvents:
    """Converts one agent's AG-UI events, in their order.

    Args:
        failed: Returns the exception for a mistake of the agent's.
        state: The application's state at the start, to which deltas apply.
    """

    def __init__(self, failed: Callable[[str], AnswerFailed], state: Any = None) -> None:
        self._failed = failed
        self._state = state
        # The open tool calls: the name and the pieces of the arguments, by id.
        self._calls: dict[str, tuple[str, list[str]]] = {}
        self._names: dict[str, str] = {}
        # The call that chunks belong to, which ends with the first other event.
        self._chunked = ""

    def events(self, event: BaseEvent) -> Iterator[Event]:
        """Yield the events for one of AG-UI's.

        Raises:
            AnswerFailed: It does not fit those before it, or it says that the run has failed.
        """
        if self._chunked and not isinstance(event, ToolCallChunkEvent):
            yield from self._end_chunks()
        match event:
            case TextMessageContentEvent(delta=str(text)) | TextMessageChunkEvent(delta=str(text)):
                yield TextMessage(text)
            case (
                ReasoningMessageContentEvent(delta=str(text))
                | ReasoningMessageChunkEvent(delta=str(text))
            ):
                yield Thinking(text)
            case ToolCallStartEvent() | ToolCallArgsEvent() | ToolCallEndEvent():
                yield from self._part_of_call(event)
            case ToolCallChunkEvent():
                yield from self._chunk(event)
            case ToolCallResultEvent():
                name = self._names.get(event.tool_call_id, "")
                yield ToolResult(event.tool_call_id, name, _text_of(event.content))
            case RunErrorEvent():
                raise AnswerFailed(Error(ErrorCode.AGENT_FAILED, event.message))
            case _:
                yield from self._about_application(event)

    def _about_application(self, event: BaseEvent) -> Iterator[Event]:
        match event:
            case StateSnapshotEvent() | StateDeltaEvent():
                yield self._new_state(event)
            case CustomEvent():
                yield Custom(event.name, event.value)
            case StepStartedEvent():
                yield Status(event.step_name)

    def _part_of_call(
        self, event: ToolCallStartEvent | ToolCallArgsEvent | ToolCallEndEvent
    ) -> Iterator[Event]:
        match event:
            case ToolCallStartEvent():
                self._start_call(event.tool_call_id, event.tool_call_name)
            case ToolCallArgsEvent():
                self._add_arguments(event.tool_call_id, event.delta)
            case ToolCallEndEvent():
                yield self._end_call(event.tool_call_id)

    def end(self) -> Iterator[Event]:
        """Yield the events that are still open when the agent returns."""
        yield from self._end_chunks()

    def _chunk(self, event: ToolCallChunkEvent) -> Iterator[Event]:
        if event.tool_call_id and event.tool_call_id != self._chunked:
            yield from self._end_chunks()
            self._start_call(event.tool_call_id, event.tool_call_name or "")
            self._chunked = event.tool_call_id
        self._add_arguments(self._chunked, event.delta or "")

    def _end_chunks(self) -> Iterator[Event]:
        chunked, self._chunked = self._chunked, ""
        if chunked:
            yield self._end_call(chunked)

    def _start_call(self, call_id: str, name: str) -> None:
        self._calls[call_id] = (name, [])
        self._names[call_id] = name

    def _add_arguments(self, call_id: str, delta: str) -> None:
        _, pieces = self._open_call(call_id)
        pieces.append(delta)
        if sum(map(len, pieces)) > MAX_ARGUMENTS:
            raise self._failed(f"yielded more than {MAX_ARGUMENTS:,} characters of arguments")

    def _end_call(self, call_id: str) -> ToolCall:
        name, pieces = self._open_call(call_id)
        del self._calls[call_id]
        text = "".join(pieces)
        try:
            arguments = orjson.loads(text) if text.strip() else {}
        except orjson.JSONDecodeError:
            arguments = None
        if isinstance(arguments, dict):
            return ToolCall(call_id, name, arguments)
        return ToolCall(call_id, name, {}, unreadable=text)

    def _open_call(self, call_id: str) -> tuple[str, list[str]]:
        try:
            return self._calls[call_id]
        except KeyError:
            raise self._failed(
                f"yielded a part of the tool call {call_id!r}, which is not open"
            ) from None

    def _new_state(self, event: StateSnapshotEvent | StateDeltaEvent) -> State:
        if isinstance(event, StateSnapshotEvent):
            self._state = event.snapshot
            return State(self._state)
        patch = [one.model_dump(by_alias=True, exclude_unset=True) for one in event.delta]
        try:
            self._state = jsonpatch.apply_patch(self._state, orjson.dumps(patch).decode())
        except Exception as error:
            raise self._failed(
                f"yielded a STATE_DELTA that does not fit its state: {error}"
            ) from error
        return State(self._state)


def _text_of(content: object) -> str:
    """Return a result's text; the parts of a list that are not text have no place in others."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(text for part in parts if isinstance(text := getattr(part, "text", None), str))
