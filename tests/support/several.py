"""Several dripline servers, each a process of its own, on one Redis and one fake Ollama."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from dripline import End, Error, Event, EventDecoder, ServerSentEvent
from dripline.events import from_json
from dripline.testing import Clock, FakeOllama, Script
from tests.support.processes import command, line
from tests.support.redis_server import RedisServer
from tests.support.stack import user


@dataclass(frozen=True, slots=True)
class One:
    """A server."""

    process: Process
    url: str

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass(frozen=True, slots=True)
class Several:
    """The servers, and what they stand on; what is in `closing` is closed first."""

    servers: list[One]
    ollama: FakeOllama
    redis: RedisServer
    http: aiohttp.ClientSession
    closing: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def chat(self, server: One, **fields: object) -> Reader:
        """Start a run."""
        body = {"messages": user("Hi"), **fields}
        return self._reader(await self.http.post(f"{server.url}/chat", json=body))

    async def attach(self, server: One, run_id: str, after: int | str = 0) -> Reader:
        """Read a run through a server."""
        headers = {"Last-Event-ID": str(after)}
        url = f"{server.url}/runs/{run_id}/events"
        return self._reader(await self.http.get(url, headers=headers))

    async def stop(self, server: One, run_id: str) -> int:
        """Stop a run through a server; return the status."""
        async with self.http.delete(f"{server.url}/runs/{run_id}") as response:
            return response.status

    async def health(self, server: One) -> tuple[int, str]:
        """Return the status of `/health`, and what it says of the run log."""
        async with self.http.get(f"{server.url}/health") as response:
            return response.status, (await response.json())["run_log"]

    async def wait_health(self, server: One, run_log: str) -> int:
        """Wait until `/health` says this of the run log; return its status."""
        while True:
            status, said = await self.health(server)
            if said == run_log:
                return status
            await asyncio.sleep(0.02)

    def _reader(self, response: aiohttp.ClientResponse) -> Reader:
        self.closing.callback(response.close)
        return Reader(response)


@asynccontextmanager
async def several(
    models: Script | Mapping[str, Script],
    redis: RedisServer,
    count: int = 2,
    *,
    clock: Clock | None = None,
    url: str = "",
    **options: object,
) -> AsyncIterator[Several]:
    """Run servers; a single script is the model `story`, which is the default then.

    Args:
        models: What the fake Ollama has.
        redis: Where the run logs are.
        count: How many servers.
        clock: What the fake Ollama goes by.
        url: The way to it, where it is not the usual one.
        options: Their settings, such as `lease_time=2`.
    """
    if isinstance(models, Script):
        models, options = {"story": models}, {"model": "story", **options}
    options = {"loading_after": 3600, "run_log": url or redis.url, **options}
    async with AsyncExitStack() as stack:
        ollama = await stack.enter_async_context(FakeOllama(models, clock=clock))
        servers = await stack.enter_async_context(servers_of(ollama, count, **options))
        connector = aiohttp.TCPConnector(limit=0)
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        running = Several(servers, ollama, redis, http)
        await stack.enter_async_context(running.closing)
        yield running


@asynccontextmanager
async def servers_of(ollama: FakeOllama, count: int, **options: object) -> AsyncIterator[list[One]]:
    """Run servers of an Ollama, with settings such as `run_log`."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    common = ["--port", "0", "--ollama", ollama.url, *flags]
    async with AsyncExitStack() as stack:
        # All are started before the first is waited for.
        processes = [
            await stack.enter_async_context(command("dripline-server", *common, stderr=None))
            for _ in range(count)
        ]
        yield [
            One(process, (await line(process)).removeprefix("dripline is at "))
            for process in processes
        ]


class Reader:
    """A reader of a run's events, over a connection of its own.

    Attributes:
        response: The HTTP response.
        run_id: The run's id.
        messages: What has come.
        whole: Whether HTTP says that the body is complete.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.run_id = response.headers.get("X-Run-Id", "")
        self.messages: list[ServerSentEvent] = []
        self.whole = False
        self._decoder = EventDecoder()

    async def read(self, until: int | None = None) -> list[ServerSentEvent]:
        """Read to the end, or until an event ID has come; return all that has come."""
        while not (until and self.messages and int(self.messages[-1].id) >= until):
            try:
                chunk = await self.response.content.readany()
            except aiohttp.ClientError:
                break
            if not chunk:
                self.whole = True
                break
            self.messages += self._decoder.feed(chunk)
        return self.messages

    def leave(self) -> None:
        """Close the connection."""
        self.response.close()

    @property
    def seqs(self) -> list[int]:
        """The event IDs that have come; an event that is not in the run's log has none."""
        found = [int(message.id) for message in self.messages]
        return [seq for n, seq in enumerate(found) if n == 0 or seq != found[n - 1]]

    @property
    def events(self) -> list[Event | None]:
        """The events that have come."""
        return [from_json(message.data) for message in self.messages]

    @property
    def ending(self) -> tuple[str, str]:
        """The status of the `end`, which is the last event, and the code of an `error` before."""
        *_, before, end = self.events
        assert isinstance(end, End)
        return end.status, before.code if isinstance(before, Error) else ""
