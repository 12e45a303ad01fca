"""Tools that change the page: a model can use them for wordings that the rules do not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from dripline.events import AddButton, ChangeTheme, UiControl
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
        color: A CSS colour name such as lightgreen, or #RRGGBB.
    """
    if value := parse_color(color):
        return ChangeTheme(value)
    raise ToolError(f"color: {color[:80]!r} is not a colour; use a CSS colour name or #RRGGBB")


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


@cache
def page_tools() -> tuple[UiTool, ...]:
    """Return the page's tools. The first call builds them, which takes 0.05 s of CPU time."""
    return UiTool(change_theme), UiTool(add_button)
