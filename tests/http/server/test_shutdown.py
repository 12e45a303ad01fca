"""Shutdown: SIGTERM drains, then ends; no reader is left without its `end`."""

from __future__ import annotations

import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from dripline import EventDecoder
from dripline.events import End, Error, Event, from_json
from dripline.testing import Clock, Ending, FakeOllama, Fault, Pace, Script
from tests.support.gated_clock import GatedClock
from tests.support.processes import command, line
from tests.support.stack import user

TOLD = Script(["word "] * 20, pace=Pace(first_token=1, tokens_per_second=1))
STUCK = Script(["word "] * 20, fault=Fault.stall(at_token=2))


@asynccontextmanager
async def running(
    script: Script, *flags: str, clock: Clock | None = None
) -> AsyncIterator[tuple[FakeOllama, Process, str, aiohttp.ClientSession]]:
    """A dripline server as a process of its own, before a fake Ollama in this one."""
    async with (
        FakeOllama({"story": script}, clock=clock) as ollama,
        command(
            "dripline-server", "--port", "0", "--ollama", ollama.url, "--model", "story", *flags
        ) as process,
        aiohttp.ClientSession() as http,
    ):
        yield ollama, process, (await line(process)).removeprefix("dripline is at "), http


async def events_of(response: aiohttp.ClientResponse) -> list[Event | None]:
    """Read a stream to its end."""
    return [from_json(message.data) for message in EventDecoder().feed(await response.read())]


async def test_runs_may_finish() -> None:
    """What goes on is finished, new chats are refused, attaching works, and the exit code is 0."""
    clock = GatedClock()
    async with running(TOLD, clock=clock) as (ollama, process, url, http):
        response = await http.post(f"{url}/chat", json={"messages": user("Hi")})
        request = await ollama.wait_for_request()
        clock.let_go(1)
        await request.wait_tokens(1)
        process.send_signal(signal.SIGTERM)
        assert "waiting for 1 chat to end" in await line(process)
        refused = await http.post(f"{url}/chat", json={"messages": user("Hi")})
        assert refused.status == 503
        assert refused.headers["Retry-After"]
        assert (await refused.json())["error"]["code"] == "server_shutdown"
        run_id = response.headers["X-Run-Id"]
        second = await http.get(f"{url}/runs/{run_id}/events")
        clock.let_go(20)
        whole = await events_of(response)
        assert await events_of(second) == whole
        assert isinstance(whole[-1], End)
        assert whole[-1].status == "completed"
        assert await process.wait() == 0


@pytest.mark.parametrize("twice", [False, True], ids=["after the drain time", "second signal"])
async def test_what_does_not_finish_is_ended(twice: bool) -> None:
    """Every reader gets `error` "server_shutdown", retryable, and a failed `end`."""
    drain = "600" if twice else "0.1"
    async with running(STUCK, "--drain-time", drain) as (ollama, process, url, http):
        response = await http.post(f"{url}/chat", json={"messages": user("Hi")})
        request = await ollama.wait_for_request()
        await request.wait_tokens(2)
        process.send_signal(signal.SIGTERM)
        await line(process)
        if twice:
            process.send_signal(signal.SIGTERM)
        *_, error, end = await events_of(response)
        assert isinstance(error, Error)
        assert (error.code, error.retryable) == ("server_shutdown", True)
        assert isinstance(end, End)
        assert end.status == "failed"
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        assert await process.wait() == 0
