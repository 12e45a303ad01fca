"""Turns `<think>...</think>` at the start of an answer's text into thinking. No I/O.

Ollama does this itself for models whose template marks them as thinking. Other models, such as
imported ones, send the tags as text. A tag may be split over any number of pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from dripline.events import TextMessage, Thinking
from dripline_server.upstream.chat_chunks import Chunk

OPENING, CLOSING = "<think>", "</think>"
# How many blank characters are held back to see whether a tag follows.
_MAX_BLANK = 64

Logprobs = list[dict[str, Any]]


def opens_tag(chunks: Iterable[Chunk]) -> bool:
    """Whether the first text in the chunks may begin with a tag, if it is the answer's first."""
    for chunk in chunks:
        text = chunk if isinstance(chunk, str) else chunk.get("message", {}).get("content")
        if isinstance(text, str) and (text := text.lstrip()):
            return text.startswith("<")
    return False


class ThinkTags:
    """Separates the pieces of one answer's text into thinking and text.

    Blanks before the opening tag and after either tag are removed, as Ollama does it.

    Attributes:
        over: Whether everything that follows is text.
    """

    __slots__ = ("_held", "_logprobs", "_state", "_tail", "over")

    def __init__(self) -> None:
        self.over = False
        self._state: Literal["start", "opened", "thinking", "closed"] = "start"
        # The pieces so far, which may be the beginning of the opening tag.
        self._held: list[TextMessage] = []
        # The end of the thinking, which may be the beginning of the closing tag.
        self._tail = ""
        # The log probabilities of pieces of which nothing is shown, such as the tags.
        self._logprobs: Logprobs = []

    def feed(self, piece: TextMessage) -> list[TextMessage | Thinking]:
        """Sort the next piece. Text that may be a part of a tag is held back."""
        if self.over:
            return [piece]
        if self._state != "start":
            return self._sort(piece.content, piece.logprobs)
        self._held.append(piece)
        text = "".join(held.content for held in self._held).lstrip()
        if text.startswith(OPENING):
            for held in self._held:
                self._logprobs += held.logprobs or ()
            logprobs, self._logprobs = self._logprobs or None, []
            self._held = []
            self._state = "opened"
            return self._sort(text[len(OPENING) :], logprobs)
        blank = sum(len(held.content) for held in self._held) if not text else 0
        if OPENING.startswith(text) and blank <= _MAX_BLANK:
            return []
        return self.rest()

    def rest(self) -> list[TextMessage | Thinking]:
        """Return the text held back, because the answer has ended or something else follows."""
        self.over = True
        held, self._held = self._held, []
        tail, self._tail = self._tail, ""
        logprobs, self._logprobs = self._logprobs or None, []
        if tail or (logprobs and self._state != "closed"):
            return [*held, Thinking(tail, logprobs)]
        return [*held, TextMessage("", logprobs)] if logprobs else [*held]

    def _sort(self, text: str, logprobs: Logprobs | None) -> list[TextMessage | Thinking]:
        """Sort text after the opening tag. The first part carries the log probabilities."""
        parts: list[TextMessage | Thinking] = []
        if self._state == "opened":
            text = text.lstrip()
            if text:
                self._state = "thinking"
        if self._state == "thinking":
            thought, found, after = (self._tail + text).partition(CLOSING)
            if found:
                self._state, self._tail, text = "closed", "", after
            else:
                kept = _kept(thought)
                self._tail = thought[len(thought) - kept :]
                thought, text = thought[: len(thought) - kept], ""
            if thought:
                parts.append(Thinking(thought))
        if self._state == "closed":
            text = text.lstrip()
            if text:
                parts.append(TextMessage(text))
                self.over = True
        return self._with_logprobs(parts, logprobs)

    def _with_logprobs(
        self, parts: list[TextMessage | Thinking], logprobs: Logprobs | None
    ) -> list[TextMessage | Thinking]:
        if logprobs is not None:
            self._logprobs = self._logprobs + logprobs
        if parts and self._logprobs:
            parts[0] = type(parts[0])(parts[0].content, self._logprobs)
            self._logprobs = []
        return parts


def _kept(text: str) -> int:
    """Return how many characters at the end may be the beginning of the closing tag."""
    most = min(len(text), len(CLOSING) - 1)
    return next((n for n in range(most, 0, -1) if CLOSING.startswith(text[-n:])), 0)
