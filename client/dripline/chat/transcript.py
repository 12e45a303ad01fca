"""What a model said and what its tools gave -> the messages that tell it so in the next request."""

from __future__ import annotations

from typing import Any

from dripline.events import Event, TextMessage, Thinking, ToolCall, ToolResult

# In characters, of one message's text and of its thinking: far beyond what a model can read again.
MAX_KEPT = 8 * 1024 * 1024


class Transcript:
    """The messages that a run's events amount to, in Ollama's form.

    A message of the assistant's holds its text, its thinking and its calls; each result is a
    message of the tool's. After results a new message of the assistant's begins.
    """

    __slots__ = ("_calls", "_messages", "_text", "_thinking")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._text = _Pieces()
        self._thinking = _Pieces()
        self._calls: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Take the next event; those that say nothing to a model are passed over."""
        match event:
            case TextMessage(content):
                self.add_text(content)
            case Thinking(content):
                self._thinking.add(content)
            case ToolCall(call_id, name, arguments):
                function = {"name": name, "arguments": arguments}
                self._calls.append({"id": call_id, "function": function})
            case ToolResult(call_id, name, content):
                self._close()
                told = {"role": "tool", "tool_name": name, "tool_call_id": call_id}
                self._messages.append({**told, "content": content})

    def add_text(self, text: str) -> None:
        """Take text of the assistant's: that of any number of events that follow each other."""
        self._text.add(text)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages so far."""
        self._close()
        return list(self._messages)

    def _close(self) -> None:
        """Make a message of what the assistant has said since the last one."""
        text, thinking, calls = self._text.take(), self._thinking.take(), self._calls
        if not (text or thinking or calls):
            return
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if calls:
            message["tool_calls"] = calls
        self._messages.append(message)
        self._calls = []


class _Pieces:
    """A growing text; what is beyond the bound is left out."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def add(self, piece: str) -> None:
        if self._size < MAX_KEPT:
            self._pieces.append(piece)
            self._size += len(piece)

    def take(self) -> str:
        text = "".join(self._pieces)
        self._pieces, self._size = [], 0
        return text
