"""The UI message stream, version 1: the protocol of the AI SDK's `useChat`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import orjson

from dripline.events import (
    AddButton,
    ChangeTheme,
    Custom,
    End,
    Error,
    Event,
    Start,
    State,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    UiControl,
    data_of,
)
from dripline.tool import why_unreadable
from dripline_server.dialects import Json
from dripline_server.dialects.translated import public_name

DONE = b"[DONE]"

# Ollama's `done_reason` -> the SDK's; "other" for all that the SDK does not know.
_REASONS = {"stop": "stop", "length": "length"}


class UiMessageTranslator:
    """Translates a run's events into chunks of one UI message.

    Args:
        message_id: The id of the message; if it continues an earlier one, that one's.
        run_id: dripline's own id of the run; it does not show.
        before: The chunks of what the message had before this run, for readers that have nothing.
    """

    headers: Mapping[str, str] = {"x-vercel-ai-ui-message-stream": "v1"}

    def __init__(self, message_id: str, run_id: str, before: Sequence[Json] = ()) -> None:
        self._message_id = message_id
        self._before = before
        self._key = public_name(run_id)
        self._started = False
        # The open part: "text" or "reasoning", and its id.
        self._open: tuple[str, str] | None = None
        self._step_over = False
        self._pending: set[str] = set()
        self._error: Error | None = None

    def translate(self, seq: int, event: Event) -> Iterator[bytes]:
        """See `Translator.translate`."""
        if not self._started:
            self._started = True
            yield orjson.dumps({"type": "start", "messageId": self._message_id})
            yield from map(orjson.dumps, self._before)
            yield orjson.dumps({"type": "start-step"})
        yield from map(orjson.dumps, self._chunks(seq, event))
        if isinstance(event, End):
            yield DONE

    def _chunks(self, seq: int, event: Event) -> Iterator[Json]:
        match event:
            case TextMessage(content):
                yield from self._content("text", seq, content)
            case Thinking(content):
                yield from self._content("reasoning", seq, content)
            case Start(_, _, model):
                yield {"type": "message-metadata", "messageMetadata": {"model": model}}
            case Status() | ChangeTheme() | AddButton() | State() | Custom():
                yield self._data(seq, event)
            case ToolCall():
                yield from self._tool_call(event)
            case ToolResult():
                yield from self._tool_result(event)
            case Error():
                self._error = event
            case End():
                yield from self._end(event)

    def _data(self, seq: int, event: Status | UiControl | State | Custom) -> Json:
        """Return a part of the application's own, which the SDK passes to `onData`."""
        own = {"id": f"{self._key}-{seq}"}
        match event:
            case Status():
                # Transient: the SDK does not add it to the message.
                return {"type": "data-status", "data": data_of(event), "transient": True}
            case State(value):
                # One id, so that each state replaces the one before it in the message.
                return {"type": "data-state", "id": f"{self._key}-state", "data": value}
            case Custom(name, value):
                return {"type": f"data-{name}", **own, "data": value}
            case _:
                return {"type": "data-ui-control", **own, "data": data_of(event)}

    def _content(self, kind: str, seq: int, content: str) -> Iterator[Json]:
        if not content:
            return  # log probabilities alone, for which the SDK has no place
        if not (self._open and self._open[0] == kind):
            yield from self._close()
            yield from self._next_step()
            self._open = (kind, f"{kind}-{seq}")
            yield {"type": f"{kind}-start", "id": self._open[1]}
        yield {"type": f"{kind}-delta", "id": self._open[1], "delta": content}

    def _tool_call(self, call: ToolCall) -> Iterator[Json]:
        yield from self._close()
        yield from self._next_step()
        named = {"toolCallId": call.id, "toolName": call.name}
        yield {"type": "tool-input-start", **named}
        if wrong := why_unreadable(call):
            error = {"input": call.unreadable, "errorText": wrong}
            yield {"type": "tool-input-error", **named, **error}
            return
        self._pending.add(call.id)
        yield {"type": "tool-input-available", **named, "input": call.arguments}

    def _tool_result(self, result: ToolResult) -> Iterator[Json]:
        yield from self._close()
        self._pending.discard(result.id)
        self._step_over = True
        if result.failed:
            outcome = {"type": "tool-output-error", "errorText": result.content}
        else:
            outcome = {"type": "tool-output-available", "output": result.content}
        yield {**outcome, "toolCallId": result.id}

    def _next_step(self) -> Iterator[Json]:
        """Start another step when the model continues after tool results."""
        if self._step_over:
            self._step_over = False
            yield {"type": "finish-step"}
            yield {"type": "start-step"}

    def _end(self, end: End) -> Iterator[Json]:
        yield from self._close()
        yield {"type": "finish-step"}
        about: Json = {"status": end.status, "reason": end.reason, "usage": end.usage}
        if end.status == "completed":
            yield {
                "type": "finish",
                "finishReason": self._finish_reason(end.reason),
                "messageMetadata": about,
            }
            return
        if self._error:
            about["error"] = {"code": self._error.code, "retryable": self._error.retryable}
        # Before the chunk that ends it for the client.
        yield {"type": "message-metadata", "messageMetadata": about}
        if end.status == "cancelled":
            yield {"type": "abort", "reason": "The run was stopped."}
        else:
            yield {
                "type": "error",
                "errorText": self._error.message if self._error else "The run failed.",
            }

    def _finish_reason(self, reason: str) -> str:
        if self._pending:
            return "tool-calls"
        return _REASONS.get(reason, "other")

    def _close(self) -> Iterator[Json]:
        if self._open:
            (kind, part_id), self._open = self._open, None
            yield {"type": f"{kind}-end", "id": part_id}
