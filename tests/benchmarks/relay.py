"""Measuring a relay: so many streams of one kind, for a while, through one server."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.benchmarks.processes import Running, load_process
from tests.benchmarks.servers import Server


@dataclass(frozen=True, slots=True)
class Load:
    """The processes that make the load: where the tokens come from, and where they go."""

    source: Running
    readers: Running
    ollama: str

    async def quiet(self, *, within: float = 60.0) -> None:
        """Close every reader, and wait until no stream is open.

        A server with more to do than it can may not notice for minutes that its readers are gone:
        after `within` seconds the source hangs up.

        Raises:
            TimeoutError: A stream is open even so.
        """
        await self.readers.ask("close")
        if not await self._closed(within):
            await self.source.ask("hang_up")
            if not await self._closed(within):
                raise TimeoutError("streams of the load stay open")
        await self.source.ask("closed")
        await self.readers.ask("mark")

    async def _closed(self, within: float) -> bool:
        # Not by a time-out, which could leave an answer of the source's unread.
        end = time.monotonic() + within
        while (await self.source.ask("stats"))["open"]:
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.01)
        return True


@asynccontextmanager
async def load() -> AsyncIterator[Load]:
    """Run a source and readers."""
    async with load_process("source") as (source, hello), load_process("readers") as (readers, _):
        yield Load(source, readers, f"http://127.0.0.1:{hello['port']}")


@dataclass(frozen=True, slots=True)
class Work:
    """What a server is to do.

    Attributes:
        model: What the source sends.
        streams: How many at once.
        warm_up: Seconds before it is measured.
        seconds: For how long it is measured.
    """

    model: str
    streams: int
    seconds: float
    warm_up: float = 0.4


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement gave.

    Attributes:
        opened: Streams that had a first token.
        tokens: That readers got while it was measured.
        sent: That the source sent meanwhile.
        seconds: How long that was.
        cpu: CPU seconds of the server, user and system.
        source_cpu: The same, of the source.
        reader_cpu: The same, of the readers.
        lost: Streams that the server broke off.
        first: Seconds from each request to its first token.
        delays: From the source's write to the reader, in steps of 10 µs.
    """

    opened: int
    tokens: int
    sent: int
    seconds: float
    cpu: float
    source_cpu: float
    reader_cpu: float
    lost: int
    first: list[float]
    delays: Counter[int]

    @property
    def cpu_per_token(self) -> float:
        """CPU microseconds a token; as many CPU seconds a million."""
        return self.cpu / self.tokens * 1e6 if self.tokens else math.inf

    @property
    def cores(self) -> float:
        """How much of a core the server used."""
        return self.cpu / self.seconds

    @property
    def load_cores(self) -> float:
        """How much of a core the busier of the load's processes used."""
        return max(self.source_cpu, self.reader_cpu) / self.seconds

    def delay(self, share: float) -> float:
        """Return the milliseconds within which that share of the tokens came."""
        return quantile(self.delays, share) / 100


def quantile(counts: Counter[int], share: float) -> float:
    """Return the value below which that share of what was counted is."""
    left = share * counts.total()
    for value, count in sorted(counts.items()):
        left -= count
        if left <= 0:
            return value
    return float("nan")


async def measure(load: Load, server: Server, work: Work) -> Measured:
    """Open the streams, wait until they flow, and measure for a while."""
    lost = (await load.readers.ask("mark"))["lost"]
    opened = await load.readers.ask(
        "open", url=server.url, body=server.body(work.model), number=work.streams, within=15.0
    )
    await asyncio.sleep(work.warm_up)
    source = await load.source.ask("stats")
    before = await load.readers.ask("mark")
    cpu = server.cpu()
    began = time.monotonic()
    await asyncio.sleep(work.seconds)
    cpu = server.cpu() - cpu
    seconds = time.monotonic() - began
    after = await load.readers.ask("mark")
    source_after = await load.source.ask("stats")
    await load.quiet()
    return Measured(
        opened=opened["opened"],
        # The readers' own span is a little longer than the server's.
        tokens=round(
            (after["tokens"] - before["tokens"]) * seconds / (after["time"] - before["time"])
        ),
        sent=source_after["sent"] - source["sent"],
        seconds=seconds,
        cpu=cpu,
        source_cpu=source_after["cpu"] - source["cpu"],
        reader_cpu=after["cpu"] - before["cpu"],
        lost=after["lost"] - lost,
        first=opened["first"],
        delays=Counter(dict(after["delays"])),
    )
