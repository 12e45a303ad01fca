"""Draw at the bottom of the terminal: lines that stay, and below them a few that change.

What stays is written once and belongs to the terminal's scrollback. The live lines are the last
ones on the screen and are written over in place. rich.Live does nearly that, but it shows the first
lines of what is too high, and it does not know what a new width has done to its lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile

from rich.cells import chop_cells
from rich.console import Console
from rich.text import Text

# Terminals with synchronised updates show a frame only when it is complete; others ignore these.
_BEGIN_FRAME, _END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_ERASE_LINE_END, _ERASE_BELOW = "\x1b[K", "\x1b[J"


class LiveScreen:
    """Draws on the console's terminal; between frames the cursor is below the live lines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: list[str] = []
        self._width = console.width

    def draw(self, staying: Sequence[str], live: Sequence[str]) -> None:
        """Write lines that stay, and redraw the live lines below; omit those that do not fit."""
        live = self._fitting(live)
        width = self._console.width
        if not staying and live == self._live and width == self._width:
            return
        same = self._unchanged(live) if not staying and width == self._width else 0
        rows = self._rows(width) - same
        parts = [_BEGIN_FRAME, _HIDE_CURSOR, f"\x1b[{rows}A" if rows > 0 else "", "\r"]
        parts += [f"{line}{_ERASE_LINE_END}\n" for line in staying]
        # Rich may underestimate a character's width, which must not wrap a live line.
        parts.append(_NO_WRAP)
        parts += [f"{line}{_ERASE_LINE_END}\n" for line in live[same:]]
        parts += [_WRAP, _ERASE_BELOW, "" if live else _SHOW_CURSOR, _END_FRAME]
        self._live, self._width = live, width
        self._console.file.write("".join(parts))
        self._console.file.flush()

    def _fitting(self, live: Sequence[str]) -> list[str]:
        """Return the last of the lines: as many as a window of a quarter of this one's size holds.

        A live line that a smaller window pushes into the scrollback could not be taken back. (On a
        screen that is not full yet, tmux does that sooner: it keeps the empty rows at the bottom.)
        """
        width, room = self._console.width // 2, self._console.height // 2 - 1  # for the cursor
        rows = accumulate(_rows(line, width) for line in reversed(live))
        count = max(1, sum(1 for _ in takewhile(lambda row: row <= room, rows)))
        return list(live)[-count:]

    def _unchanged(self, live: list[str]) -> int:
        """Return how many lines at the top are already drawn."""
        pairs = zip(self._live, live, strict=False)
        return next(
            (i for i, (old, new) in enumerate(pairs) if old != new),
            min(len(self._live), len(live)),
        )

    def _rows(self, width: int) -> int:
        """Return how many rows the live lines occupy after the terminal has wrapped them again."""
        if width >= self._width:
            return len(self._live)
        return sum(_rows(line, width) for line in self._live)


def _rows(line: str, width: int) -> int:
    """Return how many rows a line occupies when the terminal wraps it."""
    return max(1, len(chop_cells(Text.from_ansi(line).plain, max(1, width))))
