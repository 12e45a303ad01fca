"""Ollama's chat chunks -> dripline's events. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Any

import orjson

from dripline.errors import ErrorCode
from dripline.events import Event, TextMessage, Thinking, ToolCall, Usage
from dripline.json_fields import typed
from dripline.json_text import load_json
from dripline.nesting import too_deep
from dripline_server.upstream.chat_chunks import LEVELS_AROUND, Chunk
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.think_tags import ThinkTags

NANOSECONDS = 1_000_000_000
# What every JSON reader takes for the number that it is.
MAX_COUNT = 2**53
# In one message of a model's; one that calls more has gone astray.
MAX_CALLS = 1000
# Of arguments that cannot be read, as many characters are told.
MAX_UNREADABLE = 10_000


class OllamaAnswer:
    """What Ollama has said so far, in one run; with tools that may take several answers.

    Args:
        started: When the run began, in seconds.
        think_tags: Whether `<think>` tags in the text are looked for.
        prompt_words: How many words the prompt has at least; each is one token or more.
        context: How many tokens the model may see, where the request says so; 0 where not.

    Attributes:
        first_token: When the first thing came, in seconds; None before that.
        reason: The `done_reason` of the last answer that is complete.
        tags: Sorts the text of the answer that goes on; None where it is text alone.
    """

    __slots__ = (
        "_calls",
        "_calls_name",
        "_context",
        "_message_calls",
        "_prompt_cut",
        "_prompt_words",
        "_started",
        "_think_tags",
        "_totals",
        "first_token",
        "reason",
        "tags",
    )

    def __init__(
        self,
        started: float,
        *,
        think_tags: bool = False,
        prompt_words: int = 0,
        context: int = 0,
    ) -> None:
        self.reason = ""
        self.tags = ThinkTags() if think_tags else None
        self._think_tags = think_tags
        self._prompt_words = prompt_words
        self._context = context
        self._prompt_cut = False
        self._started = started
        self.first_token: float | None = None
        self._totals: dict[str, int] = {}
        self._calls = 0
        self._message_calls = 0
        # No call of another answer in the same chat has such a name.
        self._calls_name = f"call_{token_hex(4)}"

    def events(self, chunks: Iterable[Chunk], now: float) -> list[Event]:
        """Return what the chunks say, in order; `now` is when they came, in seconds.

        Raises:
            UpstreamError: A message calls more tools than can be meant.
        """
        events: list[Event] = []
        for chunk in chunks:
            if isinstance(chunk, str):
                if chunk:
                    self._add_text(events, TextMessage(chunk))
                continue
            self._add_message(events, chunk)
            if chunk.get("done"):
                events += self.rest()
                self._add_done(chunk)
        if events and self.first_token is None:
            self.first_token = now
        return events

    def rest(self) -> list[Event]:
        """Return what is held back of the answer, because it has ended; the next may begin."""
        rest: list[Event] = [*self.tags.rest()] if self.tags else []
        self.tags = ThinkTags() if self._think_tags else None
        return rest

    def forget_tags(self) -> None:
        """Hear that Ollama itself sees to the model's thinking: tags in its text are text."""
        self._think_tags, self.tags = False, None

    def _add_message(self, events: list[Event], chunk: dict[str, Any]) -> None:
        """Add what the chunk's message says; its log probabilities go with the first of that."""
        message = chunk.get("message") or {}
        logprobs: Any = chunk.get("logprobs")
        if logprobs is not None:
            logprobs = typed(logprobs, list)
        content = message.get("content")
        if thinking := message.get("thinking"):
            self._end_tags(events)
            events.append(Thinking(str(thinking), None if content else logprobs))
            logprobs = logprobs if content else None
        if content:
            self._add_text(events, TextMessage(str(content), logprobs))
        elif logprobs:
            self._add_text(events, TextMessage("", logprobs))
        if calls := message.get("tool_calls"):
            self._end_tags(events)
            events.extend(self._tool_calls(calls))

    def _add_text(self, events: list[Event], text: TextMessage) -> None:
        if self.tags is None:
            events.append(text)
            return
        events += self.tags.take(text)
        if self.tags.over:
            self.tags = None

    def _end_tags(self, events: list[Event]) -> None:
        """Give out what is held back before something that is no text."""
        if self.tags is not None:
            events += self.tags.rest()
            self.tags = None

    def usage(self, now: float) -> Usage:
        """Return what it has cost up to `now`: counts and loading of the complete answers."""
        load, first = self._totals.get("load_duration"), self.first_token
        return Usage(
            prompt_tokens=self._totals.get("prompt_eval_count"),
            completion_tokens=self._totals.get("eval_count"),
            load_time=None if load is None else round(load / NANOSECONDS, 6),
            first_token_time=None if first is None else round(first - self._started, 6),
            total_time=round(now - self._started, 6),
            prompt_cut=self._prompt_cut,
        )

    def _add_done(self, chunk: dict[str, Any]) -> None:
        self.reason = str(chunk.get("done_reason") or "")
        self._message_calls = 0
        if (seen := typed(chunk.get("prompt_eval_count"), int)) is not None and seen > 0:
            self._prompt_cut |= seen < self._prompt_words or 0 < self._context <= seen
        for name in ("load_duration", "prompt_eval_count", "eval_count"):
            value = typed(chunk.get(name), int)
            total = self._totals.get(name, 0) + (value or 0)
            if value is not None and value >= 0 and total <= MAX_COUNT:
                self._totals[name] = total

    def _tool_calls(self, calls: object) -> list[ToolCall]:
        listed = typed(calls, list) or []
        self._message_calls += len(listed)
        if self._message_calls > MAX_CALLS:
            raise UpstreamError(
                ErrorCode.UPSTREAM_GARBAGE,
                f"The model called more than {MAX_CALLS:,} tools at once.",
            )
        return [self._tool_call(typed(call, dict) or {}) for call in listed]

    def _tool_call(self, call: dict[str, Any]) -> ToolCall:
        """Older Ollamas give calls no id; theirs are numbered."""
        self._calls += 1
        function = typed(call.get("function"), dict) or {}
        arguments, unreadable = _arguments(function.get("arguments"))
        return ToolCall(
            id=str(call.get("id") or f"{self._calls_name}_{self._calls}"),
            name=str(function.get("name", "")),
            arguments=arguments,
            unreadable=unreadable,
        )


def _arguments(given: object) -> tuple[dict[str, Any], str]:
    """Return a call's arguments, and what they are where they cannot be read.

    Ollama sends an object. Servers that stand in for it, and models that write JSON into JSON, send
    a string with an object inside.
    """
    value = given
    for _ in range(2):
        if isinstance(value, str) and value.strip():
            try:
                value = load_json(value.encode("utf-8", "replace"))
            except ValueError:
                break
    if type(value) is dict:
        if not (isinstance(given, str) and too_deep(given, value, LEVELS_AROUND)):
            return value, ""
    elif value is None or (isinstance(value, str) and not value.strip()):
        return {}, ""
    told = given if isinstance(given, str) else orjson.dumps(given).decode()
    return {}, told[:MAX_UNREADABLE]
