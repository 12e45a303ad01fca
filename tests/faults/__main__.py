"""`python -m tests.faults --series 1000 --seed 1`: the fault table, with its figures at the end."""

from __future__ import annotations

import argparse
import asyncio
import time
from contextlib import suppress

from tests.faults.runner import Table
from tests.faults.table import FAULTS, WITH_SENTINEL


def main() -> int:
    """Run the table; the exit code is 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=3, help="sites at the same time")
    parser.add_argument("--only", default="", choices=[*FAULTS, *WITH_SENTINEL, ""])
    given = parser.parse_args()
    table = Table(given.series, given.seed, given.only)
    started = time.monotonic()
    with suppress(KeyboardInterrupt):  # what was done until then has figures too
        asyncio.run(table.run(given.at_once))
    print(table.report())
    for name, told in sorted(table.told.items()):
        print(name, dict(told))
    print(
        f"{sum(table.series.values())} series, {len(table.wrong)} wrong,"
        f" {time.monotonic() - started:.0f} s"
    )
    return 1 if table.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
