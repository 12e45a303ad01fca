"""The benchmarks work: what they measure is not looked at here."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import suppress
from functools import partial

import pytest
from yarl import URL

from tests.benchmarks.clients import WORKS as CLIENT_WORKS
from tests.benchmarks.decoder_works import WORKS as DECODER_WORKS
from tests.benchmarks.relay import Measured, load
from tests.benchmarks.report import Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved, ratios
from tests.benchmarks.throughput import WORKS
from tests.support.processes import run
from tests.support.programs import require_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


async def test_a_quick_run_measures_dripline_beside_its_source() -> None:
    code, out, error = await run(
        "python", "-m", "tests.benchmarks", "--quick", "--only", "throughput", "--peers", "no relay"
    )
    assert code == 0, error
    rows = [line.split(" | ") for line in out.splitlines() if line.count(" | ") == 6]
    ours = [row for row in rows if row[0] == "| dripline"]
    assert len(ours) == len(WORKS)
    assert all(float(cpu.replace(",", "")) > 0 for _, cpu, *_ in ours)
    assert [row[0] for row in rows].count("| no relay") == len(WORKS)


async def test_a_server_that_does_not_notice_its_readers_leaving_ends_no_run() -> None:
    async with load() as with_load:
        at = URL(with_load.ollama)
        reader, writer = await asyncio.open_connection(at.host, at.port)
        body = b'{"model":"silent"}'
        writer.write(b"POST /api/chat HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await reader.readuntil(b"false}")
        await with_load.quiet(within=0.0)
        with suppress(ConnectionResetError):
            await reader.read()  # to the end that the source has made
        writer.close()
        assert (await with_load.source.ask("stats"))["open"] == 0


async def test_a_quick_run_measures_the_page() -> None:
    require_program("chromium")
    code, out, error = await run("python", "-m", "tests.benchmarks", "--quick", "--only", "page")
    assert code == 0, error
    rows = [line.split(" | ") for line in out.splitlines() if line.count(" | ") == 3]
    quarters = {name: cost for name, cost, *_ in rows[2:]}
    assert list(quarters) == ["| first", "| second", "| third", "| last"]
    assert all(float(cost) > 0 for cost in quarters.values())
    assert "Long tasks in the first answer: " in out
    assert out.count(" in one token, ") == 2


async def test_a_quick_run_checks_what_decoders_say() -> None:
    code, out, error = await run(
        "python", "-m", "tests.benchmarks", "--quick", "--only", "decoders", "--peers", "none"
    )
    assert code == 0, error
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| dripline | ")]
    assert [row[-1] for row in rows] == ["right |"] * len(DECODER_WORKS)


async def test_a_quick_run_measures_the_client() -> None:
    code, out, error = await run(
        "python", "-m", "tests.benchmarks", "--quick", "--only", "clients", "--peers", "none"
    )
    assert code == 0, error
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ChatClient | ")]
    assert len(rows) == len(CLIENT_WORKS)
    assert all(float(row[1].replace(",", "")) > 0 for row in rows)


async def test_rounds_are_interleaved_and_turned_round() -> None:
    order: list[str] = []

    async def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = await interleaved(3, {name: partial(measure, name) for name in "ab"})
    assert "".join(order) == "abbaab"
    assert found == {"a": [1.0, 4.0, 5.0], "b": [2.0, 3.0, 6.0]}
    assert ratios(found["b"], found["a"]) == Spread(1.2, 0.75, 2.0)


def test_figures_are_shown_with_what_counts_of_them() -> None:
    assert str(Spread.of([0.5, 20.04, 1234.5])) == "20.0 (0.500 to 1,234)"
    assert str(Table("T", ["", "x"], [["a", 1.5]])).splitlines()[-2:] == [
        "| --- | --- |",
        "| a | 1.50 |",
    ]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (0.3, "met, and the stretch"),
        (0.5, "met"),
        (1.0, "met"),
        (1.1, "MISSED"),
        (float("nan"), "MISSED"),
    ],
)
def test_a_verdict_says_whether_its_target_is_met(found: float, says: str) -> None:
    assert Verdict("w", "f", found, limit=1.0, stretch=0.3).cells()[-1] == says


def test_a_server_that_gives_no_token_meets_nothing() -> None:
    found = Measured(1, 0, 9, 1.0, 0.5, 0.1, 0.1, 0, [], Counter())
    assert not Verdict("1 stream", "CPU a token", found.cpu_per_token, 1.0).met
