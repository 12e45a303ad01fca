"""The interface for the chat's output, implemented by `RichOutput` and `PlainOutput`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dripline.events import AddButton, Event


class AnswerView(Protocol):
    """Shows an answer while it arrives."""

    @property
    def drops(self) -> int:
        """How many times the connection was lost."""
        ...

    def show(self, event: Event) -> None:
        """Show the run's next event, except buttons."""
        ...

    def button(self, number: int, button: AddButton) -> None:
        """Show a button and the number to type for it."""
        ...

    def dropped(self) -> None:
        """Show that the connection was lost and that the stream will be resumed."""
        ...

    def toggle_thinking(self) -> None:
        """Collapse or expand the thinking."""
        ...

    def paint(self) -> None:
        """Update the screen; call it many times per second."""
        ...

    def close(self) -> None:
        """Show the rest of the answer and its statistics."""
        ...


class ChatOutput(Protocol):
    """Shows everything that the chat prints."""

    unfold: bool
    """Whether thinking is shown in full."""

    def note(self, text: str) -> None:
        """Show a remark about the chat, less prominent than the conversation."""
        ...

    def error(self, text: str) -> None:
        """Show an error."""
        ...

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Show a table."""
        ...

    def question(self, text: str) -> None:
        """Show an earlier message from the user."""
        ...

    def markdown(self, text: str) -> None:
        """Show an earlier answer."""
        ...

    def thinking(self, text: str) -> None:
        """Show the complete thinking of an answer."""
        ...

    def answer(self, model: str) -> AnswerView:
        """Begin to show an answer; the caller must close the view."""
        ...
