"""What a run of the benchmarks found: tables, verdicts, and the page that holds them."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.rounds import number


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column is of names, the others of figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]

    def __str__(self) -> str:
        """Return it as Markdown."""
        lines = [f"### {self.title}", "", _row(self.header), _row(["---"] * len(self.header))]
        return "\n".join([*lines, *map(_row, self.rows), ""])


def _row(cells: Sequence[object]) -> str:
    shown = (number(cell) if isinstance(cell, float) else str(cell) for cell in cells)
    return f"| {' | '.join(shown)} |"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure beside what it is to be.

    Attributes:
        work: What was done.
        figure: What was looked at, with its unit.
        found: What it was.
        limit: What it may be at most.
        stretch: What would be better still.
    """

    work: str
    figure: str
    found: float
    limit: float
    stretch: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is within its limit."""
        return self.found <= self.limit

    def cells(self) -> list[object]:
        """Return its row in the table of verdicts."""
        says = "met" if self.met else "MISSED"
        if self.stretch is not None and self.found <= self.stretch:
            says = "met, and the stretch"
        stretch = "" if self.stretch is None else number(self.stretch)
        return [self.work, self.figure, number(self.found), number(self.limit), stretch, says]


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars: one group a workload, one bar a competitor."""

    title: str
    unit: str
    groups: Sequence[str]
    bars: dict[str, list[float]]


@dataclass(slots=True)
class Section:
    """What one part of the benchmarks found.

    Attributes:
        title: Its heading.
        text: What was measured, and how to read it.
        notes: What the reader should know of this run, such as a load that was too busy.
    """

    title: str
    text: str
    tables: list[Table] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return it as Markdown."""
        parts = [f"## {self.title}", "", self.text, "", *map(str, self.tables)]
        parts += [f"- {note}" for note in self.notes]
        return "\n".join(parts).rstrip() + "\n"


def verdicts(sections: Sequence[Section]) -> Table:
    """Return every target, and whether it is met."""
    rows = [verdict.cells() for section in sections for verdict in section.verdicts]
    return Table("Targets", ["work", "figure", "found", "at most", "stretch", ""], rows)


def machine() -> str:
    """Return what this ran on, in a line."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, Linux {platform.release().partition('-')[0]},"
        f" {platform.python_implementation()} {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def page(
    sections: Sequence[Section], *, command: str, versions: Sequence[str], plots: Sequence[str]
) -> str:
    """Return RESULTS.md."""
    intro = (
        f"Made by `{command}` on {machine()}. CPU is user and system seconds of the server's"
        " process; each figure is the median of its rounds, with the range in brackets. What is"
        " compared was measured in turns, in one run."
    )
    head = ["# Measured, side by side", "", intro, "", *[f"![]({plot})" for plot in plots], ""]
    tail = ["## Versions", "", *[f"- {version}" for version in versions], ""]
    body = [str(section) for section in sections]
    return "\n".join([*head, str(verdicts(sections)), *body, *tail])
