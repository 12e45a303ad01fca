"""Runs the fault table, and keeps its figures."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict, deque
from contextlib import suppress

from tests.faults.series import Series, Wrong
from tests.faults.site import site
from tests.faults.table import FAULTS, WITH_SENTINEL, Fault, SiteLost


class Table:
    """Runs series one after the other at some sites, and counts.

    Args:
        count: How many series.
        seed: The first one's; each has its own.
        only: The name of the one fault to draw, "" for all.
    """

    def __init__(self, count: int, seed: int, only: str = "") -> None:
        names = [only] if only else [*FAULTS, *WITH_SENTINEL]
        # Each fault in turn, so that every one has its share.
        self._plan = [(names[n % len(names)], seed + n) for n in range(count)]
        self.series: Counter[str] = Counter()
        self.told: dict[str, Counter[str]] = defaultdict(Counter)
        self.longest: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def run(self, at_once: int = 1) -> None:
        """Run all of them, at so many sites at the same time."""
        plain = [one for one in self._plan if one[0] in FAULTS]
        sentinel = [one for one in self._plan if one[0] in WITH_SENTINEL]
        shares = [plain[n::at_once] for n in range(at_once)]
        async with asyncio.TaskGroup() as group:
            for share in shares:
                if share:
                    group.create_task(self._run_some(share, FAULTS, behind_sentinel=False))
            if sentinel:
                group.create_task(self._run_some(sentinel, WITH_SENTINEL, behind_sentinel=True))

    async def _run_some(
        self, plan: list[tuple[str, int]], faults: dict[str, Fault], *, behind_sentinel: bool
    ) -> None:
        waiting = deque(plan)
        while waiting:
            with suppress(SiteLost):
                await self._run_at_one_site(waiting, faults, behind_sentinel=behind_sentinel)

    async def _run_at_one_site(
        self, waiting: deque[tuple[str, int]], faults: dict[str, Fault], *, behind_sentinel: bool
    ) -> None:
        async with site(behind_sentinel=behind_sentinel) as where:
            while waiting:
                name, seed = waiting.popleft()
                series = Series(where, faults[name], seed)
                try:
                    await series.run()
                except (Wrong, TimeoutError) as error:
                    self.wrong.append(f"{name}, seed {seed}: {str(error) or 'a time-out'}")
                    print("WRONG", self.wrong[-1], flush=True)
                self.series[name] += 1
                longest = series.counts.pop("longest wait", 0)
                self.longest[name] = max(self.longest[name], longest)
                self.told[name] += series.counts
                done = sum(self.series.values())
                print(f"{done} of {len(self._plan)}: {name}", file=sys.stderr, flush=True)

    def report(self) -> str:
        """Return the figures as a Markdown table."""
        lines = [
            "| fault | series | told the run's end | told that it cannot be known | longest wait |",
            "|---|--:|--:|--:|--:|",
        ]
        for name in sorted(self.series):
            told = self.told[name]
            ended = sum(n for what, n in told.items() if what.startswith(("comp", "fail", "canc")))
            unknown = sum(told.values()) - ended
            lines.append(
                f"| {name.replace('_', ' ')} | {self.series[name]} | {ended:,} | {unknown:,} |"
                f" {self.longest[name] / 1000:.1f} s |"
            )
        return "\n".join(lines)
