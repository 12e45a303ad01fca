"""One series: some chats, their readers everywhere, one fault, and what everybody was told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import aiohttp

from dripline import End, Error, EventDecoder, ServerSentEvent, TextMessage
from dripline.events import from_json
from tests.faults.site import HEARTBEAT, LEASE, WORDS, Site
from tests.faults.table import Fault
from tests.support.several import One
from tests.support.stack import user

TEXT = "".join(WORDS)
# Beside the lease and the heartbeat: this machine's, when it has too much to do.
SLACK = 5.0
# What a process says where it cannot know how a run goes on.
UNKNOWN = ("outcome_unknown", "position_gone")


class Wrong(AssertionError):
    """Something that must not happen."""


@dataclass
class Told:
    """What one reader was told.

    Attributes:
        got: The text of each event, by its id.
        ending: The status and the error's code of the run's end.
        unknown: The code of what it got instead.
        last: The last id.
    """

    task: asyncio.Task[object]
    got: dict[int, str] = field(default_factory=dict)
    ending: tuple[str, str] | None = None
    unknown: str = ""
    last: int = 0
    _error: str = ""

    def note(self, text: str) -> None:
        """Have the task that reads be called by what it does, for who looks at what is stuck."""
        self.task.set_name(text)

    def take(self, message: ServerSentEvent) -> None:
        """Note an event; only what is in the run's log has an id of its own."""
        seq = int(message.id or 0)
        if seq > self.last + 1:
            raise Wrong(f"{seq} after {self.last}")
        self.last = max(self.last, seq)
        match from_json(message.data):
            case TextMessage(content):
                self.got[seq] = content
            case Error(code):
                self._error = code
            case End(_) if self._error in UNKNOWN:
                self.unknown = self._error
            case End(status):
                self.ending = status, self._error

    @property
    def text(self) -> str:
        return "".join(self.got.values())


class Series:
    """One series.

    Args:
        site: Where.
        fault: What happens.
        seed: What else is drawn.
    """

    def __init__(self, site: Site, fault: Fault, seed: int) -> None:
        self._site = site
        self._fault = fault
        self._draw = random.Random(seed)
        self._undone = asyncio.Event()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Run it.

        Raises:
            Wrong: Text that is not exact, two endings, or a reader who waits for too long.
        """
        await self._site.restore()
        draw, loop = self._draw, asyncio.get_running_loop()
        before = len(self._site.ollama.chats)
        run_ids = [await self._start() for _ in range(2)]
        readers = [
            asyncio.create_task(self._read(run_id, server, draw.random() * late))
            for run_id in run_ids
            for late in (0, 0.5, 2.5)
            for server in self._site.servers
        ]
        try:
            # Before the first word, between words, at the end, after it.
            await asyncio.sleep(draw.choice([0, 0.2, draw.random() * 1.5, 1.5, 2.0]))
            await self._fault(self._site, draw)
            self._undone.set()
            # Until then the runs go on, and readers wait for words.
            async with asyncio.timeout(60):
                for request in self._site.ollama.chats[before:]:
                    await request.wait_ended()
            limit = LEASE + HEARTBEAT + SLACK
            started = loop.time()
            _, waiting = await asyncio.wait(readers, timeout=limit)
            if waiting:
                still = [reader.get_name() for reader in waiting]
                raise Wrong(f"readers still wait after {limit:g} s: {still}")
            self.counts["longest wait"] = round(1000 * (loop.time() - started))
            told = [reader.result() for reader in readers]
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.wait(readers)
        for number, run_id in enumerate(run_ids):
            size = len(told) // len(run_ids)
            await self._judge(run_id, told[number * size : (number + 1) * size])

    async def _start(self) -> str:
        server = self._draw.choice(self._site.servers)
        body = {"messages": user("Hi"), "on_disconnect": "continue"}
        async with self._site.http.post(f"{server.url}/chat", json=body) as response:
            if response.status != 200:
                raise Wrong(f"POST /chat: {response.status} {await response.text()}")
            return response.headers["X-Run-Id"]

    async def _read(self, run_id: str, server: One, late: float) -> Told:
        """Read a run to an end, through another server where this one breaks off."""
        await asyncio.sleep(late)
        told = self._told()
        while not told.ending and not told.unknown:
            try:
                if not await self._attach(run_id, server, told):
                    await asyncio.sleep(0.1)
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(0.1)
            if server.process.returncode is not None:
                server = self._draw.choice(self._site.servers)
        return told

    def _told(self) -> Told:
        task = asyncio.current_task()
        assert task
        return Told(task)

    async def _attach(self, run_id: str, server: One, told: Told) -> bool:
        """Read on; return whether anything came."""
        url = f"{server.url}/runs/{run_id}/events"
        headers = {"Last-Event-ID": str(told.last)}
        async with self._site.http.get(url, headers=headers) as response:
            told.note(f"{response.status} at {server.url} after {told.last}")
            if response.status == 204:
                raise Wrong(f"204 after {told.last}, with no end seen")
            if response.status == 503:
                return False
            if response.status != 200:
                # 404 after a flush or while the owner has yet to write it again; 410: it says so.
                if response.status not in (404, 410):
                    raise Wrong(f"{response.status} {await response.text()}")
                if self._undone.is_set():
                    told.unknown = str(response.status)
                return False
            decoder, before = EventDecoder(), told.last
            async for chunk in response.content.iter_any():
                for message in decoder.feed(chunk):
                    told.take(message)
            return told.last > before

    async def _judge(self, run_id: str, told: list[Told]) -> None:
        """Compare what all were told, and what each server says of the run now."""
        for one in told:
            if not TEXT.startswith(one.text):
                raise Wrong(f"text that was never said: {one.text[-80:]!r}")
            if one.ending and one.ending[0] == "completed" and one.text != TEXT:
                raise Wrong(f"completed, and only {len(one.text)} of {len(TEXT)} characters")
        endings = Counter(one.ending for one in told if one.ending)
        if len(endings) > 1:
            raise Wrong(f"told different endings: {dict(endings)}")
        later = await self._look_everywhere(run_id)
        said = Counter(one.ending for one in later if one.ending)
        if len({*said, *endings}) > 1:
            raise Wrong(f"readers were told {dict(endings)}, and later {dict(said)}")
        for one in later:
            if one.ending and one.ending[0] == "completed" and one.text != TEXT:
                raise Wrong(f"later completed, and only {len(one.text)} characters")
        for one in (*told, *later):
            ending = one.ending
            self.counts[" ".join(ending).strip() if ending else one.unknown] += 1

    async def _look_everywhere(self, run_id: str) -> list[Told]:
        living = [one for one in self._site.servers if one.process.returncode is None]
        looks = [asyncio.create_task(self._look(run_id, server)) for server in living]
        _, waiting = await asyncio.wait(looks, timeout=LEASE + HEARTBEAT + SLACK)
        for look in waiting:
            look.cancel()
        if waiting:
            raise Wrong(f"later readers wait: {[look.get_name() for look in waiting]}")
        return [look.result() for look in looks]

    async def _look(self, run_id: str, server: One) -> Told:
        """Read a run from the beginning, now that all is over."""
        told = self._told()
        while not told.ending and not told.unknown:
            try:
                if not await self._attach(run_id, server, told):
                    await asyncio.sleep(0.1)
            except (aiohttp.ClientError, ConnectionError):
                if server.process.returncode is not None:
                    told.unknown = "no server"
                await asyncio.sleep(0.1)
        return told
