"""AG-UI 1.0: the protocol of AG-UI clients, such as CopilotKit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from dripline.events import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    Custom,
    End,
    Error,
    Event,
    RemoveButton,
    Start,
    State,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    UiControl,
    UndoChange,
    data_of,
)
from dripline_server.dialects import Json
from dripline_server.dialects.translated import public_name

PROTOCOL_VERSION = "1.0"
# The client's tools that carry out `ui_control`: name -> the arguments that each receives.
UI_TOOLS = {
    "change_theme": {"color"},
    "add_button": {"label", "message"},
    "change_accent": {"color"},
    "change_text_size": {"size"},
    "remove_button": {"label"},
    "undo_change": {"what"},
}
# AG-UI requires a namespace.
UI_CONTROL_EVENT = "dripline.ui_control"


@dataclass(frozen=True, slots=True)
class AguiRun:
    """The facts that an AG-UI client sent about its run.

    Attributes:
        thread_id: Its name of the conversation.
        run_id: Its name of the run; not dripline's.
        protocol_version: What it speaks; "" for clients older than 1.0.
        ui_tools: Those of `UI_TOOLS` that it offers.
    """

    thread_id: str
    run_id: str
    protocol_version: str = ""
    ui_tools: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Block:
    """The events of a block: its start, its content and its end."""

    name: str
    opening: tuple[Json, ...]
    closing: tuple[Json, ...]


class AguiTranslator:
    """Translates a run's events into AG-UI's. Messages and steps never overlap.

    Args:
        run: What the client calls it.
        run_id: dripline's own id of the run; it does not show.
    """

    headers: Mapping[str, str] = {}

    def __init__(self, run: AguiRun, run_id: str) -> None:
        self._run = run
        self._key = public_name(run_id)
        self._started = False
        self._open: _Block | None = None
        self._message_id = ""  # the id of the open block if it is a message
        # The assistant message to which tool calls belong; "" if there is none yet.
        self._parent_id = ""
        # Tool calls without a result, in their order.
        self._pending: dict[str, None] = {}
        self._start = Start("", "", "")
        self._error = Error("internal_error", "The run failed.")

    def translate(self, seq: int, event: Event) -> Iterator[bytes]:
        """See `Translator.translate`."""
        if not self._started:
            self._started = True
            started = self._named({"type": "RUN_STARTED"})
            yield orjson.dumps(started | {"protocolVersion": PROTOCOL_VERSION})
        yield from map(orjson.dumps, self._events(seq, event))

    def _events(self, seq: int, event: Event) -> Iterator[Json]:
        match event:
            case TextMessage(content):
                yield from self._text(seq, content)
            case Thinking(content):
                yield from self._reasoning(seq, content)
            case Start():
                self._start = event
            case Status(phase, model):
                yield from self._switch(_step(f"{phase} {model}".strip()))
            case (
                ChangeTheme()
                | ChangeAccent()
                | ChangeTextSize()
                | AddButton()
                | RemoveButton()
                | UndoChange()
                | State()
                | Custom()
            ):
                yield from self._of_application(seq, event)
            case ToolCall(call_id, name, arguments, unreadable):
                told = unreadable or orjson.dumps(arguments).decode()
                yield from self._tool_call(seq, call_id, name, told)
            case ToolResult():
                yield from self._tool_result(seq, event)
            case Error():
                self._error = event
            case End():
                yield from self._close()
                yield self._end(event)

    def _text(self, seq: int, content: str) -> Iterator[Json]:
        if not content:
            return  # log probabilities alone, for which AG-UI has no place
        if not (self._open and self._open.name == "text"):
            self._message_id = self._parent_id = f"{self._key}-{seq}"
            yield from self._switch(_text(self._message_id))
        yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": self._message_id, "delta": content}

    def _reasoning(self, seq: int, content: str) -> Iterator[Json]:
        if not content:
            return
        if not (self._open and self._open.name == "reasoning"):
            self._message_id = f"{self._key}-{seq}"
            yield from self._switch(_reasoning(self._message_id))
        yield {"type": "REASONING_MESSAGE_CONTENT", "messageId": self._message_id, "delta": content}

    def _of_application(self, seq: int, event: UiControl | State | Custom) -> Iterator[Json]:
        match event:
            case State(value):
                yield from self._close()
                yield {"type": "STATE_SNAPSHOT", "snapshot": value}
            case Custom(name, value):
                yield from self._close()
                yield {"type": "CUSTOM", "name": name, "value": value}
            case _:
                yield from self._ui_control(seq, event)

    def _ui_control(self, seq: int, control: UiControl) -> Iterator[Json]:
        data = orjson.loads(orjson.dumps(data_of(control)))
        action = data["action"]
        if action in self._run.ui_tools:
            arguments = orjson.dumps({name: data[name] for name in UI_TOOLS[action]})
            yield from self._tool_call(seq, f"{self._key}-{seq}-ui", action, arguments.decode())
        else:
            yield from self._close()
            yield {"type": "CUSTOM", "name": UI_CONTROL_EVENT, "value": data}

    def _tool_call(self, seq: int, call_id: str, name: str, arguments: str) -> Iterator[Json]:
        yield from self._close()
        self._parent_id = self._parent_id or f"{self._key}-{seq}"
        self._pending[call_id] = None
        call = {"toolCallId": call_id}
        yield {
            "type": "TOOL_CALL_START",
            **call,
            "toolCallName": name,
            "parentMessageId": self._parent_id,
        }
        yield {"type": "TOOL_CALL_ARGS", **call, "delta": arguments}
        yield {"type": "TOOL_CALL_END", **call}

    def _tool_result(self, seq: int, result: ToolResult) -> Iterator[Json]:
        yield from self._close()
        self._pending.pop(result.id, None)
        self._parent_id = ""  # the model's next events belong to a new message
        event = {
            "type": "TOOL_CALL_RESULT",
            "messageId": f"{self._key}-{seq}",
            "toolCallId": result.id,
            "content": result.content,
            "role": "tool",
        }
        yield event | ({"metadata": {"dripline": {"failed": True}}} if result.failed else {})

    def _end(self, end: End) -> Json:
        usage = {"usage": [self._usage(end)]}
        if end.status == "failed":
            error = {"message": self._error.message, "code": self._error.code}
            return {"type": "RUN_ERROR", **error, **usage}
        cancelled = end.status == "cancelled"
        if cancelled and not self._run.protocol_version:
            # Older clients treat every outcome that they do not know as success.
            return {"type": "RUN_ERROR", "message": "The run was stopped.", "code": "cancelled"}
        event = self._named({"type": "RUN_FINISHED"}) | usage
        if not cancelled:
            event["result"] = {"reason": end.reason}
        if self._run.protocol_version:
            event["outcome"] = {"type": "cancelled"} if cancelled else self._success()
        return event

    def _success(self) -> Json:
        pending = {"pendingToolCallIds": list(self._pending)} if self._pending else {}
        return {"type": "success", **pending}

    def _usage(self, end: End) -> Json:
        counts = {
            "inputTokens": end.usage.prompt_tokens,
            "outputTokens": end.usage.completion_tokens,
        }
        known = {name: count for name, count in counts.items() if count is not None}
        return {"provider": self._start.agent, "model": self._start.model, **known}

    def _named(self, event: Json) -> Json:
        return event | {"threadId": self._run.thread_id, "runId": self._run.run_id}

    def _switch(self, block: _Block) -> Iterator[Json]:
        if self._open and self._open.name == block.name:
            return
        yield from self._close()
        self._open = block
        yield from block.opening

    def _close(self) -> Iterator[Json]:
        if self._open:
            closing, self._open = self._open.closing, None
            yield from closing


def _text(message_id: str) -> _Block:
    named = {"messageId": message_id}
    return _Block(
        "text",
        ({"type": "TEXT_MESSAGE_START", **named, "role": "assistant"},),
        ({"type": "TEXT_MESSAGE_END", **named},),
    )


def _reasoning(message_id: str) -> _Block:
    named = {"messageId": message_id}
    return _Block(
        "reasoning",
        (
            {"type": "REASONING_START", **named},
            {"type": "REASONING_MESSAGE_START", **named, "role": "reasoning"},
        ),
        ({"type": "REASONING_MESSAGE_END", **named}, {"type": "REASONING_END", **named}),
    )


def _step(name: str) -> _Block:
    return _Block(
        f"step {name}",
        ({"type": "STEP_STARTED", "stepName": name},),
        ({"type": "STEP_FINISHED", "stepName": name},),
    )
