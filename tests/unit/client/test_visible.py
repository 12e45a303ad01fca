"""What may go to a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline.visible import VisiblePieces, visible

CASES = {
    "a colour": ("\x1b[31mred", "␛[31mred"),
    "the clipboard": ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
    "a C1 control": ("\x9b2J", "\\u009b2J"),
    "overwriting": ("yes\rno\b\b", "yes␍no␈␈"),
    "line ends": ("one\r\ntwo\n\tthree", "one\ntwo\n\tthree"),
    "NEL, which terminals obey": ("one\x85two", "one\\u0085two"),
    "a turned direction": ("\u202etxt.exe", "\\u202etxt.exe"),
    "a byte that was no UTF-8": ("a\udcff", "a\\udcff"),
    "any script": ("東京 नमस्ते 👩‍🔬 שלום", "東京 नमस्ते 👩‍🔬 שלום"),
}


@pytest.mark.parametrize(("text", "shown"), CASES.values(), ids=CASES)
def test_control_characters_are_seen(text: str, shown: str) -> None:
    """Each becomes something that one can see; what is no control stays."""
    assert visible(text) == shown


@given(st.lists(st.text(st.sampled_from("\r\nab"), max_size=4)))
def test_pieces_are_shown_as_the_whole_is(pieces: list[str]) -> None:
    """Wherever a text is cut; and no piece waits but for a CR at its end."""
    shown = VisiblePieces()
    found = [shown.feed(piece) for piece in pieces]
    assert all(new or piece in ("", "\r") for piece, new in zip(pieces, found, strict=True))
    assert "".join(found) + shown.close() == visible("".join(pieces))


@given(st.text())
def test_nothing_is_left_to_obey(text: str) -> None:
    """No control characters but tabs and line ends, and visible text stays as it is."""
    shown = visible(text)
    assert {c for c in shown if unicodedata.category(c) == "Cc"} <= {"\t", "\n"}
    assert visible(shown) == shown
