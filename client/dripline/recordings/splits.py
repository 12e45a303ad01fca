"""Ways to split a byte stream into chunks, as a network might do at random.

A `SplitPlan` turns the pieces of a stream into other pieces with the same bytes. Tests of decoders,
the fake Ollama and replays use them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """A named way to split a stream.

    Attributes:
        name: Shown by a failing test, for example "every_byte" or "cut_at(17)".
        offsets: Takes the pieces, and returns the offsets in the joined stream at which to split
            it, in rising order. Offsets outside the stream are ignored.
    """

    name: str
    offsets: Callable[[Sequence[bytes]], Iterable[int]]

    def __call__(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Return the same bytes in new pieces, none of them empty."""
        data = b"".join(pieces)
        inner = (offset for offset in self.offsets(pieces) if 0 < offset < len(data))
        return [data[a:b] for a, b in pairwise((0, *inner, len(data))) if a < b]

    def __str__(self) -> str:
        return self.name


as_recorded: SplitPlan = SplitPlan("as_recorded", lambda pieces: accumulate(map(len, pieces)))
whole: SplitPlan = SplitPlan("whole", lambda _: ())
every_byte: SplitPlan = SplitPlan("every_byte", lambda pieces: range(sum(map(len, pieces))))


def cut_at(*offsets: int) -> SplitPlan:
    """Split at the given offsets."""
    ordered = sorted(offsets)
    return SplitPlan(f"cut_at({', '.join(map(str, ordered))})", lambda _: ordered)


def fixed(size: int) -> SplitPlan:
    """Split into pieces of `size` bytes; the last one may be shorter.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    return SplitPlan(f"fixed({size})", lambda pieces: range(size, sum(map(len, pieces)), size))


def seeded(seed: int, *, largest: int = 64) -> SplitPlan:
    """Split into random pieces of 1 to `largest` bytes; the same seed gives the same pieces.

    Raises:
        ValueError: `largest` is less than 1.
    """
    if largest < 1:
        raise ValueError(f"largest must be at least 1, not {largest}")

    def offsets(pieces: Sequence[bytes]) -> Iterator[int]:
        draw = random.Random(seed)
        size = sum(map(len, pieces))
        offset = 0
        while (offset := offset + draw.randint(1, largest)) < size:
            yield offset

    return SplitPlan(f"seeded({seed}, largest={largest})", offsets)


def _offsets_inside(pieces: Sequence[bytes]) -> list[int]:
    data = b"".join(pieces)
    return [
        offset
        for offset in range(1, len(data))
        if data[offset] & 0xC0 == 0x80 or data[offset - 1 : offset + 1] == b"\r\n"
    ]


# Naive readers fail at these places: between the bytes of a character, and between CR and LF.
inside_characters: SplitPlan = SplitPlan("inside_characters", _offsets_inside)


def two_way_splits(size: int) -> Iterator[SplitPlan]:
    """Yield every plan that splits a stream of `size` bytes in two, from `cut_at(1)` on."""
    return map(cut_at, range(1, size))


# One plan of each kind; together they find nearly all bugs in a few runs.
usual_splits: tuple[SplitPlan, ...] = (
    as_recorded,
    whole,
    every_byte,
    inside_characters,
    fixed(7),
    seeded(1),
    seeded(2),
)

_PLAIN = {plan.name: plan for plan in (as_recorded, whole, every_byte, inside_characters)}
_MAKERS: dict[str, Callable[..., SplitPlan]] = {"cut_at": cut_at, "fixed": fixed, "seeded": seeded}
_CALL = re.compile(r"(\w+)\((\d+(?:, ?\d+)*)(?:, ?largest=(\d+))?\)")


def plan_named(name: str) -> SplitPlan:
    """Return the plan with a name, in the form that `str(plan)` and a failing test show.

    Raises:
        ValueError: No plan has this name.
    """
    if name in _PLAIN:
        return _PLAIN[name]
    if found := _CALL.fullmatch(name):
        maker, numbers, largest = found.groups()
        try:
            more = {"largest": int(largest)} if largest else {}
            return _MAKERS[maker](*map(int, numbers.split(",")), **more)
        except (LookupError, TypeError):
            pass  # There is no such plan, or it takes another number of arguments.
    known = ", ".join([*_PLAIN, "cut_at(17)", "fixed(7)", "seeded(1)"])
    raise ValueError(f"there is no split plan {name!r}; there are: {known}")
