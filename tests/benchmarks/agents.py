"""What a token of an agent costs that yields as fast as it can."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack
from functools import partial

from tests.benchmarks.options import Options
from tests.benchmarks.relay import Work, load, measure
from tests.benchmarks.report import Section, Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved, ratios
from tests.benchmarks.servers import DRIPLINE, serving
from tests.benchmarks.shared_log import redis_running

FLAGS = ("--agents", "tests.support.some_agents")
ALONE = "Ollama, 100 streams, 20 tokens/s each"
# CPU of a token at most, of what one costs that comes alone from Ollama, the log in memory.
LIMITS = {"memory": 0.2, "Redis": 1.0}

TEXT = (
    "An async generator that yields words without ever waiting, with one reader, beside tokens of"
    " Ollama's that come alone, with both run logs."
)


async def run(options: Options) -> Section:
    """Measure an agent on both logs; on Redis where redis-server is installed."""
    section = Section("What an agent's token costs", TEXT)
    paced = Work("paced", 5 if options.quick else 100, seconds=0.3 if options.quick else 2.0)
    flood = Work("flood", 1, seconds=0.3 if options.quick else 1.0)
    async with load() as with_load, AsyncExitStack() as stack:
        logs: dict[str, tuple[str, ...]] = {"memory": ()}
        if shutil.which("redis-server"):
            _, url = await stack.enter_async_context(redis_running())
            logs["Redis"] = ("--run-log", url)
        servers = {
            log: await stack.enter_async_context(
                serving(DRIPLINE, with_load.ollama, *FLAGS, *flags)
            )
            for log, flags in logs.items()
        }
        measurements = {ALONE: partial(measure, with_load, servers["memory"], paced)} | {
            log: partial(measure, with_load, server, flood) for log, server in servers.items()
        }
        found = await interleaved(options.rounds, measurements)
    cost = {name: [m.cpu_per_token for m in several] for name, several in found.items()}
    rows = [
        [name if name == ALONE else f"an agent, flat out: the log in {name}", Spread.of(several)]
        for name, several in cost.items()
    ]
    section.tables.append(Table("CPU of the server's process", ["", "CPU µs a token"], rows))
    section.verdicts += [
        Verdict(
            f"an agent, flat out: the log in {log}",
            "CPU a token, of one alone from Ollama",
            ratios(cost[log], cost[ALONE]).median,
            LIMITS[log],
        )
        for log in logs
    ]
    return section
