"""`make bench`: measures dripline beside its peers, and writes RESULTS.md. Linux only.

    python -m tests.benchmarks [--quick] [--rounds N] [--only SECTION]... [--peers NAME]...

A target that is missed is said and fails nothing: figures of a shared machine are no test.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.benchmarks.options import Options
from tests.benchmarks.plot import plot
from tests.benchmarks.report import Section, page, verdicts
from tests.benchmarks.servers import KINDS

FOLDER = Path(__file__).parent
# Each is a module here with `async def run(options: Options) -> Section`.
SECTIONS = ("throughput", "idle", "leaving", "shared_log", "agents", "decoders", "clients", "page")


def main() -> int:
    """Run what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only see that all works")
    parser.add_argument("--rounds", type=int, help="rounds of each measurement [3, or 1]")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="this part alone")
    parser.add_argument("--peers", action="append", default=[], help="part of a peer's name")
    asked = parser.parse_args()
    options = Options(asked.quick, asked.rounds or (1 if asked.quick else 3), asked.peers)
    names = asked.only or SECTIONS
    sections = uvloop.run(_run(names, options))
    if not asked.quick:
        print(verdicts(sections))
    if not (asked.quick or asked.only or asked.peers):
        _write(sections)
    return 0


async def _run(names: Sequence[str], options: Options) -> list[Section]:
    found = []
    for name in names:
        print(f"{name} ...", file=sys.stderr)
        module = importlib.import_module(f"tests.benchmarks.{name}")
        found.append(await module.run(options))
        print(found[-1])
    return found


def _write(sections: list[Section]) -> None:
    plots = []
    for at, chart in enumerate(chart for section in sections for chart in section.charts):
        plots.append(f"results-{at + 1}.svg")
        plot(chart, FOLDER / plots[-1])
    versions = [f"{kind.name}: {kind.version}" for kind in KINDS if kind.installed and kind.version]
    text = page(sections, command="make bench", versions=versions, plots=plots)
    (FOLDER / "RESULTS.md").write_text(text)
    print(f"written: {FOLDER / 'RESULTS.md'}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
