"""Ollama's chat chunks -> dripline's events. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from dripline.events import Event, TextMessage, Thinking, ToolCall, Usage
from dripline_server.ollama import Chunk

T = TypeVar("T")

NANOSECONDS = 1_000_000_000


class OllamaAnswer:
    """What one answer of Ollama's has said so far.

    Attributes:
        done: Whether Ollama has said that it is complete.
        reason: Its `done_reason`.
    """

    def __init__(self, started: float) -> None:
        self.done = False
        self.reason = ""
        self._started = started
        self._first_token: float | None = None
        self._final: Chunk = {}
        self._calls = 0

    def events(self, chunks: Iterable[Chunk], now: float) -> list[Event]:
        """Return what the chunks say, in order; `now` is when they came, in seconds."""
        events: list[Event] = []
        for chunk in chunks:
            message = chunk.get("message") or {}
            if thinking := message.get("thinking"):
                events.append(Thinking(str(thinking)))
            if content := message.get("content"):
                events.append(TextMessage(str(content), _typed(chunk.get("logprobs"), list)))
            calls = _typed(message.get("tool_calls"), list) or ()
            events.extend(self._tool_call(_typed(call, dict) or {}) for call in calls)
            if chunk.get("done"):
                self.done = True
                self.reason = str(chunk.get("done_reason") or "")
                self._final = chunk
        if events and self._first_token is None:
            self._first_token = now
        return events

    def usage(self, now: float) -> Usage:
        """Return what the answer has cost up to `now`; counts are there once it is done."""
        load, first = _typed(self._final.get("load_duration"), int), self._first_token
        return Usage(
            prompt_tokens=_typed(self._final.get("prompt_eval_count"), int),
            completion_tokens=_typed(self._final.get("eval_count"), int),
            load_time=None if load is None else round(load / NANOSECONDS, 6),
            first_token_time=None if first is None else round(first - self._started, 6),
            total_time=round(now - self._started, 6),
        )

    def _tool_call(self, call: dict[str, Any]) -> ToolCall:
        """Older Ollamas give calls no id; theirs are numbered."""
        self._calls += 1
        function = _typed(call.get("function"), dict) or {}
        return ToolCall(
            id=str(call.get("id") or f"call_{self._calls}"),
            name=str(function.get("name", "")),
            arguments=_typed(function.get("arguments"), dict) or {},
        )


def _typed(value: object, kind: type[T]) -> T | None:
    """Return the value if it is of the kind; a stranger thing from upstream counts as absent."""
    return value if type(value) is kind else None
