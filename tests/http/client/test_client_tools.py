"""`ChatClient.chat(..., tools=[function])`: several runs, one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from dripline import (
    Backoff,
    ChatClient,
    End,
    Event,
    RequestRefused,
    RunFailed,
    Start,
    TextMessage,
    ToolCall,
    ToolResult,
)
from dripline.testing import Call, Fault, Pace, ReceivedChat, Reply, Script, in_rounds
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.scripted_server import ScriptedServer, frames, stream, texts
from tests.support.stack import Stack, stack

OTHER: dict[str, Any] = {"type": "function", "function": {"name": "other", "parameters": {}}}


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


async def shout(text: str, marks: Literal["!", "?"] = "!") -> str:
    """Say it louder."""
    await asyncio.sleep(0)
    return text.upper() + marks


def script(*replies: list[str] | Reply, **more: Any) -> Script:
    return Script(in_rounds(*replies), capabilities=["completion", "tools"], **more)


def calling(*calls: Call, text: str = "") -> Reply:
    return Reply(text, tool_calls=calls)


async def events_of(s: Stack, *tools: Any, **more: Any) -> list[Event]:
    async with s.client.chat("Hi", tools=tools, **more) as stream:
        return [event async for event in stream]


def results(events: list[Event]) -> list[tuple[str, str, bool]]:
    return [
        (event.name, event.content, event.failed)
        for event in events
        if isinstance(event, ToolResult)
    ]


async def test_functions_are_called_and_the_model_goes_on() -> None:
    """One start, one end; calls and results in between; the answer and its usage are the whole."""
    first = calling(Call("add", {"a": 2}), Call("shout", {"text": "hi"}), text="Let me")
    async with stack(script(first, calling(Call("add", {"a": 3, "b": 4})), ["So"])) as s:
        async with s.client.chat("Hi", tools=[add, shout]) as stream:
            events = [event async for event in stream]
        assert len(s.ollama.chats) == 3
        body: Any = s.ollama.chats[2].body
        roles = [message["role"] for message in body["messages"]]
        assert roles == ["user", "assistant", "tool", "tool", "assistant", "tool"]
        assert body["messages"][1]["content"] == "Let me"
    assert [type(event) for event in events] == [
        Start,
        TextMessage,
        TextMessage,
        ToolCall,
        ToolCall,
        ToolResult,
        ToolResult,
        ToolCall,
        ToolResult,
        TextMessage,
        End,
    ]
    assert results(events) == [("add", "3", False), ("shout", "HI!", False), ("add", "7", False)]
    answer = stream.answer
    assert (answer.text, len(answer.tool_calls), len(answer.tool_results)) == ("Let meSo", 3, 3)
    assert answer.end is not None
    assert answer.end is events[-1]
    assert answer.end.usage.completion_tokens == 4 + 1 + 1
    assert [message["role"] for message in stream.messages] == roles


def broken() -> None:
    """Fail."""
    raise LookupError("not there")


@pytest.mark.parametrize(
    ("call", "content"),
    [
        (Call("broken"), "LookupError: not there"),
        (Call("add", {"b": "one"}), "a: Field required; b: Input should be a valid integer"),
        (Call("shout", {"text": "x", "marks": "."}), "marks: Input should be '!' or '?'"),
    ],
)
async def test_errors_are_told_to_the_model(call: Call, content: str) -> None:
    """The loop sees a failed result, and the model goes on."""
    async with stack(script(calling(call), ["I see"])) as s:
        events = await events_of(s, broken, add, shout)
    ((name, told, failed),) = results(events)
    assert (name, told[: len(content)], failed) == (call.name, content, True)
    assert events[-2] == TextMessage("I see")


async def test_the_bound_of_rounds() -> None:
    """The model is asked a last time without the functions, and with the request's other tools."""

    def reply(request: ReceivedChat) -> Reply:
        return Reply(["Enough"], tool_calls=[Call("add", {"a": 1})] * (len(request.tools) > 1))

    async with stack(Script(reply, capabilities=["completion", "tools"])) as s:
        events = await events_of(s, add, OTHER, max_tool_rounds=2)
        assert len(s.ollama.chats) == 3
        with pytest.raises(ValueError, match="max_tool_rounds"):
            s.client.chat("Hi", tools=[add], max_tool_rounds=0)
    assert isinstance(events[-1], End)
    assert (events[-1].status, events[-1].reason) == ("completed", "tool_rounds")


async def test_a_repeated_call_ends_the_rounds() -> None:
    """One that gives the same result again; while it gives another one, the model may go on."""

    def reply(request: ReceivedChat) -> Reply:
        return Reply(["Enough"], tool_calls=[Call("step", {"a": 1})] * 2 * bool(request.tools))

    told = [0]

    def step(a: int) -> int:
        """Go on, up to five."""
        told.append(min(told[-1] + a, 5))
        return told[-1]

    async with stack(Script(reply, capabilities=["completion", "tools"])) as s:
        events = await events_of(s, step)
        assert len(s.ollama.chats) == 5
    assert told[1:] == [1, 2, 3, 4, 5, 5, 5, 5]
    assert isinstance(events[-1], End)
    assert (events[-1].status, events[-1].reason) == ("completed", "tool_rounds")


async def test_calls_of_other_tools_are_the_callers() -> None:
    """Functions are called first; then the end comes, so that the caller can answer the rest."""
    async with stack(script(calling(Call("other"), Call("add", {"a": 1})), ["No"])) as s:
        events = await events_of(s, OTHER, add)
        assert len(s.ollama.chats) == 1
    assert [type(event) for event in events] == [Start, ToolCall, ToolCall, ToolResult, End]


