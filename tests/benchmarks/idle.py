"""What open streams cost while nothing comes, and how long a first token takes."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.benchmarks.options import Options
from tests.benchmarks.relay import Load, load
from tests.benchmarks.report import Section, Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved
from tests.benchmarks.servers import DRIPLINE, FASTAPI, NONE, Kind, Server, serving

COUNTS = (1000, 5000, 9000)
HEARTBEAT = 15

TEXT = (
    "Open streams that have had one token, each with its run, its log and its connection to Ollama."
    " Memory is what the server's process holds more of its own, for each. The idle cost is CPU"
    " over one round of heartbeats. The first token is timed from the request, while 100 others"
    " stream; what it takes with no relay is taken off."
)


async def run(options: Options) -> Section:
    """Measure dripline, and FastAPI where it is installed."""
    section = Section("Open streams", TEXT)
    counts = (50,) if options.quick else COUNTS
    section.tables.append(await _memory(section, counts, 1 if options.quick else HEARTBEAT))
    section.tables.append(await _first_tokens(section, options))
    return section


async def _memory(section: Section, counts: tuple[int, ...], seconds: int) -> Table:
    rows: list[list[object]] = []
    for kind in (DRIPLINE, FASTAPI):
        for count in counts if kind is DRIPLINE else counts[:1]:
            if kind.installed:
                each, cores = await _open(kind, count, seconds)
                rows.append([kind.name, f"{count:,}", each / 1024, cores])
                if kind is DRIPLINE:
                    work = f"{count:,} idle streams"
                    section.verdicts.append(Verdict(work, "KB each", each / 1024, 32, 18))
    ours = [row for row in rows if row[0] == DRIPLINE.name]
    cores = float(str(ours[-1][3]))
    section.verdicts.append(Verdict(f"{ours[-1][1]} idle streams", "cores", cores, 0.06))
    return Table("Idle streams", ["", "streams", "KB each", "cores, with heartbeats"], rows)


async def _open(kind: Kind, count: int, seconds: int) -> tuple[float, float]:
    """Return the bytes that each stream takes, and the cores that all take."""
    async with load() as with_load, serving(kind, with_load.ollama) as server:
        assert server.process
        await _ask(with_load, server, "silent", 20)  # what is made once is made
        before = server.process.memory()
        await _ask(with_load, server, "silent", count)
        await asyncio.sleep(1)
        each = (server.process.memory() - before) / count
        cpu = server.cpu()
        await asyncio.sleep(seconds)
        return each, (server.cpu() - cpu) / seconds


async def _ask(
    with_load: Load, server: Server, model: str, count: int, every: float = 0
) -> list[float]:
    """Open streams; return the seconds to each one's first token."""
    answer = await with_load.readers.ask(
        "open", url=server.url, body=server.body(model), number=count, every=every
    )
    if answer["opened"] != count:
        raise RuntimeError(f"{answer['opened']} of {count} streams were opened at {server.url}")
    return list(answer["first"])


async def _first_tokens(section: Section, options: Options) -> Table:
    kinds = [kind for kind in (DRIPLINE, FASTAPI, NONE) if kind.installed]
    count = 5 if options.quick else 100

    async def first(kind: Kind) -> float:
        async with load() as with_load, serving(kind, with_load.ollama) as server:
            await _ask(with_load, server, "paced", count)
            return Spread.of(await _ask(with_load, server, "silent", count, 0.01)).median * 1000

    found = await interleaved(options.rounds, {kind: partial(first, kind) for kind in kinds})
    spreads = {kind: Spread.of(several) for kind, several in found.items()}
    added = spreads[DRIPLINE].median - spreads[NONE].median
    section.verdicts.append(Verdict("100 streams", "added first token p50, ms", added, 2.0, 1.0))
    rows = [[kind.name, spread] for kind, spread in spreads.items()]
    return Table("The first token, beside 100 streams", ["", "p50 ms"], rows)
