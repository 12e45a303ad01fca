"""The decoder's quick way against the standard: long streams with runs of usual blocks."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conformance.decoders import LIMIT, decode_in_python
from tests.conformance.reference_decoder import decode

USUAL = [
    b"data: token\n\n",
    "data: é\u2028👋\n\n".encode(),
    b"data: \xff\n\n",
    b"id: 1\ndata: token\n\n",
    b"id: \ndata: \n\n",
    b"id: 2\nevent: e\ndata: token\n\n",
    b"data: " + b"x" * 1500 + b"\n\n",
]
# Each is nearly usual, or leaves something behind that the next block must not see.
UNUSUAL = [
    b"data: a\ndata: b\n\n",
    b"data:a\n\n",
    b"data: a\nevent: e\n\n",
    b"event: e\ndata: a\n\n",
    b"event: e\n\n",
    b"id: 3\n\n",
    b"id: 4\nother: x\ndata: a\n\n",
    b"id: 5\nevent: e\nother: x\ndata: a\n\n",
    b"id: 6\ndata: a\ndata: b\n\n",
    b"id: 6\nevent: e\n\n",
    b"id: 7\0\ndata: a\n\n",
    b"id: data: a\n\n",
    b"id: 7data: a\n\n",
    b"x: id: 7\ndata: a\n\n",
    b"xdata: a\n\n",
    b"id: 8\ndata: \0\n\n",
    b"data: a\nother: x\n\n",
    b": ping\n",
    b"retry: 1\n",
    b"\n",
    b"data: open\n",
    b"id: 9\n",
]
BLOCKS = st.sampled_from(USUAL) | st.sampled_from(UNUSUAL)
RUNS = st.lists(st.tuples(BLOCKS, st.sampled_from([1, 1, 2, 3, 60])), min_size=1, max_size=8)
# Where runs meet, and up to a block's length away: chunks end inside lines, blocks and line ends.
SHIFTS = st.lists(st.integers(-12, 12), min_size=8, max_size=8)
LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LIMITS = st.sampled_from([30, 1200, 2000, LIMIT])


@settings(max_examples=400, deadline=None)
@given(RUNS, SHIFTS, LINE_ENDS, LIMITS)
@example([(b"id: 3\n\n", 1), (b"event: e\ndata: a\n\n", 1)], [0] * 8, b"\n", LIMIT)
@example([(b"id: 6\nevent: e\n\n", 1)], [0] * 8, b"\n", LIMIT)
@example([(b"id: data: a\n\n", 1), (b"data: token\n\n", 1)], [0] * 8, b"\n", LIMIT)
@example([(b"data: open\n", 2), (b"data: token\n\n", 120)], [-1] * 8, b"\n", LIMIT)
def test_long_streams_say_what_the_standard_says(
    runs: list[tuple[bytes, int]], shifts: list[int], line_end: bytes, limit: int
) -> None:
    """Chunks of usual blocks, of unusual ones and of both give the events of the standard."""
    stream = b""
    cuts = {0}
    for (block, times), shift in zip(runs, shifts[: len(runs)], strict=True):
        stream += block.replace(b"\n", line_end) * times
        cuts.add(max(0, len(stream) + shift))
    ends = sorted(cut for cut in cuts if cut < len(stream))
    pieces = [stream[start:end] for start, end in pairwise([*ends, len(stream)])]
    assert b"".join(pieces) == stream
    assert decode_in_python(pieces, limit) == decode(stream, limit)
    assert decode_in_python([stream], limit) == decode(stream, limit)
