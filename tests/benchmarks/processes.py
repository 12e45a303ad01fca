"""Processes under measurement: started, asked what they cost, and ended."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Running:
    """A process that was started here, with the processes that it has started itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pids(self) -> list[int]:
        """The process, and its children."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [pid, *map(int, children.split())]

    def cpu(self) -> float:
        """Return the CPU seconds, user and system, of all its threads, to the microsecond."""
        # The clock that clock_getcpuclockid(3) names; /proc has hundredths of a second only.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids)

    def memory(self) -> int:
        """Return the bytes that it holds in memory: resident, and its own."""
        return sum(map(_private_bytes, self.pids))

    def unsent(self) -> int:
        """Return the bytes that the kernel holds of what its processes have sent (IPv4)."""
        inodes = {inode for pid in self.pids for inode in _socket_inodes(pid)}
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        fields = (line.split() for line in table)
        return sum(int(row[4].partition(":")[0], 16) for row in fields if row[9] in inodes)

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Have one of the load's processes do something, and return its answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"do": do, **fields}).encode() + b"\n")
        return await self.line()

    async def line(self) -> dict[str, Any]:
        """Return the next line of its standard output, which is JSON."""
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the load has ended: {await self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _private_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            target = str(link.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    return inodes


@asynccontextmanager
async def running(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    stderr: int | None = DEVNULL,
) -> AsyncIterator[Running]:
    """Run a command; it is ended with the context. Its log goes nowhere, but is written."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        cwd=ROOT,
        env=environment,
        limit=2**24,  # a line of its standard output
    )
    try:
        yield Running(process)
    finally:
        # SIGKILL would leave nginx's workers behind.
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.communicate(), 5)
        except TimeoutError:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def load_process(name: str) -> AsyncIterator[tuple[Running, dict[str, Any]]]:
    """Run one of the load's processes; give it and what it says first."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}"]
    async with running(command, stderr=None) as process:
        yield process, await process.line()


async def until_listening(port: int, *, within: float = 30.0) -> None:
    """Wait until somebody accepts connections at the port."""
    async with asyncio.timeout(within):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
