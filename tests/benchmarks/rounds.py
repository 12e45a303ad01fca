"""Rounds: what is compared is measured in turns, so that a slow moment of the machine hits all."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spread:
    """What a figure was in several rounds.

    Attributes:
        median: The middle one.
        low: The least.
        high: The most.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the spread of the values; there is at least one."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def __str__(self) -> str:
        """Return the median, and in brackets the range where there is one."""
        shown = number(self.median)
        if self.low == self.high:
            return shown
        return f"{shown} ({number(self.low)} to {number(self.high)})"


def number(value: float) -> str:
    """Return a figure with three digits that count, or all before the point."""
    if value != value:
        return "none"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"


async def interleaved(
    rounds: int, measurements: Mapping[K, Callable[[], Awaitable[T]]]
) -> dict[K, list[T]]:
    """Measure each in turn, so many times; the order is turned round in every other round."""
    found: dict[K, list[T]] = {name: [] for name in measurements}
    for done in range(rounds):
        order = list(measurements.items())
        for name, measure in order if done % 2 == 0 else reversed(order):
            found[name].append(await measure())
    return found


def ratios(found: Iterable[float], against: Iterable[float]) -> Spread:
    """Return the ratio of two figures, each pair of which is of the same round."""
    return Spread.of(a / b for a, b in zip(found, against, strict=True))
