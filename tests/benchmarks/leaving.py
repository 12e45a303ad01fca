"""Readers that leave, that are slow, or that take nothing: what Ollama and the others see of it."""

from __future__ import annotations

import asyncio
import time

from tests.benchmarks.options import Options
from tests.benchmarks.relay import Load, load
from tests.benchmarks.report import Section, Table, Verdict
from tests.benchmarks.rounds import Spread
from tests.benchmarks.servers import DRIPLINE, Server, serving

READER_TIMEOUT = 3.0
# Bytes that the slow reader's own kernel takes in (it doubles the figure).
SLOW_BUFFER = 4096

TEXT = (
    "Milliseconds from a reader's leaving to the close of Ollama's connection, for a request that"
    ' says `"on_disconnect": "stop"`. Then a reader that takes 1 KB a second of a stream that is'
    " flat out: what the process holds more for it, and what the kernel holds. And one that takes"
    " nothing, with `--reader-timeout 3`: when it is cut."
)


async def run(options: Options) -> Section:
    """Measure dripline."""
    section = Section("Readers that leave or are slow", TEXT)
    times = 3 if options.quick else 20
    async with load() as with_load, serving(DRIPLINE, with_load.ollama) as server:
        rows = []
        for name, model in (("streaming", "paced"), ("loading", "loading"), ("silent", "silent")):
            spread = Spread.of([await _close(with_load, server, model) for _ in range(times)])
            rows.append([name, spread])
            work = f"the reader leaves: {name}"
            section.verdicts.append(Verdict(work, "Ollama closed, ms", spread.median, 10, 2))
    section.tables.append(Table("Ollama's connection closed", ["while", "ms"], rows))
    section.tables.append(await _slow(section, options))
    return section


async def _close(with_load: Load, server: Server, model: str) -> float:
    """Return the milliseconds from a reader's leaving to the source's loss of the connection."""
    await with_load.readers.ask(
        "open", url=server.url, body=server.body(model), number=1, within=10
    )
    async with asyncio.timeout(10):
        while not (await with_load.source.ask("stats"))["open"]:  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(0.005)
    left = float((await with_load.readers.ask("close"))["times"][0])
    return (await _closed(with_load) - left) * 1000


async def _closed(with_load: Load, within: float = 20) -> float:
    """Wait until the source has lost a connection; return when that was."""
    async with asyncio.timeout(within):
        while not (times := (await with_load.source.ask("closed"))["times"]):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return float(times[-1])


async def _slow(section: Section, options: Options) -> Table:
    flags = ("--reader-timeout", str(READER_TIMEOUT))
    seconds = 2 if options.quick else 10
    async with load() as with_load, serving(DRIPLINE, with_load.ollama, *flags) as server:
        assert server.process
        alone = await _first(with_load, server)
        before = server.process.memory()
        await with_load.readers.ask(
            "open",
            url=server.url,
            body=server.body("flat"),
            number=1,
            rate=1024,
            buffer=SLOW_BUFFER,
        )
        await asyncio.sleep(seconds / 2)
        half = server.process.memory() - before
        beside = await _first(with_load, server)
        await asyncio.sleep(seconds / 2)
        whole, kernel = server.process.memory() - before, server.process.unsent()
        await with_load.quiet()
        await with_load.readers.ask(
            "open", url=server.url, body=server.body("flat"), number=1, rate=-1, buffer=SLOW_BUFFER
        )
        stuck = time.monotonic()
        cut = await _closed(with_load, READER_TIMEOUT + 20) - stuck
    grown = (whole - half) / 2**20
    section.verdicts += [
        Verdict("a reader of 1 KB/s", "MiB held", whole / 2**20, 16),
        Verdict("a reader of 1 KB/s", "MiB more in the second half", grown, 1),
        Verdict("a reader of 1 KB/s", "others' first token, ms more", beside - alone, 2.0),
        Verdict(
            "a stuck reader", "seconds until it is cut, beyond its time", cut - READER_TIMEOUT, 2
        ),
    ]
    rows: list[list[object]] = [
        ["held for it by the process, MiB", whole / 2**20],
        ["unsent in the kernel, KiB", kernel / 1024],
        ["others' first token with it, ms", beside],
        ["and without, ms", alone],
        ["seconds until one that takes nothing is cut", cut],
    ]
    return Table("A reader of 1 KB a second, flat out", ["", "figure"], rows)


async def _first(with_load: Load, server: Server) -> float:
    """Return the milliseconds to a first token: the median of some."""
    answer = await with_load.readers.ask(
        "open", url=server.url, body=server.body("silent"), number=21, every=0.02
    )
    return Spread.of(answer["first"]).median * 1000
