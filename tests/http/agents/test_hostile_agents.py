"""Agents that do what none should: their runs end all the same, once, and so does the server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from dripline import ChatClient, End, Error, Event, Start, TextMessage
from dripline.events import from_json
from dripline_server import Server, Settings, serve
from dripline_server.agents import AgentFunction, Chat

STOP_TIME = 0.1


@dataclass
class Watch:
    """What an agent does beside yielding, and what sets it free after the test."""

    noted: list[str] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    thread_released: threading.Event = field(default_factory=threading.Event)


Hostile = Callable[[Watch], AgentFunction]


@asynccontextmanager
async def hosting(
    make: Hostile, watch: Watch, **settings: object
) -> AsyncIterator[tuple[Server, ChatClient]]:
    """Run a server with a hostile agent and a good one; whatever is stuck is freed at the end."""

    async def good(chat: Chat) -> AsyncGenerator[str]:
        yield "good"

    options = Settings(port=0, agent_stop_time=STOP_TIME, **settings)  # type: ignore[arg-type]
    async with (
        serve(options, agents={"hostile": make(watch), "good": good}) as server,
        ChatClient(server.url) as client,
    ):
        try:
            yield server, client
        finally:
            watch.released.set()
            watch.thread_released.set()


def closes(watch: Watch) -> AgentFunction:
    """The model of an agent: it cleans up."""

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        try:
            yield "a"
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            watch.noted.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            watch.noted.append("cleaned up")

    return agent


def waits_for_readers(watch: Watch) -> AgentFunction:
    """It is stopped where dripline writes, because it never waits itself."""

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        try:
            while True:
                yield "a"
        except GeneratorExit:
            watch.noted.append("exit")
            raise
        finally:
            watch.noted.append("cleaned up")

    return agent


def in_thread(watch: Watch) -> AgentFunction:
    """A plain generator is closed in its thread when it next yields."""

    def agent(chat: Chat) -> Iterator[str]:
        try:
            while True:
                yield "a"
        except GeneratorExit:
            watch.noted.append("exit")
            raise
        finally:
            watch.noted.append("cleaned up")

    return agent


def ignores_cancellation(watch: Watch) -> AgentFunction:
    async def agent(chat: Chat) -> AsyncGenerator[str]:
        yield "a"
        while not watch.released.is_set():
            with suppress(asyncio.CancelledError):
                await watch.released.wait()

    return agent


def yields_on(watch: Watch) -> AgentFunction:
    """It catches its cancellation, goes on yielding, and yields in its `finally`."""

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        yield "a"
        try:
            await watch.released.wait()
        except asyncio.CancelledError:
            try:
                while True:
                    yield "after the stop"
            finally:
                yield "in the finally"

    return agent


def fails_while_cleaning_up(watch: Watch) -> AgentFunction:
    async def agent(chat: Chat) -> AsyncGenerator[str]:
        try:
            yield "a"
            await watch.released.wait()
        finally:
            raise SystemExit("not now")

    return agent


def never_ends_cleaning_up(watch: Watch) -> AgentFunction:
    async def agent(chat: Chat) -> AsyncGenerator[str]:
        try:
            yield "a"
            await watch.released.wait()
        finally:
            while not watch.released.is_set():
                with suppress(asyncio.CancelledError):
                    await watch.released.wait()

    return agent


def stuck_thread(watch: Watch) -> AgentFunction:
    def agent(chat: Chat) -> Iterator[str]:
        yield "a"
        watch.thread_released.wait()

    return agent


STOPPED: list[tuple[Hostile, list[str], str]] = [
    (closes, ["cancelled", "cleaned up"], ""),
    (waits_for_readers, ["exit", "cleaned up"], ""),
    (in_thread, ["exit", "cleaned up"], ""),
    (ignores_cancellation, [], "the agent hostile has not ended 0.1 s after its stop"),
    (yields_on, [], "the agent hostile failed while it was cleaning up"),
    (fails_while_cleaning_up, [], "the agent hostile failed while it was cleaning up"),
    (never_ends_cleaning_up, [], "the agent hostile has not ended 0.1 s after its stop"),
    (stuck_thread, [], "Its thread goes on until the function returns"),
]


@pytest.mark.parametrize(("make", "noted", "logged"), STOPPED)
@pytest.mark.parametrize("how", ["stop", "grace", "shutdown"])
async def test_stop(
    make: Hostile, noted: list[str], logged: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, has its time, and then the run ends; nothing that it yields later is shown."""
    watch = Watch()
    async with hosting(make, watch) as (server, client):
        stream = client.chat(
            "Hi", model="hostile", on_disconnect="stop" if how == "grace" else "continue"
        )
        async with stream:
            async for event in stream:
                if event == TextMessage("a"):
                    break
            if how == "stop":
                await stream.stop()
            if how == "shutdown":
                await server.state.runs.close()
        run = await server.state.runs.find(stream.run_id)
        assert run
        async with run.follow(0) as batches:
            payloads = [payload async for batch in batches for payload in batch.payloads]
        start, *texts, last = [from_json(payload) for payload in payloads]
        if how == "shutdown":
            error = texts.pop()
            assert isinstance(error, Error)
            assert error.code == "server_shutdown"
        assert isinstance(start, Start)
        assert isinstance(last, End)
        assert last.status == ("failed" if how == "shutdown" else "cancelled")
        assert set(texts) == {TextMessage("a")}
        assert watch.noted == noted  # before the end
        if how != "shutdown":
            assert (await client.ask("Hi", model="good")).text == "good"
    assert logged in caplog.text


