"""Makes the documentation's picture of `dripline chat`, from a real chat on a real terminal.

Run it as `python -m tests.terminal.screenshot FILE.svg`.
"""

from __future__ import annotations

import asyncio
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from dripline.testing import demo_models
from tests.support.stack import stack
from tests.support.tmux import terminal

SIZE = (84, 34)
MESSAGES = (
    "Change color to light green",
    "Add a button that says Tell me a joke",
    "Show me some code",
    "1",
)


async def hold_chat() -> str:
    """Chat with the demo model; return what is on the terminal, with its colours."""
    async with stack(demo_models(), model="demo") as s:
        command = ("dripline", "--server", s.url, "chat")
        width, height = SIZE
        colors = {"COLORTERM": "truecolor"}
        async with terminal(*command, width=width, height=height, environment=colors) as t:
            await t.wait("/help")
            for count, message in enumerate(MESSAGES, start=1):
                await t.wait(lambda text: text.rstrip().endswith("demo") or "[1]" in text)
                await t.type(message)
                await t.wait(lambda text, count=count: text.count("tokens/s") == count)  # type: ignore[misc]
            screen = await t.run("capture-pane", "-p", "-e", "-S", "-")
            return re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", screen).rstrip()


def draw(screen: str) -> str:
    """Return the screen as SVG; no font is loaded from anywhere."""
    console = Console(width=SIZE[0], record=True, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen))
    svg = console.export_svg(title="dripline chat", theme=DIMMED_MONOKAI)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


def main() -> None:
    """Run the command."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.terminal.screenshot FILE.svg")
    Path(sys.argv[1]).write_text(draw(asyncio.run(hold_chat())))


if __name__ == "__main__":
    main()
