"""Ollama's chat chunks -> dripline's events. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Any, TypeVar

from dripline.events import Event, TextMessage, Thinking, ToolCall, Usage
from dripline_server.upstream.chat_chunks import Chunk

T = TypeVar("T")

NANOSECONDS = 1_000_000_000
# What every JSON reader takes for the number that it is.
MAX_COUNT = 2**53


class OllamaAnswer:
    """What Ollama has said so far, in one run; with tools that may take several answers.

    Attributes:
        reason: The `done_reason` of the last answer that is complete.
    """

    __slots__ = ("_calls", "_calls_name", "_first_token", "_started", "_totals", "reason")

    def __init__(self, started: float) -> None:
        self.reason = ""
        self._started = started
        self._first_token: float | None = None
        self._totals: dict[str, int] = {}
        self._calls = 0
        # No call of another answer in the same chat has such a name.
        self._calls_name = f"call_{token_hex(4)}"

    def events(self, chunks: Iterable[Chunk], now: float) -> list[Event]:
        """Return what the chunks say, in order; `now` is when they came, in seconds."""
        events: list[Event] = []
        for chunk in chunks:
            if isinstance(chunk, str):
                if chunk:
                    events.append(TextMessage(chunk))
                continue
            message = chunk.get("message") or {}
            if thinking := message.get("thinking"):
                events.append(Thinking(str(thinking)))
            if content := message.get("content"):
                logprobs = chunk.get("logprobs")
                events.append(
                    TextMessage(str(content), None if logprobs is None else _typed(logprobs, list))
                )
            if calls := message.get("tool_calls"):
                events.extend(self._tool_calls(calls))
            if chunk.get("done"):
                self._add_done(chunk)
        if events and self._first_token is None:
            self._first_token = now
        return events

    def usage(self, now: float) -> Usage:
        """Return what it has cost up to `now`: counts and loading of the complete answers."""
        load, first = self._totals.get("load_duration"), self._first_token
        return Usage(
            prompt_tokens=self._totals.get("prompt_eval_count"),
            completion_tokens=self._totals.get("eval_count"),
            load_time=None if load is None else round(load / NANOSECONDS, 6),
            first_token_time=None if first is None else round(first - self._started, 6),
            total_time=round(now - self._started, 6),
        )

    def _add_done(self, chunk: dict[str, Any]) -> None:
        self.reason = str(chunk.get("done_reason") or "")
        for name in ("load_duration", "prompt_eval_count", "eval_count"):
            value = _typed(chunk.get(name), int)
            total = self._totals.get(name, 0) + (value or 0)
            if value is not None and value >= 0 and total <= MAX_COUNT:
                self._totals[name] = total

    def _tool_calls(self, calls: object) -> list[ToolCall]:
        return [self._tool_call(_typed(call, dict) or {}) for call in _typed(calls, list) or ()]

    def _tool_call(self, call: dict[str, Any]) -> ToolCall:
        """Older Ollamas give calls no id; theirs are numbered."""
        self._calls += 1
        function = _typed(call.get("function"), dict) or {}
        return ToolCall(
            id=str(call.get("id") or f"{self._calls_name}_{self._calls}"),
            name=str(function.get("name", "")),
            arguments=_typed(function.get("arguments"), dict) or {},
        )


def _typed(value: object, kind: type[T]) -> T | None:
    """Return the value if it is of the kind; a stranger thing from upstream counts as absent."""
    return value if type(value) is kind else None
