"""Short lines about an answer, in addition to its text."""

from __future__ import annotations

import orjson

from dripline.answer import Answer
from dripline.events import AddButton, ChangeTheme, ToolCall, ToolResult
from dripline.visible import visible

_MAX_LINE = 120


def theme_line(event: ChangeTheme) -> str:
    """Describe the change of colour."""
    return f"the colour is now {visible(event.color)}"


def button_line(number: int, button: AddButton) -> str:
    """Show a button and the number to type for it."""
    return f"[{number}] {one_line(button.label)}"


def call_line(call: ToolCall) -> str:
    """Describe a tool call with its arguments."""
    arguments = orjson.dumps(call.arguments).decode()
    return one_line(f"{call.name} {arguments}")


def result_line(result: ToolResult) -> str:
    """Describe the result of a tool."""
    outcome = "failed: " if result.failed else ""
    return one_line(f"{result.name}: {outcome}{result.content}")


def figures_line(answer: Answer, *, seconds: float, first: float | None, drops: int) -> str:
    """Describe an answer's usage, and how it ended if it did not end normally.

    Args:
        answer: The answer, as far as it came.
        seconds: From the question to the end, by our own clock.
        first: From the question to the first piece of text or thinking; None where none came.
        drops: How many times the connection was lost and the stream resumed.
    """
    end, parts = answer.end, []
    if end is None or end.status != "completed":
        parts.append("stopped" if end and end.status == "cancelled" else "not complete")
    elif end.reason == "length":
        parts.append("cut off at the token limit")
    if end and (count := end.usage.completion_tokens):
        parts.append(f"{count} token{'s' * (count != 1)}")
        writing = (end.usage.total_time or seconds) - (end.usage.first_token_time or first or 0.0)
        if count > 1 and writing > 0:
            parts.append(f"{(count - 1) / writing:.1f} tokens/s")
    if first is not None:
        parts.append(f"first after {first:.2f} s")
    parts.append(f"{seconds:.1f} s in all")
    if drops:
        parts.append("resumed " + ("once" if drops == 1 else f"{drops} times"))
    if answer.model:
        parts.append(visible(answer.model))
    return " · ".join(parts)


def one_line(text: str) -> str:
    """Return a text as one line of limited length."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= _MAX_LINE else f"{line[: _MAX_LINE - 1]}…"
