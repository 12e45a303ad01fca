"""Tools that change the page: a model can use them for wordings that the rules do not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from dripline.events import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    RemoveButton,
    TextSize,
    UiControl,
    UndoChange,
    Undone,
)
from dripline.tool import Tool, ToolError
from dripline_server.tools.ui_values import (
    MAX_LABEL,
    MAX_MESSAGE,
    parse_color,
    parse_label,
    parse_message,
)


class UiTool(Tool):
    """A tool whose call becomes a `ui_control` event. It never waits."""

    def __init__(self, function: Callable[..., UiControl]) -> None:
        super().__init__(function)

    def control(self, arguments: Mapping[str, Any]) -> UiControl:
        """Return the change of the page.

        Raises:
            ToolError: The arguments are invalid.
        """
        control: UiControl = self.function(**self.check(arguments))
        return control


def change_theme(color: str) -> ChangeTheme:
    """Change the colour of the page that the user sees.

    Args:
        color: A CSS colour name such as lightgreen, or #RRGGBB; black for a dark page, white for a
            light one.
    """
    return ChangeTheme(_color(color))


def change_accent(color: str) -> ChangeAccent:
    """Change only the colour of links and buttons on the page that the user sees.

    Args:
        color: A CSS colour name such as teal, or #RRGGBB.
    """
    return ChangeAccent(_color(color))


def change_text_size(size: TextSize) -> ChangeTextSize:
    """Change the size of the text on the page that the user sees.

    Args:
        size: "larger" or "smaller" by one step, or "normal".
    """
    return ChangeTextSize(size)


def add_button(label: str, message: str = "") -> AddButton:
    """Add a button to the page that the user sees; pressing it sends a message as the user.

    Args:
        label: The words on the button.
        message: What pressing it sends; by default the label.
    """
    words, sent = parse_label(label), parse_message(message or label)
    if words is None:
        raise ToolError(f"label: should be words on one line, at most {MAX_LABEL} characters")
    if sent is None:
        raise ToolError(f"message: should be words on one line, at most {MAX_MESSAGE} characters")
    return AddButton(words, sent)


def remove_button(label: str) -> RemoveButton:
    """Remove a button that was added to the page.

    Args:
        label: The words on the button.
    """
    if words := parse_label(label):
        return RemoveButton(words)
    raise ToolError(f"label: should be words on one line, at most {MAX_LABEL} characters")


def undo_change(what: Undone = "last") -> UndoChange:
    """Undo changes of the page: its colours, the size of its text, its buttons.

    Args:
        what: "last" for the newest change, "all" for the page as it was at first.
    """
    return UndoChange(what)


def _color(text: str) -> str:
    if value := parse_color(text):
        return value
    raise ToolError(f"color: {text[:80]!r} is not a colour; use a CSS colour name or #RRGGBB")


@cache
def page_tools() -> tuple[UiTool, ...]:
    """Return the page's tools. The first call builds them, which takes 0.1 s of CPU time."""
    functions: tuple[Callable[..., UiControl], ...] = (
        change_theme,
        add_button,
        change_accent,
        change_text_size,
        remove_button,
        undo_change,
    )
    return tuple(map(UiTool, functions))
