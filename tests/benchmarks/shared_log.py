"""What Redis costs as the run log, for one process and for several."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from tests.benchmarks.options import Options
from tests.benchmarks.processes import Running, running, until_listening
from tests.benchmarks.relay import Load, Work, load, measure
from tests.benchmarks.report import Section, Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved, ratios
from tests.benchmarks.servers import DRIPLINE, Server, serving
from tests.support.free_port import free_port

STREAMS = 200
PROCESSES = (1, 2, 4)

TEXT = (
    "The run log in Redis (`--run-log redis://...`) beside the one in memory; then one, two and"
    f" four processes on one Redis that share {STREAMS} streams of 20 tokens/s."
)


async def run(options: Options) -> Section:
    """Measure dripline with both logs, where redis-server is installed."""
    section = Section("The run log in Redis", TEXT)
    if not shutil.which("redis-server"):
        section.notes.append("redis-server is not installed here, so this is not measured.")
        return section
    async with load() as with_load, redis_running() as (redis, url):
        section.tables.append(await _against_memory(section, options, with_load, url))
        section.tables.append(await _several(options, with_load, redis, url))
    return section


@asynccontextmanager
async def redis_running() -> AsyncIterator[tuple[Running, str]]:
    """Run a Redis; yield it, and its address."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    async with running(command) as redis:
        await until_listening(port)
        yield redis, f"redis://127.0.0.1:{port}"


async def _against_memory(section: Section, options: Options, with_load: Load, url: str) -> Table:
    streams = 5 if options.quick else 100
    works = {
        "1 stream, flat out": Work("flat", 1, seconds=1.0),
        "100 streams, 20 tokens/s each": Work("paced", streams, seconds=2.0),
    }
    rows: list[list[object]] = []
    async with AsyncExitStack() as stack:
        logs = {"memory": (), "Redis": ("--run-log", url)}
        servers = {
            name: await stack.enter_async_context(serving(DRIPLINE, with_load.ollama, *flags))
            for name, flags in logs.items()
        }
        for name, work in works.items():
            found = await interleaved(
                options.rounds,
                {log: partial(measure, with_load, server, work) for log, server in servers.items()},
            )
            cost = {log: [m.cpu_per_token for m in several] for log, several in found.items()}
            rows += [[name, log, Spread.of(several)] for log, several in cost.items()]
            ratio = ratios(cost["Redis"], cost["memory"]).median
            section.verdicts.append(
                Verdict(f"{name}: the log in Redis", "CPU a token, of memory's", ratio, 3.0, 1.5)
            )
    return Table("CPU of the server's process", ["", "run log", "CPU µs a token"], rows)


async def _several(options: Options, with_load: Load, redis: Running, url: str) -> Table:
    rows: list[list[object]] = []
    for number in PROCESSES[:1] if options.quick else PROCESSES:
        async with AsyncExitStack() as stack:
            servers = [
                await stack.enter_async_context(
                    serving(DRIPLINE, with_load.ollama, "--run-log", url)
                )
                for _ in range(number)
            ]
            tokens, cpu, redis_cpu = await _share(with_load, servers, redis, options)
            rows.append([str(number), tokens, cpu, redis_cpu])
    header = ["processes", "tokens/s", "CPU µs a token, all processes", "CPU µs a token, Redis"]
    return Table("Several processes on one Redis", header, rows)


async def _share(
    with_load: Load, servers: list[Server], redis: Running, options: Options
) -> tuple[float, float, float]:
    """Return tokens a second, and the CPU microseconds a token of the servers and of Redis."""
    for server in servers:
        await with_load.readers.ask(
            "open",
            url=server.url,
            body=server.body("paced"),
            number=(10 if options.quick else STREAMS) // len(servers),
        )
    await asyncio.sleep(0.5)
    before = await with_load.readers.ask("mark")
    cpu, redis_cpu = sum(server.cpu() for server in servers), redis.cpu()
    await asyncio.sleep(0.5 if options.quick else 4)
    cpu, redis_cpu = sum(server.cpu() for server in servers) - cpu, redis.cpu() - redis_cpu
    after = await with_load.readers.ask("mark")
    await with_load.quiet()
    tokens = after["tokens"] - before["tokens"]
    return (
        tokens / (after["time"] - before["time"]),
        cpu / max(tokens, 1) * 1e6,
        redis_cpu / max(tokens, 1) * 1e6,
    )
