"""Coverage-guided fuzzing with atheris: `python -m tests.fuzz decoder --seconds 60`.

What it finds stays in a file that it names; put it into FOUND in tests/fuzz/test_targets.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

# Only what is imported in here is watched for coverage.
with atheris.instrument_imports(include=["dripline", "dripline_server"]):
    from tests.fuzz.targets import TARGETS, seeds


def main() -> None:
    """Fuzz one target until the time is over or something is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "list"])
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    if options.target == "list":
        print(*TARGETS)  # noqa: T201 - this is a command
        return
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(options.target)):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        # libFuzzer's own options: https://llvm.org/docs/LibFuzzer.html#options
        limits = [f"-max_total_time={options.seconds}", "-timeout=20", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *limits, corpus], TARGETS[options.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
