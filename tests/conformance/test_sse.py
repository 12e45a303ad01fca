"""The decoders against the WHATWG standard: one table, any split, and a literal transcription."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dripline import EventDecoder, EventTooLarge, ServerSentEvent
from dripline.recordings.splits import SplitPlan, every_byte, seeded, two_way_splits, whole
from dripline.sse import MAX_RETRY, encode_comment, encode_event
from tests.conformance.decoders import (
    LIMIT,
    decode_in_node,
    decode_in_python,
    seconds_in_node,
)
from tests.conformance.reference_decoder import Decoded, decode


@dataclass(frozen=True, slots=True)
class Case:
    """A row of the table."""

    name: str
    stream: bytes
    limit: int
    expected: Decoded

    def splits(self) -> Iterator[list[bytes]]:
        """The stream whole, byte by byte, in every two pieces, and with empty chunks between."""
        for plan in (whole, every_byte, *two_way_splits(len(self.stream))):
            pieces = plan([self.stream])
            yield pieces
        yield [piece for byte in every_byte([self.stream]) for piece in (b"", byte, b"")]


def read(row: dict[str, Any]) -> Case:
    """A part of the input is text, or {"hex": ...} for bytes that are none."""
    parts = [
        part.encode() if isinstance(part, str) else bytes.fromhex(part["hex"])
        for part in row["input"]
    ]
    events = [(event, data, id_) for event, data, id_ in row["events"]]
    too_large = row.get("too_large", False)
    expected = Decoded(events, row["last_event_id"], row["retry"], row["pending"], too_large)
    return Case(row["name"], b"".join(parts), row.get("limit", LIMIT), expected)


TABLE = json.loads((Path(__file__).parent / "sse_cases.json").read_text())
CASES = [read(row) for row in TABLE]


def test_the_table_is_large_and_its_names_are_unique() -> None:
    """Each case says what it is about."""
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_python_at_every_split(case: Case) -> None:
    """The decoder says what the table says, wherever the chunks end; so does the transcription."""
    assert decode(case.stream, case.limit) == case.expected
    for pieces in case.splits():
        assert decode_in_python(pieces, case.limit) == case.expected, pieces


def test_the_page_at_every_split() -> None:
    """The page's decoder in Node.js says the same."""
    work = [(case, pieces) for case in CASES for pieces in case.splits()]
    found = decode_in_node([(pieces, case.limit) for case, pieces in work])
    for (case, pieces), decoded in zip(work, found, strict=True):
        assert decoded == case.expected, (case.name, pieces)


