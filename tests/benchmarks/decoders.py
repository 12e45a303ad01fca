"""How fast decoders are: the same chunks, in turns, in one process."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from tests.benchmarks.decoder_peers import DRIPLINE, PEERS, Peer
from tests.benchmarks.decoder_works import WORKS, Stream, Work
from tests.benchmarks.options import Options
from tests.benchmarks.report import Section, Table, Verdict
from tests.benchmarks.rounds import Spread, interleaved, ratios
from tests.benchmarks.servers import package_version

# Of the best peer's CPU time, what ours may be; where nothing else is said, just less.
LIMITS = {"small tokens, 64 KiB chunks": 1 / 2.4, "one event a chunk": 1 / 1.3}
# CPU time of four times the input, against four times that of the input.
GROWTH = 1.3
# glibc keeps smaller blocks for the next use and takes larger ones fresh from the system, page by
# page; as it goes it moves that bound up to 32 MiB, so that a line of 8 MiB would cost less than a
# quarter of one of 32. Held at so many bytes, both are fresh (mallopt(3)).
M_MMAP_THRESHOLD = -3
REUSED_BELOW = 256 * 1024
# Peers whose time grows faster than their input would take minutes; seconds.
TOO_LONG = 3.0

TEXT = (
    "CPU time in which a decoder in plain Python makes events of chunks that are in memory."
    " Each is used as its documentation uses it. `growth` is the time for all of the input, against"
    " four times the time for a quarter of it: 1 is linear. `events` compares every event's type,"
    " data and last event ID with what the stream says. `bytes.split` makes no events: it is how"
    " fast Python cuts bytes."
)


@dataclass(frozen=True, slots=True)
class Measured:
    """CPU seconds for a quarter of the input and for all of it; nan: it takes too long."""

    quarter: float
    whole: float

    @property
    def growth(self) -> float:
        return self.whole / self.quarter / 4


async def run(options: Options) -> Section:
    """Measure every decoder that is installed."""
    section = Section("Decoders", TEXT)
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, REUSED_BELOW)
    wanted = [peer for peer in PEERS if peer.installed and _wanted(peer, options)]
    for name, work in WORKS.items():
        size = max(4, work.size // 100) if options.quick else work.size
        streams = work.make(size // 4), work.make(size)
        checked = {peer: _check(peer, streams[0]) for peer in wanted}
        found = await interleaved(options.rounds, _measurements(checked, streams))
        limit = [_limit(work, streams[1]) for _ in range(options.rounds)]
        section.tables.append(_table(name, work, size, found, checked, limit))
        section.verdicts += _verdicts(name, found)
        print(section.tables[-1], file=sys.stderr)
    section.notes.append("Measured: " + ", ".join(package_version(p.package) for p in wanted) + ".")
    return section


def _wanted(peer: Peer, options: Options) -> bool:
    wanted = any(part in peer.name for part in options.peers)
    return wanted or peer is DRIPLINE or not options.peers


def _check(peer: Peer, stream: Stream) -> str:
    """Return how a decoder's events differ from what the stream says, in a word or two."""
    try:
        found = [
            (
                getattr(event, peer.type_of) or "message",
                event.data,
                getattr(event, peer.id_of) or "",
            )
            for event in peer.events(stream.chunks, len(stream.events))
        ]
    except Exception as error:  # noqa: BLE001 - whatever it fails with is the finding
        return f"FAILS: {type(error).__name__}"
    if found == stream.events:
        return "right"
    if len(found) != len(stream.events):
        return f"WRONG: {len(found):,} for {len(stream.events):,}"
    columns = zip(*found, strict=True), zip(*stream.events, strict=True)
    pairs = zip(("type", "data", "last event ID"), *columns, strict=True)
    return "WRONG: " + ", ".join(name for name, theirs, right in pairs if theirs != right)


def _measurements(
    checked: Mapping[Peer, str], streams: tuple[Stream, Stream]
) -> dict[Peer, Callable[[], Awaitable[Measured]]]:
    def measurement(peer: Peer) -> Callable[[], Awaitable[Measured]]:
        async def measured() -> Measured:
            quarter = _seconds(peer, streams[0])
            whole = _seconds(peer, streams[1]) if quarter < TOO_LONG else float("nan")
            return Measured(quarter, whole)

        return measured

    return {peer: measurement(peer) for peer, says in checked.items() if "FAILS" not in says}


def _seconds(peer: Peer, stream: Stream) -> float:
    gc.collect()
    started = time.process_time()
    peer.texts(stream.chunks, len(stream.events))
    return time.process_time() - started


def _limit(work: Work, stream: Stream) -> float:
    gc.collect()
    started = time.process_time()
    b"".join(stream.chunks).split(work.blank_line)
    return time.process_time() - started


def _table(
    name: str,
    work: Work,
    size: int,
    found: Mapping[Peer, list[Measured]],
    checked: Mapping[Peer, str],
    limit: list[float],
) -> Table:
    rows: list[list[object]] = []
    ours = [m.whole for m in found[DRIPLINE]]
    for peer, says in checked.items():
        if peer not in found:
            rows.append([peer.name, "", "", "", says])
            continue
        several = found[peer]
        rows.append(
            [
                peer.name,
                Spread.of(size / m.whole for m in several),
                ratios((m.whole for m in several), ours),
                Spread.of(m.growth for m in several),
                says,
            ]
        )
    rows.append(["bytes.split", Spread.of(size / s for s in limit), ratios(limit, ours), "", ""])
    header = ["", f"{work.unit} a second", "time, of dripline's", "growth", "events"]
    return Table(name, header, rows)


def _verdicts(name: str, found: Mapping[Peer, list[Measured]]) -> list[Verdict]:
    ours = found[DRIPLINE]
    growth = Spread.of(m.growth for m in ours).median
    verdicts = [Verdict(name, "growth", growth, GROWTH)]
    against = [
        ratios((m.whole for m in ours), (m.whole for m in several)).median
        for peer, several in found.items()
        if peer is not DRIPLINE and several[0].whole == several[0].whole
    ]
    if against:
        limit = LIMITS.get(name, 1.0)
        verdicts.insert(0, Verdict(name, "CPU time, of the best peer's", max(against), limit))
    return verdicts
