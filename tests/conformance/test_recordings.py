"""The decoders, Python's and the page's, over every split of every recorded event stream."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from dripline import ServerSentEvent
from dripline.recordings.recording import Recording
from dripline.recordings.splits import SplitPlan, two_way_splits, usual_splits
from tests.conformance.decoders import LIMIT, decode_in_node, decode_in_python
from tests.conformance.reference_decoder import decode
from tests.support.make_recordings import NAMES
from tests.support.recorded import FOLDER, real, recorded

OLLAMAS = real("/v1/chat/completions") | real("/v1/messages") | real("/v1/responses")
STREAMS = {
    **recorded("chat"),
    **recorded("sse"),
    **{name: one for name, one in OLLAMAS.items() if "sse" in name},
}
# A longer body has so many two-way splits that they are a sample for Node.js.
LONG = 2500


def every_split(recording: Recording) -> Iterator[SplitPlan]:
    """Every two-way split, and what finds the faults that two pieces cannot show."""
    yield from two_way_splits(len(recording.body))
    yield from usual_splits


@pytest.mark.parametrize("name", STREAMS)
def test_python_at_every_split(name: str) -> None:
    """The same events, ids and retry as the standard's algorithm finds, however it is cut."""
    recording = STREAMS[name]
    expected = decode(recording.body, LIMIT)
    for plan in every_split(recording):
        assert decode_in_python(plan(recording.chunks), LIMIT) == expected, str(plan)


def test_the_page_at_every_split() -> None:
    """The page's decoder in Node.js says the same, of the same files."""
    work = [
        (name, plan, plan(recording.chunks))
        for name, recording in STREAMS.items()
        for plan in islice(every_split(recording), 0, None, 1 + len(recording.body) // LONG)
    ]
    found = decode_in_node([(pieces, LIMIT) for _, _, pieces in work])
    expected = {name: decode(recording.body, LIMIT) for name, recording in STREAMS.items()}
    for (name, plan, _), decoded in zip(work, found, strict=True):
        assert decoded == expected[name], f"{name} with {plan}"


# What is written by hand is to show this; so a file that shows nothing is noticed.
BY_HAND: dict[str, list[tuple[str, str, str]]] = {
    "sse-crlf": [("message", "Grüezi", "1"), ("end", "x", "1")],
    "sse-cr": [("message", "a\nb", "")],
    "sse-bom": [("message", "a", ""), ("message", "b", "")],
    "sse-fields": [
        ("message", "", "7"),
        ("message", "\n two", "7"),
        ("x", "no space", "7"),
        ("message", "reset", ""),
    ],
    "sse-invalid": [("message", "a\ufffd\ufffd(\ufffd\ufffd\ufffdb", "")],
    "sse-nothing": [],
}


@pytest.mark.parametrize("name", recorded("sse"))
def test_what_is_written_by_hand(name: str) -> None:
    """It is marked so, and says what the standard says that it says."""
    recording = STREAMS[name]
    assert recording.by_hand
    assert recording.about
    if name in BY_HAND:
        expected = [ServerSentEvent(*event) for event in BY_HAND[name]]
        assert [
            ServerSentEvent(*event) for event in decode(recording.body, LIMIT).events
        ] == expected
    else:
        text = "".join(event[1] for event in decode(recording.body, LIMIT).events)
        assert '"Grüezi"' in text


def test_every_recording_is_known() -> None:
    """The folder has what the script makes, and nothing else; what it records is not by hand."""
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(NAMES)
    for recording in (recorded("ollama") | recorded("chat")).values():
        assert not recording.by_hand
