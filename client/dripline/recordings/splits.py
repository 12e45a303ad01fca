"""Ways to cut a byte stream into chunks: what a network may do, chosen on purpose.

A `SplitPlan` takes the pieces of a stream and returns other pieces of the same stream: joined, both
are equal. Decoders, the fake Ollama and replays are all driven through these.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """A named way to cut.

    Attributes:
        name: What a failing test shows, such as "every_byte" or "cut_at(17)".
        offsets: From the pieces to the offsets in the joined stream at which to cut; in rising
            order. Offsets outside the stream cut nothing.
    """

    name: str
    offsets: Callable[[Sequence[bytes]], Iterable[int]]

    def __call__(self, pieces: Sequence[bytes]) -> list[bytes]:
        """Return the same bytes in other pieces, none of them empty."""
        data = b"".join(pieces)
        inner = (offset for offset in self.offsets(pieces) if 0 < offset < len(data))
        return [data[a:b] for a, b in pairwise((0, *inner, len(data))) if a < b]

    def __str__(self) -> str:
        return self.name


as_recorded: SplitPlan = SplitPlan("as_recorded", lambda pieces: accumulate(map(len, pieces)))
whole: SplitPlan = SplitPlan("whole", lambda _: ())
every_byte: SplitPlan = SplitPlan("every_byte", lambda pieces: range(sum(map(len, pieces))))


def cut_at(*offsets: int) -> SplitPlan:
    """Cut at the given offsets."""
    ordered = sorted(offsets)
    return SplitPlan(f"cut_at({', '.join(map(str, ordered))})", lambda _: ordered)


def fixed(size: int) -> SplitPlan:
    """Cut into pieces of `size` bytes; the last one may be shorter.

    Raises:
        ValueError: `size` is less than 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    return SplitPlan(f"fixed({size})", lambda pieces: range(size, sum(map(len, pieces)), size))


def seeded(seed: int, *, largest: int = 64) -> SplitPlan:
    """Cut into pieces of 1 to `largest` bytes, drawn from `seed`: the same seed, the same cuts.

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


# Where naive readers break: between the bytes of one character, and between CR and LF.
inside_characters: SplitPlan = SplitPlan("inside_characters", _offsets_inside)


def two_way_splits(size: int) -> Iterator[SplitPlan]:
    """Give every plan that cuts a stream of `size` bytes in two, from `cut_at(1)` on."""
    return map(cut_at, range(1, size))


# One of each kind: what finds nearly all faults, in a few runs.
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
    """Return the plan with a name, as `str(plan)` and a failing test show it.

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
            pass  # No such plan, or not with so many numbers.
    known = ", ".join([*_PLAIN, "cut_at(17)", "fixed(7)", "seeded(1)"])
    raise ValueError(f"there is no split plan {name!r}; there are: {known}")
