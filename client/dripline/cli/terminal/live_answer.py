"""An answer that grows on a terminal."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from dripline.answer import Answer
from dripline.cli.terminal import answer_lines
from dripline.cli.terminal.live_screen import LiveScreen
from dripline.cli.terminal.markdown_blocks import Block, BlockSplitter
from dripline.cli.terminal.markdown_lines import draw, lines_of
from dripline.cli.terminal.output import ChatOutput
from dripline.events import (
    AddButton,
    ChangeTheme,
    Event,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
)
from dripline.visible import VisiblePieces, visible

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FOLDED_LINES = 4
# At most this share of the time goes into drawing, however long the block that grows.
_PAINT_SHARE = 0.25


class LiveAnswer:
    """Finished blocks are written for good; what is not finished is live, with a line of state.

    Text is only collected when it comes: `paint` does the work, so that it does not grow with the
    number of tokens.
    """

    def __init__(
        self, console: Console, output: ChatOutput, model: str, *, clock: Callable[[], float]
    ) -> None:
        self.drops: int = 0
        self._console = console
        self._output = output
        self._clock = clock
        self._screen = LiveScreen(console)
        self._answer = Answer()
        self._splitter = BlockSplitter()
        self._new_text: list[str] = []
        self._pieces = VisiblePieces()
        self._staying: list[str] = []
        self._began = False
        self._thought = ""
        self._thought_shown = 0
        self._thinks = False
        self._state = f"waiting for {visible(model) or 'the model'}"
        self._started = clock()
        self._first: float | None = None
        self._thinking_since = 0.0
        self._paint_after = 0.0

    def show(self, event: Event) -> None:
        """See `AnswerView`."""
        self._answer.add(event)
        match event:
            case Thinking(content):
                self._begin("thinking")
                if not self._thinks:
                    self._thinks, self._thinking_since = True, self._clock()
                self._thought += content
            case TextMessage(content):
                self._begin("answering")
                self._end_thinking()
                self._new_text.append(content)
            case Status("loading", model):
                self._state = f"loading {visible(model)}"
            case Status("waiting", model):
                self._state = f"waiting for {visible(model)}"
            case ChangeTheme():
                swatch = Text.assemble(("██", event.color), f" {answer_lines.theme_line(event)}")
                self._aside(swatch)
            case ToolCall():
                self._aside(Text(f"→ {answer_lines.call_line(event)}", "cyan"))
            case ToolResult():
                style = "red" if event.failed else "dim cyan"
                self._aside(Text(f"← {answer_lines.result_line(event)}", style))

    def button(self, number: int, button: AddButton) -> None:
        """See `AnswerView`."""
        self._aside(Text(answer_lines.button_line(number, button), "bold"))

    def dropped(self) -> None:
        """See `AnswerView`."""
        self.drops += 1
        self._state = "connection lost, resuming"

    def toggle_thinking(self) -> None:
        """See `AnswerView`."""
        self._output.unfold = not self._output.unfold

    def paint(self) -> None:
        """See `AnswerView`."""
        now = self._clock()
        if now < self._paint_after:
            return
        self._add_new_text()
        self._draw([*self._live_lines(), *lines_of(self._console, self._state_line(now))])
        self._paint_after = now + (self._clock() - now) / _PAINT_SHARE

    def close(self) -> None:
        """See `AnswerView`."""
        self._end_thinking()
        self._add_new_text(last=True)
        self._add_blocks(self._splitter.close())
        now = self._clock()
        if self._began or self._answer.end:
            figures = answer_lines.figures_line(
                self._answer, seconds=now - self._started, first=self._first, drops=self.drops
            )
            self._add(Text(figures, "dim"))
            self._staying.append("")
        self._draw([])

    def _draw(self, live: list[str]) -> None:
        staying, self._staying = self._staying, []
        self._screen.draw(staying, live)

    def _begin(self, state: str) -> None:
        self._state = state
        if self._first is None:
            self._first = self._clock() - self._started

    def _aside(self, line: RenderableType) -> None:
        """Add a line between the blocks; the text that comes later is a block of its own."""
        self._end_thinking()
        self._add_new_text(last=True)
        self._add_blocks(self._splitter.close())
        self._add(line, joined=True)

    def _add_new_text(self, *, last: bool = False) -> None:
        text = self._pieces.feed("".join(self._new_text))
        self._new_text.clear()
        if last:
            text += self._pieces.close()
        if text:
            self._add_blocks(self._splitter.feed(text))
        if self._output.unfold and self._thinks:
            whole = self._thought.rfind("\n") + 1
            if whole > self._thought_shown:
                self._add_thought(self._thought[self._thought_shown : whole])
                self._thought_shown = whole

    def _end_thinking(self) -> None:
        if not self._thinks:
            return
        if self._output.unfold:
            self._add_thought(self._thought[self._thought_shown :])
        seconds = self._clock() - self._thinking_since
        hint = "" if self._output.unfold else " · Ctrl-T shows it"
        self._add(Text(f"▸ thought for {seconds:.1f} s{hint}", "dim"), joined=True)
        self._thinks, self._thought, self._thought_shown = False, "", 0

    def _add_thought(self, text: str) -> None:
        if text.strip():
            self._add(_thought(text), joined=True)

    def _add_blocks(self, blocks: list[Block]) -> None:
        for block in blocks:
            self._add(draw(block), joined=block.joined, code=block.code is not None)

    def _add(self, content: RenderableType, *, joined: bool = False, code: bool = False) -> None:
        """Add what stays, after an empty line where it is not joined to what is there."""
        if self._began and not joined:
            self._staying.append("")
        self._began = True
        self._staying += lines_of(self._console, content, keep_empty=code)

    def _live_lines(self) -> list[str]:
        if self._thinks:
            lines = lines_of(self._console, _thought(self._thought[self._thought_shown :]))
            return lines if self._output.unfold else lines[-_FOLDED_LINES:]
        lines = []
        for index, block in enumerate(self._splitter.rest()):
            if (index or self._began) and not block.joined:
                lines.append("")
            lines += lines_of(self._console, draw(block), keep_empty=block.code is not None)
        return lines

    def _state_line(self, now: float) -> Text:
        seconds = now - self._started
        spinner = _SPINNER[int(seconds * 10) % len(_SPINNER)]
        hint = " · Ctrl-T folds" if self._thinks and self._output.unfold else ""
        hint = " · Ctrl-T unfolds" if self._thinks and not self._output.unfold else hint
        line = Text(f"{spinner} {self._state} · {seconds:.0f} s{hint} · Ctrl-C stops", "dim")
        line.truncate(self._console.width - 1, overflow="ellipsis")
        return line


def _thought(text: str) -> RenderableType:
    return Padding(Text(visible(text.rstrip("\r\n")), "dim italic"), (0, 0, 0, 2))
