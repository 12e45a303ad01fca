"""Blocks of Markdown as lines for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from dripline.cli.terminal.markdown_blocks import Block

# The terminal's own colours, on its own background: right in the dark and in the light.
CODE_THEME = "ansi_dark"


class _LeftHeading(Heading):
    """A heading at the left: what streams should not jump to the middle."""

    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _BlockMarkdown(Markdown):
    """Draws tokens, in place of a text; links are written out: what one sees is where they lead."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _LeftHeading,
    }

    def __init__(self, block: Block) -> None:
        super().__init__("", code_theme=CODE_THEME, hyperlinks=False)
        self.parsed = list(block.tokens)


def draw(block: Block) -> RenderableType:
    """Return a block for rich to draw."""
    return _draw_code(block, *block.code) if block.code else _BlockMarkdown(block)


def lines_of(console: Console, content: RenderableType, *, keep_empty: bool = False) -> list[str]:
    """Return what rich draws as lines, each with its own escape sequences and no line end.

    Empty lines around it are left out, but for code, where each line counts.
    """
    # One column stays free: a terminal that waits at its edge is in no state to erase a line.
    with console.capture() as captured:
        console.print(content, width=max(1, console.width - 1))
    lines = [line.rstrip(" ") for line in captured.get().split("\n")[:-1]]
    if keep_empty:
        return lines
    while lines and not lines[-1].strip():
        lines.pop()
    while lines and not lines[0].strip():
        lines.pop(0)
    return lines


def _draw_code(block: Block, start: int, end: int) -> RenderableType:
    """Return lines of a fence; all of its code is read, because a colour can depend on it all."""
    fence = block.tokens[0]
    language = fence.info.strip().partition(" ")[0] or "text"
    syntax = Syntax(fence.content, language, theme=CODE_THEME, background_color="default")
    code = syntax.highlight(fence.content.removesuffix("\n"))
    lines: Sequence[Text] = code.split("\n", allow_blank=True)[start:end]
    return Padding(Group(*lines), (0, 0, 0, 2))
