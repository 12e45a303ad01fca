"""`<think>` tags in text, however the text is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline.events import TextMessage, Thinking
from dripline_server.upstream.think_tags import ThinkTags

# Text -> thinking, and the text that is left.
CASES = {
    "<think>a</think>b": ("a", "b"),
    "\n <think>\n\na b\n</think>\n\nc <d> </think>": ("a b\n", "c <d> </think>"),
    "<think>a </thin> <think></think>b": ("a </thin> <think>", "b"),
    "<think></think>b": ("", "b"),
    "<think>\n</think>": ("", ""),
    "<think>never ends </thi": ("never ends </thi", ""),
    "<thinking>a</thinking>": ("", "<thinking>a</thinking>"),
    "a <think>b</think>": ("", "a <think>b</think>"),
    " \n<b>": ("", " \n<b>"),
    "<thin": ("", "<thin"),
    "": ("", ""),
}


def sort(pieces: list[str], *, logprobs: bool = False) -> list[TextMessage | Thinking]:
    tags = ThinkTags()
    found: list[TextMessage | Thinking] = []
    for number, piece in enumerate(pieces):
        found += tags.feed(TextMessage(piece, [{"n": number}] if logprobs else None))
    return [*found, *tags.rest()]


def said(events: list[TextMessage | Thinking]) -> tuple[str, str]:
    thinking = "".join(event.content for event in events if isinstance(event, Thinking))
    return thinking, "".join(event.content for event in events if isinstance(event, TextMessage))


@pytest.mark.parametrize("text", CASES)
@given(st.data())
def test_any_split_says_the_same(text: str, data: st.DataObject) -> None:
    """And no log probability is lost, nor does one come twice or out of order."""
    cuts = data.draw(st.sets(st.integers(0, len(text))))
    pieces = [text[a:b] for a, b in pairwise(sorted({0, len(text), *cuts}))]
    events = sort(pieces, logprobs=True)
    assert said(events) == CASES[text]
    numbers = [one["n"] for event in events for one in event.logprobs or ()]
    assert numbers == list(range(len(pieces)))


def test_text_without_tags_stays_in_its_pieces() -> None:
    """Also what was held back for a moment."""
    pieces = [" ", "<", "t", "able>", " ", "x"]
    assert sort(pieces) == [TextMessage(piece) for piece in pieces]


def test_blanks_are_not_held_for_ever() -> None:
    """A model that sends nothing else is seen."""
    assert ThinkTags().feed(TextMessage(" " * 100)) == [TextMessage(" " * 100)]
