"""Plain output of the chat for pipes, files, and terminals without escape sequences."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dripline.cli.terminal import answer_lines
from dripline.events import (
    AddButton,
    ChangeTheme,
    Event,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
)
from dripline.visible import PieceWriter, visible, visible_on


class PlainOutput:
    """Writes the conversation unchanged to standard output, and remarks to standard error."""

    def __init__(self) -> None:
        self.unfold = False

    def note(self, text: str) -> None:
        """See `ChatOutput`."""
        sys.stderr.write(visible(text) + "\n")

    def error(self, text: str) -> None:
        """See `ChatOutput`."""
        sys.stderr.write(visible(text) + "\n")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """See `ChatOutput`."""
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            write("  ".join(cells).rstrip() + "\n")

    def question(self, text: str) -> None:
        """See `ChatOutput`."""
        write("".join(f"> {line}\n" for line in text.split("\n")) + "\n")

    def markdown(self, text: str) -> None:
        """See `ChatOutput`."""
        write(text.rstrip("\n") + "\n\n")

    def thinking(self, text: str) -> None:
        """See `ChatOutput`."""
        write(text.rstrip("\n") + "\n\n")

    def answer(self, model: str) -> PlainAnswer:
        """See `ChatOutput`."""
        return PlainAnswer(self)


class PlainAnswer:
    """Writes the text while it arrives, and a line for each other event."""

    def __init__(self, output: PlainOutput) -> None:
        self.drops: int = 0
        self._output = output
        self._writer = PieceWriter(sys.stdout)

    def show(self, event: Event) -> None:
        """See `AnswerView`."""
        match event:
            case TextMessage(content):
                self._writer.write(content)
            case Thinking(content) if self._output.unfold:
                self._writer.write(content)
            case ChangeTheme():
                self._line(answer_lines.theme_line(event))
            case ToolCall():
                self._line(answer_lines.call_line(event))
            case ToolResult():
                self._line(answer_lines.result_line(event))

    def button(self, number: int, button: AddButton) -> None:
        """See `AnswerView`."""
        self._line(answer_lines.button_line(number, button))

    def dropped(self) -> None:
        """See `AnswerView`."""
        self.drops += 1

    def toggle_thinking(self) -> None:
        """See `AnswerView`."""
        self._output.unfold = not self._output.unfold

    def paint(self) -> None:
        """See `AnswerView`."""

    def close(self) -> None:
        """See `AnswerView`."""
        self._writer.close()
        write("\n\n" if self._writer.line_is_open else "\n")

    def _line(self, text: str) -> None:
        self._writer.write(("\n" if self._writer.line_is_open else "") + text + "\n")


def write(text: str) -> None:
    """Write to standard output without delay."""
    sys.stdout.write(visible_on(sys.stdout, text))
    sys.stdout.flush()
