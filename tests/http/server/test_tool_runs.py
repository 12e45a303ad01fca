"""Runs with tools of the server's end once, whatever ends them and whatever the model says."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, suppress
from typing import Any

import orjson
import pytest

from dripline import End, RunFailed, Start
from dripline.events import from_json
from dripline.testing import Call, Fault, Reply, Script, in_rounds
from dripline_server.runs.run import Run
from tests.support.redis_server import redis_server
from tests.support.stack import Stack, stack

TOOLS = ["completion", "tools"]


def script(*replies: str | Reply, **more: Any) -> Script:
    return Script(in_rounds(*replies), capabilities=TOOLS, **more)


def calling(name: str) -> Reply:
    return Reply("", tool_calls=[Call(name)])


async def settled(s: Stack) -> int:
    """Let everything come of what is there; return how often Ollama was asked."""
    for _ in range(300):
        await asyncio.sleep(0.001)
    return len(s.ollama.chats)


@pytest.mark.parametrize("how", ["stop", "grace", "shutdown"])
@pytest.mark.parametrize("run_log", ["memory", "redis"])
async def test_a_run_ends_while_a_tool_never_returns(how: str, run_log: str) -> None:
    """A thread cannot be stopped; the run does not wait for it, whatever ends the run."""
    release, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def stuck() -> None:
        """Never return."""
        loop.call_soon_threadsafe(entered.set)
        release.wait()

    async with AsyncExitStack() as context:
        if run_log == "redis":
            run_log = context.enter_context(redis_server()).url
        model = script(calling("stuck"), "Never said")
        s = await context.enter_async_context(
            stack(model, functions=[stuck], run_log=run_log, grace=0.05, tool_timeout=3600)
        )
        context.callback(release.set)
        async with s.client.chat("Hi", on_leave="detach") as stream:
            events = [await anext(stream), await anext(stream)]
            await entered.wait()
            if how == "stop":
                await stream.stop()
            elif how == "shutdown":
                await s.server.state.runs.close()
            if how != "grace":
                with suppress(RunFailed):
                    async for event in stream:
                        events.append(event)  # noqa: PERF401 - what came before the raise counts
        await s.server.state.runs.drain(60, asyncio.Event())
        assert s.server.state.runs.active == 0
        if how == "grace":
            async with s.client.attach(stream.run_id, after=stream.last_event_id) as rest:
                events += [event async for event in rest]
        assert len(s.ollama.chats) == 1
        await s.ollama.chats[0].wait_closed()
        figures = s.server.state.metrics.text().decode()
    end = events[-1]
    assert isinstance(end, End)
    assert end.status == ("failed" if how == "shutdown" else "cancelled")
    assert [type(event) for event in events].count(End) == 1
    assert f'dripline_runs_total{{status="{end.status}"}} 1.0' in figures
    assert "dripline_active_runs 0.0" in figures
    assert "dripline_tool_calls_total{" not in figures  # it has no outcome


async def test_a_stuck_reader_holds_back_a_run_with_tools() -> None:
    """The log keeps its bound between rounds too; stopping waits for no reader."""

    def much() -> str:
        """Return much."""
        return "x" * 20_000

    model = script(*[calling("much")] * 8, "Done")
    settings: dict[str, Any] = {"log_bytes": 50_000, "reader_timeout": 0, "max_tool_rounds": 8}
    async with stack(model, functions=[much], max_tool_result=20_000, **settings) as s:
        async with s.client.chat("Hi", on_leave="detach") as stream:
            pass
        run = await s.server.state.runs.find(stream.run_id)
        assert isinstance(run, Run)
        async with run.follow(0) as batches:
            # The reader takes nothing: the run comes as far as the bound lets it.
            await s.ollama.wait_for_request(3)
            stopped_at = await settled(s)
            assert await settled(s) == stopped_at < 8
            run.stop()
            got = [payload async for batch in batches for payload in batch.payloads]
    kinds = [type(from_json(payload)) for payload in got]
    assert (kinds[0], kinds[-1], kinds.count(End)) == (Start, End, 1)


async def test_counts_that_cannot_be() -> None:
    """They count as absent, in whatever round; the run ends as it would."""

    def often() -> None:
        """Be called in each round."""

    line = orjson.dumps(
        {
            "message": {"tool_calls": [{"function": {"name": "often", "arguments": {}}}]},
            "done": True,
            "done_reason": "stop",
            "eval_count": 2**64 - 1,
            "prompt_eval_count": -5,
            "load_duration": 2**53 + 1,
        }
    )
    model = script("", fault=Fault.garbage(line))
    async with stack(model, functions=[often], max_tool_rounds=1) as s:
        end = (await s.client.ask("Hi")).end
        assert len(s.ollama.chats) == 2
    assert isinstance(end, End)
    usage = end.usage
    assert (end.status, end.reason) == ("completed", "tool_rounds")
    assert (usage.completion_tokens, usage.prompt_tokens, usage.load_time) == (None, None, None)