async def read(client: ChatClient) -> list[Event]:
    """Read the hostile agent's run to its end."""
    events: list[Event] = []
    async with client.chat("Hi", model="hostile") as stream:
        with suppress(Exception):
            events.extend([event async for event in stream])
    assert stream.answer.end
    return [*filter(None, [stream.answer.error]), stream.answer.end]


def never_yields(watch: Watch) -> AgentFunction:
    async def agent(chat: Chat) -> AsyncGenerator[str]:
        await watch.released.wait()
        yield ""

    return agent


def silent_thread(watch: Watch) -> AgentFunction:
    def agent(chat: Chat) -> Iterator[str]:
        watch.thread_released.wait()
        yield ""

    return agent


def silent_and_stubborn(watch: Watch) -> AgentFunction:
    async def agent(chat: Chat) -> AsyncGenerator[str]:
        while not watch.released.is_set():
            with suppress(asyncio.CancelledError):
                await watch.released.wait()
        yield ""

    return agent


@pytest.mark.parametrize("make", [never_yields, silent_thread, silent_and_stubborn])
async def test_silence(make: Hostile) -> None:
    """After `--stall-timeout` the run fails, with a code of its own."""
    async with hosting(make, Watch(), stall_timeout=0.1) as (_, client):
        error, end = await read(client)
    assert error == Error("agent_stalled", "The agent hostile sent nothing for 0.1 s.", True)
    assert isinstance(end, End)
    assert end.status == "failed"


async def test_silence_that_is_none() -> None:
    """An empty text says that an agent is alive; and one that waits for readers is not silent."""

    def make(watch: Watch) -> AgentFunction:
        async def agent(chat: Chat) -> AsyncGenerator[str]:
            for _ in range(8):
                await asyncio.sleep(0.05)
                yield ""

        return agent

    async with hosting(make, Watch(), stall_timeout=0.2) as (_, client):
        (end,) = await read(client)
    assert isinstance(end, End)
    assert end.status == "completed"


async def test_a_slow_reader_pauses_it() -> None:
    """What it yields beyond the log's limit waits for the reader, and so does the agent."""
    count = 0

    def make(watch: Watch) -> AgentFunction:
        async def agent(chat: Chat) -> AsyncGenerator[str]:
            nonlocal count
            for _count in range(20_000):
                yield "x" * 1000

        return agent

    async with (
        hosting(make, Watch(), log_bytes=100_000, stall_timeout=5) as (server, client),
        client.chat("Hi", model="hostile") as stream,
    ):
        await anext(aiter(stream))
        run = await server.state.runs.find(stream.run_id)
        assert run
        before = -1
        while before != count:  # until it stands still
            before = count
            await asyncio.sleep(0.1)
        assert count < 15_000  # what the network's buffers hold, and no more
        assert not (await run.log_state()).finished
        assert sum([isinstance(event, TextMessage) async for event in stream]) == 20_000


async def test_one_that_never_waits() -> None:
    """Others are served meanwhile."""

    def make(watch: Watch) -> AgentFunction:
        async def agent(chat: Chat) -> AsyncGenerator[str]:
            while not watch.released.is_set():
                yield ""

        return agent

    async with (
        hosting(make, Watch()) as (_, client),
        client.chat("Hi", model="hostile") as stream,
    ):
        await anext(aiter(stream))
        assert (await client.ask("Hi", model="good")).text == "good"
        await stream.stop()


async def test_one_that_blocks_the_loop(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can help that, but the log names it."""
    monkeypatch.setattr("dripline_server.agents.agent_answer.LONG_STEP", 0.05)

    def make(watch: Watch) -> AgentFunction:
        async def agent(chat: Chat) -> AsyncGenerator[str]:
            time.sleep(0.1)  # noqa: ASYNC251 (it is hostile)
            yield "a"

        return agent

    async with hosting(make, Watch()) as (_, client):
        await read(client)
    assert "the agent hostile blocked the event loop for 0.1 s" in caplog.text


async def test_the_context_is_the_runs_own() -> None:
    """What an agent sets in its context stays there, and lasts as long as it."""
    from contextvars import ContextVar

    variable = ContextVar("variable", default="outside")

    def make(watch: Watch) -> AgentFunction:
        async def agent(chat: Chat) -> AsyncGenerator[str]:
            yield variable.get()
            variable.set("inside")
            for _ in range(2):
                await asyncio.sleep(0)
                yield variable.get()

        return agent

    async with hosting(make, Watch()) as (_, client):
        for _ in range(2):
            assert (await client.ask("Hi", model="hostile")).text == "outsideinsideinside"
