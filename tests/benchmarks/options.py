"""What a run of the benchmarks is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """How much to do.

    Attributes:
        quick: Only see that all works: one short round of each.
        rounds: How many rounds.
        peers: Parts of the names of what to measure beside dripline; none: all.
    """

    quick: bool
    rounds: int
    peers: Sequence[str] = ()
