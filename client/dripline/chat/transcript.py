"""Turn the events of a run into messages, to be sent to the model with the next request."""

from __future__ import annotations

from typing import Any

from dripline.events import Event, TextMessage, Thinking, ToolCall, ToolResult

# The limit in characters for a message's text, and for its thinking; far more than fits into any
# model's context.
MAX_KEPT = 8 * 1024 * 1024


class Transcript:
    """Collects a run's events as messages in Ollama's form.

    An assistant message has text, thinking and tool calls. Each tool result is a message of its
    own, and a new assistant message begins after it.
    """

    __slots__ = ("_calls", "_messages", "_text", "_thinking")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._text = _Pieces()
        self._thinking = _Pieces()
        self._calls: list[dict[str, Any]] = []

    def add(self, event: Event) -> None:
        """Add the next event; events that do not concern the model are ignored."""
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
        """Add text of the assistant, from one event or from several in a row."""
        self._text.add(text)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages so far."""
        self._close()
        return list(self._messages)

    def _close(self) -> None:
        """Add a message with everything that the assistant sent since the last one."""
        text, thinking, calls = self._text.drain(), self._thinking.drain(), self._calls
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
    """A growing text; pieces beyond `MAX_KEPT` characters are dropped."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def add(self, piece: str) -> None:
        if self._size < MAX_KEPT:
            self._pieces.append(piece)
            self._size += len(piece)

    def drain(self) -> str:
        text = "".join(self._pieces)
        self._pieces, self._size = [], 0
        return text
