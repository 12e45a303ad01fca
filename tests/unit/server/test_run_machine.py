"""Runs, their logs and the registry together: what is done to them in any order, and what holds."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar, cast

import orjson
import pytest
from aiohttp import web
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)

from dripline import End, Error, ErrorCode, Start, Status, TextMessage
from dripline.events import Event, from_json
from dripline.tool_runner import ToolRunner
from dripline_server.agents import AgentError, Chat, agent_answer
from dripline_server.agents.agent import Agent
from dripline_server.agents.agent_answer import AgentAnswer
from dripline_server.known_tokens import KnownTokens
from dripline_server.metrics import Metrics
from dripline_server.run_log import Batch, PositionGone, PositionUnknown, RunLog
from dripline_server.run_log.memory import Budget, MemoryRunLogs
from dripline_server.runs.records import RunRecords
from dripline_server.runs.registry import RunRegistry
from dripline_server.runs.run import Run
from dripline_server.runs.run_request import MakeAnswerer, RunRequest
from dripline_server.settings import Settings
from dripline_server.upstream.chat_chunks import Chunk
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.upstreams import Upstreams

T = TypeVar("T")

KEEP_TIME = 60.0
KEEP_RUNS = 3
LOADING_AFTER = 1.0
LOG_BYTES = 1000
# More turns of the event loop than any step takes, from upstream's word to the last event.
TURNS = 60


class InjectedTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is what a test says it is."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        return self.now


class Answer:
    """One upstream request: what it is to say, and whether its connection is open."""

    def __init__(self) -> None:
        self.open = True
        self.to_say: asyncio.Queue[list[Chunk] | UpstreamError] = asyncio.Queue()


class ScriptedUpstream:
    """Stands where `Ollama` does, and says what the machine wants said."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.loaded = True

    async def phases(self, model: str, context: int, after: float) -> AsyncGenerator[str]:
        await asyncio.sleep(after)
        yield "waiting" if self.loaded else "loading"

    def note_answer(self, model: str) -> None:
        """Hear it."""

    async def chat(
        self,
        model: str,
        body: bytes,
        record: object = None,
        deliver_now: Callable[[list[Chunk]], bool] = lambda _: False,
        deliver_text_now: Callable[[bytes], bool] = lambda _: False,
    ) -> AsyncGenerator[list[Chunk]]:
        answer = self.answers[body.decode()] = Answer()
        try:
            while True:
                said = await answer.to_say.get()
                if isinstance(said, UpstreamError):
                    raise said
                done = isinstance(last := said[-1], dict) and last.get("done")
                if _text_alone(said) and deliver_text_now(_text_alone(said)):
                    continue
                if done or not deliver_now(said):
                    yield said
                if done:
                    return
        finally:
            answer.open = False

    async def agent(self, chat: Chat) -> AsyncGenerator[str]:
        """Stand where an agent does, and say the same."""
        answer = self.answers[chat.last_text] = Answer()
        try:
            while True:
                said = await answer.to_say.get()
                if isinstance(said, UpstreamError):
                    raise AgentError(said.message)
                for one in said:
                    assert isinstance(one, dict)
                    if one.get("done"):
                        return
                    yield one["message"]["content"]
        finally:
            answer.open = False

    def answering(self, name: str) -> MakeAnswerer:
        """Return what makes the agent's answer in a run."""
        body = orjson.dumps({"messages": [{"role": "user", "content": name}]})
        asked = RunRequest("agent", body)

        def make(
            run_id: str, log: RunLog, on_answer: Callable[[], object], record: object
        ) -> AgentAnswer:
            return AgentAnswer(
                Agent("agent", self.agent),
                run_id,
                log,
                lambda _: Chat(run_id, asked, cast("web.Request", None), cast("Ollama", self)),
                on_answer,
                stop_time=1,
                stall_timeout=0,
                abandon=lambda task: pytest.fail(task.get_name()),
            )

        return make


def _text_alone(said: list[Chunk]) -> bytes:
    """Return the inside of the JSON of what is one piece of text alone, as `ChunkReader` does."""
    match said:
        case [{"message": {"content": str(text)}, **rest}] if not rest:
            return orjson.dumps(text)[1:-1]
    return b""


class ModelRun:
    """A run, and what may have become of it."""

    def __init__(self, name: str, grace: float, now: float) -> None:
        self.name = name
        self.grace = grace
        self.by_agent = False
        self.run: Run
        self.readers: set[ModelReader] = set()
        self.unread_since: float | None = now
        # What it was told: how many tokens, and the status with which that ends.
        self.said = 0
        self.told_end = ""
        # The statuses of which it has to have ended with one, once it has to.
        self.due: set[str] = set()
        self.ended_at: float | None = None
        self.seen: dict[int, bytes] = {}

    @property
    def over(self) -> bool:
        return self.run.end is not None

    def stop(self) -> None:
        """Hear that it is told to stop; the first ending counts."""
        if not self.over and not self.due:
            self.due = {"cancelled"}


