"""What a token costs: each server relays the same streams, in turns."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial

from tests.benchmarks.options import Options
from tests.benchmarks.relay import Load, Measured, Work, load, measure
from tests.benchmarks.report import Chart, Section, Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved, ratios
from tests.benchmarks.servers import (
    AIOHTTP_SSE,
    DRIPLINE,
    FASTAPI,
    GO,
    GO_TWO,
    KINDS,
    LITELLM,
    NGINX,
    NONE,
    RELAY,
    SSE_STARLETTE,
    Kind,
    Server,
    serving,
)

PACED = "100 streams, 20 tokens/s each"
WORKS = {
    "1 stream, flat out": Work("flat", 1, seconds=1.0),
    "50 streams, flat out": Work("flat", 50, seconds=1.5, warm_up=1.0),
    PACED: Work("paced", 100, seconds=2.0),
    "1,000 streams, 20 tokens/s each": Work("paced", 1000, seconds=3.0, warm_up=1.0),
}
LIMITS = {
    "1 stream, flat out": (0.045, 1 / 50),
    "50 streams, flat out": (0.045, 1 / 50),
    PACED: (0.42, 0.25),
}
# CPU a token at most, of a peer's, where each token comes by itself; and the stretch.
PACED_LIMITS = {
    GO: (1.05, 0.95),
    GO_TWO: (1.0, None),
    NGINX: (1.9, None),
}
# CPU a token of dripline's relay at most, of nginx's: both pass the bytes on as they are.
RELAY_LIMIT = 2.0
MANY = "1,000 streams, 20 tokens/s each"
LEFT_OUT = {
    # Its reader gone, LiteLLM goes on with such a stream: 25 s later it still did.
    "1 stream, flat out": (LITELLM,),
    "50 streams, flat out": (LITELLM,),
    # They need seconds for what FastAPI alone shows well enough: that it cannot be done so.
    MANY: (SSE_STARLETTE, AIOHTTP_SSE, LITELLM),
}
# A load process that uses more of its core than this may be what holds the server back.
BUSY = 0.85

NOT_MEASURED = (
    "Not measured: Open WebUI, for its size; LiteLLM with streams that are flat out, as it goes on"
    " with them when their readers have gone."
)

TEXT = (
    "A source that answers as Ollama does, for a model that can call tools; a server; and "
    "readers. Source and readers are raw asyncio protocols in processes of their own. dripline has "
    "everything on: run log, ids on each frame, heartbeats, metrics. The floor is two bare uvloop "
    "protocols that read and write as many bytes and do nothing else. Flat out, tokens come as "
    "fast as they are taken; at 20 tokens/s each comes in a write of its own, as a model sends "
    "them. The delay is from the source's write to the reader, and holds what the machine's own "
    "scheduling takes: see the row with no relay."
)

Found = dict[Kind, list[Measured]]


async def run(options: Options) -> Section:
    """Measure every server that is installed."""
    section = Section("What a token costs", TEXT)
    found = await _measure_all(options, section.notes)
    for name, results in found.items():
        section.tables.append(_table(name, results))
        section.notes += _busy_notes(name, results)
        section.verdicts += _verdicts(name, results)
    section.charts.append(_chart(found))
    missing = [kind.name for kind in KINDS if not kind.installed]
    if missing:
        section.notes.append(f"Not installed here, so not measured: {', '.join(missing)}.")
    section.notes.append(NOT_MEASURED)
    return section


async def _measure_all(options: Options, notes: list[str]) -> dict[str, Found]:
    kinds = [kind for kind in KINDS if kind.installed and _wanted(kind, options)]
    found: dict[str, Found] = {}
    async with load() as with_load, AsyncExitStack() as stack:
        servers = {
            kind: await stack.enter_async_context(serving(kind, with_load.ollama)) for kind in kinds
        }
        for name, work in WORKS.items():
            if options.quick:
                work = Work(work.model, min(work.streams, 5), seconds=0.3, warm_up=0.1)
            measurements = {
                kind: partial(_measured, with_load, server, work, notes)
                for kind, server in servers.items()
                if kind not in LEFT_OUT.get(name, ())
            }
            found[name] = await interleaved(options.rounds, measurements)
            print(_table(name, found[name]), file=sys.stderr)
    return found


def _wanted(kind: Kind, options: Options) -> bool:
    wanted = any(part in kind.name.lower() for part in options.peers)
    return wanted or kind is DRIPLINE or not options.peers


async def _measured(with_load: Load, server: Server, work: Work, notes: list[str]) -> Measured:
    """Measure a server; a peer that gives no token has another chance."""
    found = await measure(with_load, server, work)
    if not found.tokens and server.kind is not DRIPLINE:
        of = f"streams: {work.streams:,}, {work.model}"
        notes.append(f"{server.kind.name} gave no token in one round, and had another ({of}).")
        found = await measure(with_load, server, work)
    return found


def _table(name: str, results: Found) -> Table:
    header = ["", "CPU µs a token", "tokens/s", "cores", "delay p50 ms", "p99 ms", "load's cores"]
    rows = []
    for kind, several in results.items():
        rows.append(
            [
                kind.name,
                Spread.of(m.cpu_per_token for m in several) if kind is not NONE else "",
                Spread.of(m.tokens / m.seconds for m in several),
                Spread.of(m.cores for m in several) if kind is not NONE else "",
                Spread.of(m.delay(0.5) for m in several) if several[0].delays else "",
                Spread.of(m.delay(0.99) for m in several) if several[0].delays else "",
                Spread.of(m.load_cores for m in several),
            ]
        )
    return Table(name, header, rows)


def _busy_notes(name: str, results: Found) -> list[str]:
    busy = [
        f"{kind.name} ({Spread.of(m.load_cores for m in several)} of a core)"
        for kind, several in results.items()
        if kind is not NONE and Spread.of(m.load_cores for m in several).median > BUSY
    ]
    if not busy:
        return [f"{name}: neither source nor readers held a server back."]
    return [f"{name}: the load itself was busy with {', '.join(busy)}; these may be faster."]


def _verdicts(name: str, results: Found) -> list[Verdict]:
    ours = results[DRIPLINE]
    verdicts = []
    if name in LIMITS and FASTAPI in results:
        limit, stretch = LIMITS[name]
        ratio = _against(ours, results[FASTAPI])
        verdicts.append(Verdict(name, "CPU a token, of FastAPI's", ratio, limit, stretch))
    if name == PACED:
        verdicts += [
            Verdict(name, f"CPU a token, of {kind.name}'s", _against(ours, results[kind]), *limits)
            for kind, limits in PACED_LIMITS.items()
            if kind in results
        ]
    if RELAY in results and NGINX in results:
        ratio = _against(results[RELAY], results[NGINX])
        what = "CPU a token of the relay, of nginx's"
        verdicts.append(Verdict(name, what, ratio, RELAY_LIMIT))
    if name == MANY:
        missing = Spread.of(1 - m.tokens / m.sent for m in ours).median
        verdicts += [
            Verdict(name, "streams broken off", float(sum(m.lost for m in ours)), 0),
            Verdict(name, "streams not opened", 1000.0 - min(m.opened for m in ours), 0),
            Verdict(name, "tokens not delivered, share", max(missing, 0.0), 0.01),
            Verdict(name, "cores", Spread.of(m.cores for m in ours).median, 0.7, 0.4),
        ]
        if none := results.get(NONE):
            p50 = _median_delay(ours, 0.5) - _median_delay(none, 0.5)
            p99 = _median_delay(ours, 0.99) - _median_delay(none, 0.99)
            verdicts += [
                Verdict(name, "added delay p50, ms", p50, 1.0),
                Verdict(name, "added delay p99, ms", p99, 20.0, 2.0),
            ]
    return verdicts


def _against(ours: list[Measured], theirs: list[Measured]) -> float:
    pairs = [m.cpu_per_token for m in ours], [m.cpu_per_token for m in theirs]
    return ratios(*pairs).median


def _median_delay(several: list[Measured], share: float) -> float:
    return Spread.of(m.delay(share) for m in several).median


def _cost(several: list[Measured] | None) -> float:
    return Spread.of(m.cpu_per_token for m in several).median if several else float("nan")


def _chart(found: dict[str, Found]) -> Chart:
    kinds = [k for k in KINDS if k is not NONE and any(k in results for results in found.values())]
    bars = {kind.name: [_cost(results.get(kind)) for results in found.values()] for kind in kinds}
    return Chart("CPU a token: less is better", "µs, logarithmic", list(found), bars)