# Parts of streams, chosen so that most of what is drawn means something.
PARTS = st.sampled_from(
    [
        *(b"data", b"data:", b"data: ", b"id: ", b"id:", b"event: ", b"retry: ", b"12", b":", b" "),
        *(b"\n", b"\r", b"\r\n", b"\n\n", b"x", b"\0", b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xff"),
        *("é".encode(), "é".encode()[:1], "\u2028".encode(), "\x85".encode(), b"data: a\n\n"),
        *(b"id: 1\ndata: b\n\n", b"id: 2\nevent: e\ndata: c\n\n", b": ping\n"),
    ]
)
STREAMS = st.lists(PARTS, max_size=30).map(b"".join) | st.binary(max_size=60)
SPLITS = st.builds(seeded, st.integers(0, 2**32), largest=st.integers(1, 20))
LIMITS = st.sampled_from([4, 10, 30, LIMIT])


@settings(max_examples=1000)
@given(STREAMS, SPLITS, LIMITS)
def test_any_split_of_any_bytes(stream: bytes, plan: SplitPlan, limit: int) -> None:
    """Events, ids, retry, pending and the limit do not depend on where the chunks end."""
    expected = decode(stream, limit)
    assert decode_in_python([stream], limit) == expected
    assert decode_in_python(plan([stream]), limit) == expected


def test_python_and_the_page_agree_on_drawn_streams() -> None:
    """3,000 seeded streams at drawn splits: three decoders, one answer."""
    draw = random.Random(9)
    parts = [b"data: ", b"id: ", b"event: ", b"retry: ", b"1", b":", b" ", b"\n", b"\r", b"\r\n"]
    parts += [b"\n\n", b"x", b"\0", b"\xef\xbb\xbf", b"\xef", b"\xff", "€".encode(), b"\xe2\x82"]
    work = []
    for nth in range(3000):
        stream = b"".join(draw.choices(parts, k=draw.randint(0, 25)))
        pieces = seeded(nth, largest=draw.choice([2, 7, 50]))([stream])
        work.append((pieces, draw.choice([8, 20, LIMIT])))
    for (pieces, limit), in_node in zip(work, decode_in_node(work), strict=True):
        assert in_node == decode_in_python(pieces, limit) == decode(b"".join(pieces), limit)


@given(STREAMS)
def test_an_event_comes_with_the_byte_that_completes_it(stream: bytes) -> None:
    """No event waits for a byte more: after each byte, all that the standard has is there."""
    decoder = EventDecoder()
    count = 0
    for end in range(1, len(stream) + 1):
        count += len(decoder.feed(stream[end - 1 : end]))
        assert count == len(decode(stream[:end]).events)


@pytest.mark.parametrize("before", [0, 1, 3])
def test_the_limit_is_final(before: int) -> None:
    """What was complete comes first; then every call raises, an empty one too."""
    decoder = EventDecoder(max_event_size=100)
    stream = b"data: a\n\n" * before + b"data: " + b"x" * 100
    if before:
        assert decoder.feed(stream) == [ServerSentEvent("message", "a", "")] * before
    for chunk in (stream, b"", b"\n\n", b"data: b\n\n"):
        with pytest.raises(EventTooLarge, match="larger than 100 bytes"):
            decoder.feed(chunk)
    assert decoder.pending


def test_the_limit_holds_before_a_line_ends() -> None:
    """An endless line is refused when it passes the limit, and not held until it ends."""
    decoder = EventDecoder(max_event_size=10_000)
    fed = 0
    with pytest.raises(EventTooLarge):
        while fed < 100_000:
            fed += 100
            decoder.feed(b"x" * 100)
    assert fed == 10_100


@pytest.mark.parametrize("size", [999, 16_384, 65_536, 65_540, 100_001])
def test_long_lines(size: int) -> None:
    """Lines that are not copied before they are decoded are what the standard says they are."""
    long = "é" * 50_000
    stream = (
        f"\ufeffdata: {long}\r\ndata: x\r\n\r\n: {long}\nid: {long}\ndata: {long}\n\nda".encode()
    )
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert decode_in_python(pieces) == decode(stream)


@pytest.mark.parametrize("chunk", ["data: a\n\n", None], ids=repr)
def test_what_is_no_bytes_is_refused(chunk: Any) -> None:
    """Text was decoded by somebody else, who may have cut a character."""
    with pytest.raises(TypeError, match=f"takes bytes, not {type(chunk).__name__}"):
        EventDecoder().feed(chunk)


def test_a_bytearray_is_copied() -> None:
    """Whoever reads into one may fill it anew."""
    decoder, buffer = EventDecoder(), bytearray(b"data: a")
    assert not decoder.feed(buffer)
    buffer[:] = b"\n\nxxxxx"
    assert [event.data for event in decoder.feed(buffer)] == ["a"]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    """A decoder that takes nothing is a mistake."""
    with pytest.raises(ValueError, match="at least 1 byte"):
        EventDecoder(limit)


def test_an_earlier_last_event_id_is_carried_on() -> None:
    """After a reconnection, events without an id have the one before."""
    decoder = EventDecoder(last_event_id="7")
    assert decoder.feed(b"data: a\n\nid\ndata: b\n\n") == [
        ServerSentEvent("message", "a", "7"),
        ServerSentEvent("message", "b", ""),
    ]


GROWING: dict[str, tuple[bytes, int, int]] = {
    # name: what is repeated, how often for one unit of work, the chunk's size
    "one long line": (b"x" * 1024, 2048, 16 * 1024),
    "one event of many lines": (b"data: x\n", 50_000, 16 * 1024),
    "one byte at a time": (b"data: token\n\n", 10_000, 1),
    "CRLF": (b"data: token\r\n\r\n", 20_000, 64 * 1024),
    "seven bytes at a time": (b"id: 1\ndata: token\n\n", 20_000, 7),
    "comments": (b": ping\n", 50_000, 64 * 1024),
}


@pytest.mark.parametrize(("unit", "times", "size"), GROWING.values(), ids=GROWING)
def test_time_is_linear_in_the_bytes(unit: bytes, times: int, size: int) -> None:
    """Eight times the bytes take about eight times the time; a quadratic decoder takes 64 times.

    The bound is half way (on a logarithmic scale), and the best of some runs counts.
    """

    def seconds(stream: bytes) -> float:
        decoder = EventDecoder(max_event_size=len(stream) + 1)
        started = time.process_time()
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])
        return time.process_time() - started

    small, large = unit * (times // 8), unit * times
    for _ in range(5):
        base = min(seconds(small) for _ in range(3))
        if min(seconds(large) for _ in range(2)) < 22 * base + 0.01:
            return
    pytest.fail("eight times the bytes took more than 22 times the time, five times over")


@pytest.mark.parametrize(("unit", "times", "size"), GROWING.values(), ids=GROWING)
def test_the_pages_time_is_linear_in_the_bytes(unit: bytes, times: int, size: int) -> None:
    """The same of the page's decoder, which is the faster one."""
    for _ in range(5):
        small, large = seconds_in_node(unit, times // 8, size)
        if large < 22 * small + 0.02:
            return
    pytest.fail("eight times the bytes took more than 22 times the time, five times over")


# A lone surrogate is no Unicode text, and cannot be sent.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    TEXT,
    TEXT.filter(lambda text: not set(text) & {"\r", "\n"}),
    st.none() | TEXT.filter(lambda text: not set(text) & {"\r", "\n", "\0"}),
    st.none() | st.integers(0, MAX_RETRY),
    SPLITS,
)
def test_what_is_encoded_decodes_to_the_same(
    data: str, event: str, id_: str | None, retry: int | None, plan: SplitPlan
) -> None:
    """Only the kind of line end is lost."""
    frame = encode_comment(data) + encode_event(data, event=event, id=id_, retry=retry)
    decoder = EventDecoder(last_event_id="before")
    events = [event for piece in plan([frame]) for event in decoder.feed(piece)]
    text = data.replace("\r\n", "\n").replace("\r", "\n")
    assert events == [ServerSentEvent(event or "message", text, "before" if id_ is None else id_)]
    assert decoder.retry == retry
    assert not decoder.pending


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id": "a\nb"}, "id must not contain"),
        ({"id": "a\rb"}, "id must not contain"),
        ({"id": "a\0b"}, "id must not contain"),
        ({"event": "a\nb"}, "event must not contain"),
        ({"event": "a\rb"}, "event must not contain"),
        ({"retry": -1}, "retry must be"),
        ({"retry": 1.5}, "retry must be"),
        ({"retry": True}, "retry must be"),
        ({"retry": "100"}, "retry must be"),
        ({"retry": MAX_RETRY + 1}, "retry must be"),
    ],
)
def test_the_encoder_refuses_what_would_break_a_frame(fields: Any, words: str) -> None:
    """Nothing can be smuggled into another field, and the message names the field."""
    with pytest.raises(ValueError, match=words):
        encode_event("x", **fields)


def test_comments_are_told_at_every_split() -> None:
    """Each once, whatever is around it and wherever the stream is cut."""
    body = b": one\ndata: a\n\n:two\n:\nid: 1\n: three \xc3\xa9\ndata: b\n\ndata: c\n\n: four\n"
    for at in range(len(body)):
        told: list[str] = []
        decoder = EventDecoder(on_comment=told.append)
        events = [*decoder.feed(body[:at]), *decoder.feed(body[at:])]
        assert told == ["one", "two", "", "three é", "four"]
        assert [event.data for event in events] == ["a", "b", "c"]