async def test_the_servers_tools_and_the_clients() -> None:
    """Each is called where it lives; the model is told all of it, once."""

    def here(a: int) -> int:
        """Work at the server."""
        return a * 10

    replies = (calling(Call("here", {"a": 1}), Call("add", {"a": 1})), ["Both"])
    async with stack(script(*replies), functions=[here]) as s:
        events = await events_of(s, add)
        body: Any = s.ollama.chats[1].body
        told = [m["content"] for m in body["messages"] if m["role"] == "tool"]
    assert results(events) == [("here", "10", False), ("add", "2", False)]
    assert told == ["10", "2"]
    assert sum(isinstance(event, End) for event in events) == 1


async def test_it_resumes_in_every_run() -> None:
    """A connection that is cut in the first run, or in the second, costs nothing."""
    replies = (calling(Call("add", {"a": 1}), text="One two three"), ["Four", " five", " six"])
    async with (
        stack(script(*replies, pace=Pace(tokens_per_second=200))) as s,
        CuttingProxy(s.url) as proxy,
    ):

        async def ask() -> tuple[int, list[type], str]:
            client = ChatClient(proxy.url, backoff=Backoff(first=0))
            async with client, client.chat("Hi", tools=[add]) as stream:
                kinds = [type(event) async for event in stream]
            return stream.reconnects, kinds, stream.answer.text

        reconnects, kinds, text = await ask()
        assert (reconnects, text) == (0, "One two threeFour five six")
        whole = proxy.passed
        for after in (600, whole - 250):
            proxy.cuts.append(Cut(after))
            assert await ask() == (1, kinds, text)


def waiting() -> tuple[Callable[..., Any], asyncio.Event, asyncio.Event, list[str]]:
    """A tool that waits until it is released; when it was entered, and what became of it."""
    entered, release, fate = asyncio.Event(), asyncio.Event(), list[str]()

    async def wait() -> str:
        """Wait."""
        entered.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            fate.append("cancelled")
            raise
        fate.append("done")
        return "released"

    return wait, entered, release, fate


async def test_stop_while_a_function_works() -> None:
    """It is cancelled, and the end says so."""
    wait, entered, _, fate = waiting()
    async with (
        stack(script(calling(Call("wait")), ["No"])) as s,
        s.client.chat("Hi", tools=[wait]) as stream,
    ):
        reading = asyncio.create_task(_all(stream))
        await entered.wait()
        await stream.stop()
        events = await reading
        assert len(s.ollama.chats) == 1
    assert fate == ["cancelled"]
    assert isinstance(events[-1], End)
    assert events[-1].status == "cancelled"
    assert stream.answer.end is events[-1]


async def _all(stream: Any) -> list[Event]:
    return [event async for event in stream]


async def test_nothing_of_a_run_comes_after_its_end() -> None:
    """What a wrong server sends there is no part of the answer, nor of the next run."""
    call = '{"type":"tool_call","data":{"id":"c","name":"add","arguments":{"a":1}}}'
    end = '{"type":"end","data":{"status":"completed"}}'
    first = stream(frames(call, end, *texts("lost", "too")), X_Run_Id="r")
    second = stream(frames(*texts("Two"), end, *texts("lost")), X_Run_Id="s")
    async with ScriptedServer(first, second) as server, ChatClient(server.url) as client:
        answer = await client.ask("Hi", tools=[add])
    assert answer.text == "Two"
    assert [result.content for result in answer.tool_results] == ["2"]


async def test_a_step_that_is_cancelled_calls_nothing_twice() -> None:
    """The next step waits for the same call."""
    wait, entered, release, fate = waiting()
    async with (
        stack(script(calling(Call("wait")), ["Well"])) as s,
        s.client.chat("Hi", tools=[wait]) as stream,
    ):
        assert isinstance(await anext(stream), Start)
        assert isinstance(await anext(stream), ToolCall)
        step = asyncio.ensure_future(anext(stream))
        await entered.wait()
        step.cancel()
        await asyncio.wait({step})
        release.set()
        assert await anext(stream) == ToolResult(stream.answer.tool_calls[0].id, "wait", "released")
        assert [type(event) for event in await _all(stream)] == [TextMessage, End]
    assert fate == ["done"]


async def test_leaving_while_a_function_works_cancels_it() -> None:
    """Nothing goes on behind the caller's back."""
    wait, entered, _, fate = waiting()
    async with stack(script(calling(Call("wait")), ["No"])) as s:
        async with s.client.chat("Hi", tools=[wait]) as stream:
            step = asyncio.create_task(_all(stream))
            await entered.wait()
            step.cancel()
            await asyncio.wait({step})
        assert len(s.ollama.chats) == 1
    assert fate == ["cancelled"]


async def test_a_failing_later_run_raises() -> None:
    """As the first one does; what came before is kept."""

    def sabotage() -> str:
        """Let Ollama fail from now on."""
        s.ollama.models["story"] = script(["a", "b"], fault=Fault.cut(at_token=1))
        return "done"

    async with stack(script(calling(Call("sabotage")))) as s:
        with pytest.raises(RunFailed, match="upstream_cut"):
            async with s.client.chat("Hi", tools=[sabotage]) as stream:
                await _all(stream)
    assert stream.answer.text == "a"
    assert stream.answer.tool_results[0].content == "done"


async def test_a_later_request_that_is_refused_is_not_sent_twice() -> None:
    """Every further step raises the same."""

    def fill() -> str:
        """Let the server refuse what comes."""
        s.server.state.runs._draining = True
        return "done"

    async with (
        stack(script(calling(Call("fill")), ["No"])) as s,
        s.client.chat("Hi", tools=[fill]) as stream,
    ):
        for _ in range(3):
            await anext(stream)
        for _ in range(2):
            with pytest.raises(RequestRefused, match="shutting down"):
                await anext(stream)
        assert len(s.ollama.chats) == 1
