"""Turns Ollama's chat chunks into dripline's events. No I/O."""

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
# The largest number that every JSON reader reads exactly.
MAX_COUNT = 2**53
# Tool calls in one message. A model that makes more has lost its way.
MAX_CALLS = 1000
# How many characters of unreadable arguments are passed on.
MAX_UNREADABLE = 10_000


class OllamaAnswer:
    """Ollama's answer in one run so far. With tools it may consist of several messages.

    Args:
        started: The time when the run started, in seconds.
        think_tags: Whether to look for `<think>` tags in the text.
        prompt_words: The prompt has at least this many words; each is one token or more.
        context: How many tokens the request lets the model see; 0 if it does not say.

    Attributes:
        first_token: The time of the first event, in seconds; None before it.
        reason: The `done_reason` of the last complete message.
        tags: Separates the current message's thinking from its text; None once only text follows.
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
        # Random, so that ids differ from those of other answers in the same chat.
        self._calls_name = f"call_{token_hex(4)}"

    def events(self, chunks: Iterable[Chunk], now: float) -> list[Event]:
        """Return the chunks' events, in order; `now` is the time of their arrival, in seconds.

        Raises:
            UpstreamError: A message makes too many tool calls.
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
        """Return the events held back, because the message has ended, and prepare for the next."""
        rest: list[Event] = [*self.tags.rest()] if self.tags else []
        self.tags = ThinkTags() if self._think_tags else None
        return rest

    def forget_tags(self) -> None:
        """Treat tags as text, because Ollama itself separates this model's thinking."""
        self._think_tags, self.tags = False, None

    def _add_message(self, events: list[Event], chunk: dict[str, Any]) -> None:
        """Add the events of a chunk's message. Its log probabilities go to one of them alone."""
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
        events += self.tags.feed(text)
        if self.tags.over:
            self.tags = None

    def _end_tags(self, events: list[Event]) -> None:
        """Add the events held back, because something other than text follows."""
        if self.tags is not None:
            events += self.tags.rest()
            self.tags = None

    def usage(self, now: float) -> Usage:
        """Return the usage up to `now`; counts and loading time cover the complete messages."""
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
        """Read one tool call. Older versions of Ollama send no id, so such calls are numbered."""
        self._calls += 1
        function = typed(call.get("function"), dict) or {}
        arguments, unreadable = tool_arguments(function.get("arguments"))
        return ToolCall(
            id=str(call.get("id") or f"{self._calls_name}_{self._calls}"),
            name=str(function.get("name", "")),
            arguments=arguments,
            unreadable=unreadable,
        )


def tool_arguments(given: object) -> tuple[dict[str, Any], str]:
    """Return a call's arguments; if they are unreadable, return their text as well.

    Ollama sends an object. Servers that imitate it, and models that write JSON into JSON, send a
    string that contains an object.
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
