"""Split plans."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dripline.recordings import splits
from dripline.recordings.splits import SplitPlan

PLANS = [
    splits.as_recorded,
    splits.whole,
    splits.every_byte,
    splits.inside_characters,
    splits.fixed(1),
    splits.fixed(7),
    splits.seeded(1),
    splits.seeded(2, largest=2),
    splits.cut_at(),
    splits.cut_at(3, 1, 0, 99),
]


@settings(deadline=None)
@given(st.lists(st.binary()), st.sampled_from(PLANS))
def test_no_plan_changes_the_bytes(pieces: list[bytes], plan: SplitPlan) -> None:
    """Joined, the pieces are the stream; none is empty; twice gives the same."""
    cut = plan(pieces)
    assert b"".join(cut) == b"".join(pieces)
    assert all(cut)
    assert plan(pieces) == cut


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (splits.as_recorded, ["ab", "cd\r\né"]),
        (splits.whole, ["abcd\r\né"]),
        (splits.fixed(3), ["abc", "d\r\n", "é"]),
        (splits.cut_at(1), ["a", "bcd\r\né"]),
    ],
    ids=str,
)
def test_a_plan_cuts_where_its_name_says(plan: SplitPlan, expected: list[str]) -> None:
    """Each plan cuts at its own places."""
    pieces = ["ab", "", "cd\r\né"]
    assert plan([piece.encode() for piece in pieces]) == [piece.encode() for piece in expected]


def test_inside_characters_cuts_every_character_and_crlf() -> None:
    """Each multi-byte character and each CRLF is cut, and nothing else."""
    assert splits.inside_characters(["aé\r\n\n\r€b".encode()]) == [
        b"a\xc3",
        b"\xa9\r",
        b"\n\n\r\xe2",
        b"\x82",
        b"\xacb",
    ]


@pytest.mark.parametrize("plan", [p for p in PLANS if p.name != "cut_at()"], ids=str)
def test_a_plan_is_found_by_its_name(plan: SplitPlan) -> None:
    """What a failing test shows can be given to a command."""
    pieces = ["Grüezi\r\n".encode(), b"mitenand" * 9]
    assert splits.plan_named(str(plan))(pieces) == plan(pieces)
    assert str(splits.plan_named(str(plan))) == str(plan)


@pytest.mark.parametrize(
    "name", ["", "half", "fixed", "fixed()", "fixed(0)", "fixed(1, 2)", "x(1)"]
)
def test_a_name_that_is_none(name: str) -> None:
    """The message says what there is, or what is wrong with it."""
    with pytest.raises(ValueError, match=r"every_byte|at least 1"):
        splits.plan_named(name)


def test_the_two_way_family_is_whole() -> None:
    """Every inner offset has its plan."""
    cuts = [plan([b"abcd"]) for plan in splits.two_way_splits(4)]
    assert cuts == [[b"a", b"bcd"], [b"ab", b"cd"], [b"abc", b"d"]]


@pytest.mark.parametrize("make", [lambda: splits.fixed(0), lambda: splits.seeded(1, largest=0)])
def test_a_size_below_one_is_refused(make: object) -> None:
    """A plan that cannot cut says so."""
    assert callable(make)
    with pytest.raises(ValueError, match="must be at least 1"):
        make()
