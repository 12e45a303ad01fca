"""Output of the chat on a terminal, with Markdown, colours and lines that update."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console, ConsoleDimensions
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dripline.cli.terminal.live_answer import LiveAnswer
from dripline.cli.terminal.markdown_blocks import BlockSplitter
from dripline.cli.terminal.markdown_lines import draw, lines_of
from dripline.visible import visible


class _TerminalConsole(Console):
    """A console of its terminal's size.

    rich's own takes COLUMNS and LINES where they are exported, and sees no new size then.
    """

    @property  # type: ignore[misc]  # nobody sets it
    def size(self) -> ConsoleDimensions:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The terminal's size now; what rich believes where there is none that knows it."""
        try:
            size = os.get_terminal_size(self.file.fileno())
        except OSError:
            return super().size
        return ConsoleDimensions(*size) if all(size) else super().size


def terminal_console() -> Console:
    """Return the console of the terminal that the chat runs in."""
    return _TerminalConsole(highlight=False)


class RichOutput:
    """Writes everything to one console; text outside the conversation is dimmed."""

    def __init__(self, console: Console) -> None:
        self.unfold = False
        self._console = console

    def note(self, text: str) -> None:
        """See `ChatOutput`."""
        self._console.print(Text(visible(text), "dim"))

    def error(self, text: str) -> None:
        """See `ChatOutput`."""
        self._console.print(Text(visible(text), "red"))

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """See `ChatOutput`."""
        table = Table.grid(padding=(0, 2, 0, 0))
        for row in rows:
            first, *others = (visible(cell) for cell in row)
            table.add_row(Text(first), *(Text(cell, "dim") for cell in others))
        self._console.print(table)

    def question(self, text: str) -> None:
        """See `ChatOutput`."""
        self._console.print(Text(f"> {visible(text)}", "bold"))

    def markdown(self, text: str) -> None:
        """See `ChatOutput`."""
        for index, block in enumerate(BlockSplitter(visible(text)).close()):
            gap = [""] if index and not block.joined else []
            for line in gap + lines_of(self._console, draw(block)):
                self._console.file.write(line + "\n")
        self._console.print()

    def thinking(self, text: str) -> None:
        """See `ChatOutput`."""
        self._console.print(Padding(Text(visible(text).strip(), "dim italic"), (0, 0, 1, 2)))

    def answer(self, model: str) -> LiveAnswer:
        """See `ChatOutput`."""
        return LiveAnswer(self._console, self, model, clock=time.monotonic)
