"""`assert_same_events`: silent where streams say the same, and readable where not."""

from __future__ import annotations

import pytest

from dripline import EventDecoder, ServerSentEvent, TextMessage
from dripline.recordings.splits import every_byte
from dripline.testing.assertions import assert_same_events
from tests.support.recordings import recording_of

PIECES = [b"data: a\n\ndata: b\n", b"\ndata: c\n\n"]


def test_the_same() -> None:
    """Lists, iterators, and recordings however they are cut."""
    recording = recording_of(PIECES)
    events = EventDecoder().feed(b"".join(PIECES))
    assert_same_events(events, iter(events))
    assert_same_events(recording, events)
    assert_same_events(recording.split(every_byte), recording)
    lines = recording_of([b'{"a":1}\n{"b"', b":2}\n"], content_type="application/x-ndjson")
    assert_same_events(lines, [b'{"a":1}\n', b'{"b":2}\n'])
    assert_same_events([], [])


def test_the_first_difference_is_shown() -> None:
    """With what came right before it, and how many there are."""
    actual = [TextMessage(text) for text in "abcX"]
    expected = [TextMessage(text) for text in "abcde"]
    with pytest.raises(AssertionError) as raised:
        assert_same_events(actual, expected)
    assert str(raised.value).splitlines() == [
        "the streams differ at event 4:",
        "  same      TextMessage(content='b', logprobs=None)",
        "  same      TextMessage(content='c', logprobs=None)",
        "  actual    TextMessage(content='X', logprobs=None)",
        "  expected  TextMessage(content='d', logprobs=None)",
        "  (4 events, expected 5)",
    ]


def test_a_stream_that_ends_early_is_a_difference() -> None:
    """Nothing is not an event, not even None."""
    with pytest.raises(AssertionError, match=r"(?s)event 3.*actual    nothing more"):
        assert_same_events(recording_of([*PIECES[:1], b"\n"]), recording_of(PIECES))
    with pytest.raises(AssertionError, match=r"(?s)event 1.*actual    None\n  expected  nothing"):
        assert_same_events([None], [])


def test_what_is_no_stream() -> None:
    """Is refused by its type."""
    with pytest.raises(TypeError, match="not int"):
        assert_same_events(1, [ServerSentEvent()])
