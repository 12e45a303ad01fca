"""The NDJSON line splitter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dripline.ndjson import LineSplitter
from dripline.recordings.splits import seeded, two_way_splits

BODIES = st.lists(st.sampled_from(["a", "\n", "\r", "é", "\x85", "\u2028", "{}"])).map(
    lambda parts: "".join(parts).encode()
)


@given(BODIES, st.integers(0, 2**32))
def test_any_split_gives_the_same_lines(body: bytes, seed: int) -> None:
    """Lines end at LF and nowhere else, wherever the chunks do."""
    splitter = LineSplitter(1000)
    pieces = seeded(seed, largest=3)([body])
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    *expected, rest = body.split(b"\n")
    assert lines == expected
    assert splitter.pending == len(rest)


def test_a_long_line_is_refused_after_the_lines_before_it() -> None:
    """What came before the fault is not lost, at any split; nor does it wait for the line's end."""
    body = b"1\n22\n" + b"x" * 11 + b"\n33\n"
    for plan in two_way_splits(len(body)):
        splitter = LineSplitter(10)
        lines: list[bytes] = []
        fed = 0
        for piece in plan([body]):
            lines += splitter.feed(piece)
            fed += len(piece)
            assert splitter.too_long is (fed > 15), plan
            if splitter.too_long:
                break
        assert lines == [b"1", b"22"], plan


def test_a_line_at_the_limit_is_taken() -> None:
    """The limit is a bound and not one less."""
    splitter = LineSplitter(3)
    assert splitter.feed(b"abc\nab") == [b"abc"]
    assert not splitter.too_long