class ModelReader:
    """A reader, and what it should get next."""

    def __init__(self, of: ModelRun, next_seq: int) -> None:
        self.of = of
        self.next_seq = next_seq
        self.events: list[Event | None] = []
        self.stack = AsyncExitStack()
        self.batches: AsyncIterator[Batch]


class RunMachine(RuleBasedStateMachine):
    """Runs that are started, told, followed, left, stopped, outlived and evicted in any order."""

    runs = Bundle("runs")
    readers = Bundle("readers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = InjectedTimeLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.upstream = ScriptedUpstream()
        self.metrics = Metrics()
        self.budget = Budget(1_000_000)
        self.logs = MemoryRunLogs(LOG_BYTES, self.budget)
        self.all: list[ModelRun] = []
        self.attached: set[ModelReader] = set()
        self.registry = self.do(self._registry())

    async def _registry(self) -> RunRegistry:
        settings = Settings(
            keep_time=KEEP_TIME,
            keep_runs=KEEP_RUNS,
            log_bytes=LOG_BYTES,
            loading_after=LOADING_AFTER,
            max_runs=1000,
        )
        return RunRegistry(
            settings,
            Upstreams(cast("Ollama", self.upstream)),
            ToolRunner(timeout=1, max_result=100),
            self.logs,
            self.budget,
            self.metrics,
            RunRecords(""),
            KnownTokens(settings),
        )

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something, and let everything come of it that comes without time passing."""

        async def settled() -> T:
            result = await work
            for _ in range(TURNS):
                await asyncio.sleep(0)
            return result

        return self.runner.run(settled())

    @rule(
        target=runs,
        grace=st.sampled_from([0, 5, math.inf]),
        loaded=st.booleans(),
        by_agent=st.booleans(),
    )
    def start(self, grace: float, loaded: bool, by_agent: bool) -> ModelRun:
        """A chat begins; whoever began it reads it, or `attach` comes later."""
        self.upstream.loaded = loaded
        model = ModelRun(str(len(self.all)), grace, self.loop.now)
        model.by_agent = by_agent

        async def begin() -> None:
            answering = self.upstream.answering(model.name) if by_agent else None
            request = RunRequest(
                "mistral:latest", model.name.encode(), grace=grace, answering=answering
            )
            run = await self.registry.start(request)
            assert isinstance(run, Run)
            model.run = run

        self.do(begin())
        self.all.append(model)
        self._unread(model)
        return model

    @rule(run=runs, count=st.integers(1, 4), size=st.sampled_from([1, 30, 400]))
    def say(self, run: ModelRun, count: int, size: int) -> None:
        """Upstream sends tokens in one read, where it is still listened to."""
        answer = self.upstream.answers.get(run.name)
        if answer is None or not answer.open or run.told_end:
            return
        texts = [f"{run.said + n} {'x' * size}" for n in range(count)]
        run.said += count
        answer.to_say.put_nowait([{"message": {"content": text}} for text in texts])
        self.do(asyncio.sleep(0))

    @rule(run=runs, status=st.sampled_from(["completed", "failed"]))
    def end(self, run: ModelRun, status: str) -> None:
        """Upstream says that it is done, or breaks."""
        answer = self.upstream.answers.get(run.name)
        if answer is None or not answer.open or run.told_end:
            return
        run.told_end = status
        answer.to_say.put_nowait(
            [{"done": True, "done_reason": "stop"}]
            if status == "completed"
            else UpstreamError(ErrorCode.UPSTREAM_CUT, "cut")
        )
        self.do(asyncio.sleep(0))

    @rule(run=runs)
    def stop(self, run: ModelRun) -> None:
        """Somebody stops it: it waits for no reader."""
        run.stop()
        self.do(run.run.request_stop())

    @rule(target=readers, run=runs, back=st.integers(-2, 12))
    def follow(self, run: ModelRun, back: int) -> ModelReader | None:
        """A reader comes, at any place, where the run is still to be found."""
        if self.do(self.registry.find(run.run.id)) is None:
            return None
        state = self.do(run.run.log_state())
        reader = ModelReader(run, max(1, state.last + 1 - back))
        try:
            entered = reader.stack.enter_async_context(run.run.follow(reader.next_seq - 1))
            reader.batches = self.do(entered)
        except PositionUnknown:
            assert state.last < reader.next_seq - 1
            self._unread(run)
            return None
        except PositionGone:
            assert state.first > reader.next_seq
            self._unread(run)
            return None
        assert state.first <= reader.next_seq <= state.last + 1
        self.attached.add(reader)
        run.readers.add(reader)
        run.unread_since = None
        return reader

    @rule(reader=readers)
    def take(self, reader: ModelReader | None) -> None:
        """It gets what comes next, or the end of the iteration; see `_check`."""
        if reader not in self.attached:
            return
        state = self.do(reader.of.run.log_state())
        if state.last < reader.next_seq and not reader.of.over:
            return
        self.do(self._take(reader))

    async def _take(self, reader: ModelReader) -> bool:
        try:
            batch = await anext(reader.batches)
        except StopAsyncIteration:
            assert reader.of.over
            return False
        assert batch.first == reader.next_seq
        assert batch.payloads
        for seq, payload in enumerate(batch.payloads, start=batch.first):
            assert reader.of.seen.setdefault(seq, payload) == payload
        reader.events += map(from_json, batch.payloads)
        reader.next_seq += len(batch.payloads)
        return True

    @rule(reader=consumes(readers))
    def detach(self, reader: ModelReader | None) -> None:
        """A reader goes."""
        if reader not in self.attached:
            return
        self.attached.remove(reader)
        reader.of.readers.remove(reader)
        if not reader.of.readers:
            reader.of.unread_since = self.loop.now
        self.do(reader.stack.aclose())
        self._unread(reader.of)

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, KEEP_TIME]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.loop.now += seconds
        self.do(asyncio.sleep(0))
        for run in self.all:
            self._unread(run)

    @rule()
    def evict(self) -> None:
        """Ended runs are let go of; who reads them reads on."""
        over = [run for run in self.all if run.over]
        self.wait(KEEP_TIME)
        for run in over:
            assert self.do(self.registry.find(run.run.id)) is None

    def _unread(self, run: ModelRun) -> None:
        """Expect it to be stopped, if nobody has read it for its grace time."""
        if run.unread_since is None or run.due or run.ended_at is not None:
            return
        if self.loop.now - run.unread_since >= run.grace:
            # What its last reader held back may have gone on to the end before the stop.
            run.due = {"cancelled", run.told_end or "cancelled"}

    @invariant()
    def endings(self) -> None:
        """A run has ended if it had to, as it had to, and upstream is closed then."""
        for run in self.all:
            answer = self.upstream.answers.get(run.name)
            if run.due:
                assert run.over
            if not run.over:
                assert answer is not None
                # An agent has returned before all that it said is in the log.
                assert answer.open or (run.by_agent and run.told_end)
                # Only a reader that is behind holds an end back.
                assert not run.told_end or run.readers
                continue
            assert answer is None or not answer.open
            assert run.run.end is not None
            assert run.run.end.status in (run.due or {run.told_end})
            if run.ended_at is None:
                run.ended_at = self.loop.now

    @invariant()
    def keeping(self) -> None:
        """Those that go on are found, and of the ended ones no more than may be."""
        kept = 0
        for run in self.all:
            found = self.do(self.registry.find(run.run.id)) is not None
            assert found or run.over
            if run.ended_at is not None:
                assert not found or self.loop.now - run.ended_at < KEEP_TIME
                kept += found
        assert kept <= KEEP_RUNS
        assert self.registry.active == sum(not run.over for run in self.all)

    @invariant()
    def bounds(self) -> None:
        """Whoever reads how slowly: no log is beyond its bound by more than one read and an end."""
        live = sum(not run.over or bool(run.readers) for run in self.all) + KEEP_RUNS
        assert self.budget.used <= live * (LOG_BYTES + 4 * 600 + 1000)

    def teardown(self) -> None:
        async def finish() -> None:
            await self.registry.close()
            for reader in self.attached:
                while await self._take(reader):
                    pass
                self._check(reader)
                await reader.stack.aclose()
            # Those that it kept are there for other processes; this one's memory is to be empty.
            for run in self.all:
                with suppress(KeyError):
                    self.logs.forget(run.run.id)

        with self.runner:
            self.do(finish())
            figures = self.metrics.text().decode()
            counted = [line for line in figures.splitlines() if line.startswith("dripline_runs_t")]
            assert sum(float(line.split()[-1]) for line in counted) == len(self.all)
            assert self.budget.used == 0
            assert not asyncio.all_tasks(self.loop)
        assert not any(answer.open for answer in self.upstream.answers.values())

    def _check(self, reader: ModelReader) -> None:
        """What a reader got to the end is a part of one story, with one `end`."""
        events = reader.events
        if not events:  # it came when all had been said
            return
        assert isinstance(events[-1], End)
        assert events[-1] == reader.of.run.end
        kinds = [type(event) for event in events]
        assert kinds.count(End) == 1
        assert kinds.count(Error) <= 1
        assert kinds.count(Error) == 0 or kinds[-2] is Error
        assert kinds.count(Start) <= 1
        assert kinds.count(Status) <= 1
        numbers = [int(e.content.split()[0]) for e in events if isinstance(e, TextMessage)]
        assert numbers == list(range(*((numbers[0], numbers[-1] + 1) if numbers else (0, 0))))
        assert reader.of.seen[max(reader.of.seen)].startswith(b'{"type":"end"')


def test_any_order_keeps_the_promises() -> None:
    """See the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agent_answer, "MAX_PENDING", LOG_BYTES)
        run_state_machine_as_test(
            RunMachine,
            settings=hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None),
        )
