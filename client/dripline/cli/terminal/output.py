"""Where the chat writes: a protocol with two makers, `RichOutput` and `PlainOutput`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dripline.events import AddButton, Event


class AnswerView(Protocol):
    """Shows one answer as it comes."""

    @property
    def drops(self) -> int:
        """How many times the connection was lost."""
        ...

    def show(self, event: Event) -> None:
        """Take the run's next event, other than a button."""
        ...

    def button(self, number: int, button: AddButton) -> None:
        """Take a button, and the number that presses it."""
        ...

    def dropped(self) -> None:
        """Hear that the connection is lost, and that the stream will be resumed."""
        ...

    def toggle_thinking(self) -> None:
        """Fold the thinking, or unfold it."""
        ...

    def paint(self) -> None:
        """Bring the screen up to date; to be called many times a second."""
        ...

    def close(self) -> None:
        """Show what is left, and the figures."""
        ...


class ChatOutput(Protocol):
    """What the chat says."""

    unfold: bool
    """Whether thinking is shown in full."""

    def note(self, text: str) -> None:
        """Say something about the chat, quietly."""
        ...

    def error(self, text: str) -> None:
        """Say what went wrong."""
        ...

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Show rows of cells."""
        ...

    def question(self, text: str) -> None:
        """Show a message of the user's that was not typed just now."""
        ...

    def markdown(self, text: str) -> None:
        """Show an answer that was given before."""
        ...

    def thinking(self, text: str) -> None:
        """Show a whole thinking."""
        ...

    def answer(self, model: str) -> AnswerView:
        """Begin to show an answer; to be closed."""
        ...
