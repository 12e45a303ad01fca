"""What a token costs a whole client: each reads the same answers of one server, in turns."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from tests.benchmarks.client_peers import CLIENTS, DRIPLINE, HTTPX_SSE, Client
from tests.benchmarks.options import Options
from tests.benchmarks.processes import load_process
from tests.benchmarks.report import Section, Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved, ratios
from tests.benchmarks.servers import package_version
from tests.benchmarks.sse_source import words

# How many tokens, how many of them a second (0: all at once), and how many times the rounds: where
# each token wakes a process, what it costs spreads by a factor of two.
WORKS = {"flat out": (50_000, 0, 1), "1,000 tokens/s, a write each": (3_000, 1000, 3)}
# Of what httpx-sse with json takes.
LIMIT = 1 / 3

TEXT = (
    "CPU time of a client's process, user and system, for each token of an answer; connecting is in"
    " it. The server is a raw asyncio protocol in a process of its own. `ChatClient` gives typed"
    " events, checks that none is missing, and would resume; the others give what JSON says. openai"
    " reads the same answer in OpenAI's format. All run on uvloop."
)


async def run(options: Options) -> Section:
    """Measure every client that is installed."""
    section = Section("Clients", TEXT)
    wanted = [client for client in CLIENTS if client.installed and _wanted(client, options)]
    async with load_process("sse_source") as (_, hello):
        server = f"http://127.0.0.1:{hello['port']}"
        for name, (tokens, rate, times) in WORKS.items():
            if options.quick:
                tokens, times = tokens // 100, 1
            measurements = _measurements(wanted, server, tokens, rate)
            found = await interleaved(times * options.rounds, measurements)
            section.tables.append(_table(name, found))
            if HTTPX_SSE in found:
                ratio = ratios(found[DRIPLINE], found[HTTPX_SSE]).median
                verdict = Verdict(f"client, {name}", "CPU a token, of httpx-sse's", ratio, LIMIT)
                section.verdicts.append(verdict)
    for client in wanted:
        made_of = ", ".join(map(package_version, client.packages))
        section.notes.append(f"{client.name}: {made_of}.")
    return section


def _wanted(client: Client, options: Options) -> bool:
    wanted = any(part in client.name.lower() for part in options.peers)
    return wanted or client is DRIPLINE or not options.peers


def _measurements(
    clients: list[Client], server: str, tokens: int, rate: int
) -> dict[Client, Callable[[], Awaitable[float]]]:
    return {client: partial(_cost, client, server, tokens, rate) for client in clients}


async def _cost(client: Client, server: str, tokens: int, rate: int) -> float:
    """Return the CPU microseconds that a token takes."""
    await client.read(f"{server}/10/0")  # so that it is imported
    gc.collect()
    started = time.process_time()
    pieces = await client.read(f"{server}/{tokens}/{rate}")
    cost = time.process_time() - started
    if pieces != words(tokens):
        raise RuntimeError(f"{client.name} has read another answer than was sent")
    return cost / tokens * 1e6


def _table(name: str, found: Mapping[Client, list[float]]) -> Table:
    ours = found[DRIPLINE]
    rows = [[client.name, Spread.of(costs), ratios(costs, ours)] for client, costs in found.items()]
    return Table(name, ["", "CPU µs a token", "of ChatClient's"], rows)
