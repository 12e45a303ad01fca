"""Agents: async generators of the user's own answer chats as Ollama's models do."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ag_ui.core as agui
import aiohttp
import pytest

from dripline import (
    AddButton,
    ChangeTheme,
    ChatClient,
    Custom,
    DriplineError,
    End,
    Error,
    Event,
    RunFailed,
    Start,
    State,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
)
from dripline.events import RemoveButton, UndoChange
from dripline.testing import Call, Fault, Pace, Reply, Script
from dripline.testing.fake_ollama.received import Ending
from dripline_server import BadAgent, BadSetting, Settings, create_app, serve
from dripline_server.agents import AgentError, AgentFunction, Chat
from tests.support.npm_clients import NpmClients
from tests.support.stack import stack
from tests.support.usual_ollama import move_usual_ollama

BOOK = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}


async def count(chat: Chat) -> AsyncGenerator[str]:
    """Count to ten.

    And no further.
    """
    for number in range(10):
        yield f"{number} "


@asynccontextmanager
async def served(**agents: AgentFunction) -> AsyncIterator[ChatClient]:
    """Yield a client of a server with these agents, and without Ollama."""
    async with (
        serve(Settings(port=0, agent_stop_time=0.2), agents=agents) as server,
        ChatClient(server.url) as client,
    ):
        yield client


async def events(client: ChatClient, model: str = "agent", **fields: Any) -> list[Event]:
    """Return everything that a client reads of a run; the error of a failed one comes last."""
    read: list[Event] = []
    async with client.chat("hello", model=model, **fields) as stream:
        try:
            read.extend([event async for event in stream])
        except RunFailed:
            assert stream.answer.error
            return [stream.answer.error]
    return read


async def yielded(*items: object, **fields: Any) -> list[Event]:
    """Return what comes between start and end when an agent yields these."""

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        for item in items:
            yield item

    async with served(agent=agent) as client:
        read = await events(client, **fields)
    if isinstance(read[0], Error):
        return read
    start, *between, end = read
    assert isinstance(start, Start)
    assert isinstance(end, End)
    assert end.status == "completed"
    return between


async def test_a_run_by_name() -> None:
    """Its text comes between one start, which names it, and one end."""
    async with served(count=count) as client:
        start, *texts, end = await events(client, "count")
    assert isinstance(start, Start)
    assert (start.agent, start.model) == ("count", "count")
    assert texts == [TextMessage(f"{number} ") for number in range(10)]
    assert isinstance(end, End)
    assert (end.status, end.reason) == ("completed", "stop")


CALL = ToolCall("1", "look_up", {"word": "drip"})
YIELDED: list[tuple[object, list[Event]]] = [
    ("text", [TextMessage("text")]),
    ("", []),
    ("\ud83d\ude00 cut \ud83d", [TextMessage("😀 cut \ufffd")]),
    (TextMessage("text"), [TextMessage("text")]),
    (Thinking("hm \ud800"), [Thinking("hm \ufffd")]),
    (ChangeTheme("light green"), [ChangeTheme("#90EE90")]),
    (AddButton("Go", "go"), [AddButton("Go", "go")]),
    (RemoveButton("Go"), [RemoveButton("Go")]),
    (UndoChange("last"), [UndoChange("last")]),
    (Status("searching"), [Status("searching")]),
    (State({"seats": [1, None]}), [State({"seats": [1, None]})]),
    (State(None), [State(None)]),
    (Custom("seats", 4), [Custom("seats", 4)]),
    (agui.TextMessageStartEvent(message_id="1", role="assistant"), []),
    (agui.TextMessageContentEvent(message_id="1", delta="text"), [TextMessage("text")]),
    (agui.TextMessageChunkEvent(message_id="1", delta="text"), [TextMessage("text")]),
    (agui.ReasoningMessageContentEvent(message_id="1", delta="hm"), [Thinking("hm")]),
    (agui.StateSnapshotEvent(snapshot={"a": 1}), [State({"a": 1})]),
    (agui.CustomEvent(name="seats", value=4), [Custom("seats", 4)]),
    (agui.StepStartedEvent(step_name="searching"), [Status("searching")]),
    (agui.RunStartedEvent(thread_id="t", run_id="r"), []),
    (agui.RunFinishedEvent(thread_id="t", run_id="r"), []),
]


async def test_what_an_agent_may_yield() -> None:
    """Text, dripline's events, and AG-UI's own event objects."""
    expected = [event for _, found in YIELDED for event in found]
    assert await yielded(*(item for item, _ in YIELDED)) == expected


async def test_tools_in_aguis_events() -> None:
    """A call in pieces becomes one; deltas become whole states."""
    assert await yielded(
        agui.ToolCallStartEvent(tool_call_id="1", tool_call_name="look_up"),
        agui.ToolCallArgsEvent(tool_call_id="1", delta='{"word": '),
        agui.ToolCallArgsEvent(tool_call_id="1", delta='"drip"}'),
        agui.ToolCallEndEvent(tool_call_id="1"),
        agui.ToolCallResultEvent(message_id="2", tool_call_id="1", content="a drop"),
        agui.ToolCallChunkEvent(tool_call_id="2", tool_call_name="look_up", delta="{"),
        agui.ToolCallChunkEvent(delta="}"),
        agui.ToolCallResultEvent(message_id="3", tool_call_id="2", content="nothing"),
        agui.StateSnapshotEvent(snapshot={"seats": 4}),
        agui.StateDeltaEvent.model_validate(
            {"delta": [{"op": "replace", "path": "/seats", "value": 3}]}
        ),
    ) == [
        CALL,
        ToolResult("1", "look_up", "a drop"),
        ToolCall("2", "look_up", {}),
        ToolResult("2", "look_up", "nothing"),
        State({"seats": 4}),
        State({"seats": 3}),
    ]


BAD_YIELDS: list[tuple[object, str]] = [
    ({"text": "hi"}, "yielded an object of type dict"),
    (None, "yielded None"),
    (b"hi", "yielded an object of type bytes"),
    (5, "yielded an object of type int"),
    (["a"], "yielded an object of type list"),
    (Start("a", "b", "c"), "yielded an object of type Start, but the server itself"),
    (End("completed"), "yielded an object of type End, but the server itself"),
    (Error("internal_error", "no"), "yielded an Error; raise AgentError"),
    (TextMessage(5), "yielded an object of type TextMessage that is no event"),  # type: ignore[arg-type]
    (State(object()), "data.value: cannot be JSON"),
    (Custom("a", {1: 2}), "yielded an object of type Custom that is no event"),
    (ChangeTheme("loud"), "that is no change of the page: color: 'loud' is not a colour"),
    (AddButton("", "go"), "that is no change of the page: label: should be words on one line"),
    (ToolResult("1", "look_up", "x"), "yielded a ToolResult for '1', which is no open call"),
    (ToolCall("", "look_up", {}), "yielded a ToolCall whose id '' is not its own"),
    (CALL, "called the tool 'look_up', which the client does not have, and yielded no ToolResult"),
    ("x" * 5_000_000, "yielded str of 5,000,000 bytes at once; an event may have 4,194,304"),
    (State("x" * 5_000_000), "at once; an event may have 4,194,304"),
    (agui.ToolCallEndEvent(tool_call_id="7"), "a part of the tool call '7', which is not open"),
    (
        agui.StateDeltaEvent.model_validate({"delta": [{"op": "remove", "path": "/a/b"}]}),
        "yielded a STATE_DELTA that does not fit its state",
    ),
]


@pytest.mark.parametrize(("item", "why"), BAD_YIELDS, ids=[why[:40] for _, why in BAD_YIELDS])
async def test_what_an_agent_may_not_yield(item: object, why: str) -> None:
    """The run fails, and the error names the agent and what is wrong."""
    (error,) = await yielded("before", item, "after")
    assert isinstance(error, Error)
    assert error.code == "agent_failed"
    assert error.message.startswith("The agent agent ")
    assert why in error.message


async def test_a_failure_in_aguis_events() -> None:
    """RUN_ERROR fails the run with its own words."""
    (error,) = await yielded(agui.RunErrorEvent(message="No seats."), "more")
    assert error == Error("agent_failed", "No seats.")


class Counter:
    """Count, as an object."""

    async def __call__(self, chat: Chat) -> AsyncGenerator[str]:
        yield "counted"

    async def method(self, chat: Chat) -> AsyncGenerator[str]:
        """Count, as a method."""
        yield "counted"


async def returns(chat: Chat) -> str:
    """Count, as a coroutine."""
    return "counted"


async def with_word(word: str, chat: Chat) -> AsyncGenerator[str]:
    """Count, with an argument."""
    yield word


def in_thread(chat: Chat) -> Iterator[str]:
    """Count, in a thread."""
    yield "coun"
    yield "ted"


def at_once(chat: Chat) -> str:
    """Count, as a function."""
    return "counted"


@pytest.mark.parametrize(
    "agent",
    [
        Counter(),
        Counter().method,
        returns,
        partial(with_word, "counted"),
        partial(partial(with_word), "counted"),
        in_thread,
        at_once,
        lambda chat: with_word("counted", chat),
        lambda chat: returns(chat),
    ],
)
async def test_kinds_of_functions(agent: AgentFunction) -> None:
    """Whatever can be called with a chat and gives text is an agent."""
    async with served(agent=agent) as client:
        assert (await client.ask("Hi", model="agent")).text == "counted"


@pytest.mark.parametrize(
    ("agent", "what"),
    [
        (lambda _: None, "returned an object of type NoneType, not a str"),
        (lambda _: {"a": 1}, "returned an object of type dict, not a str"),
        (lambda _: iter([1]), "yielded an object of type int"),
    ],
)
async def test_functions_that_give_no_text(agent: AgentFunction, what: str) -> None:
    """The error names the type."""
    async with served(agent=agent) as client:
        (error,) = await events(client)
    assert isinstance(error, Error)
    assert what in error.message


@pytest.mark.parametrize(
    ("name", "function", "why"),
    [
        ("", count, "an agent's name has letters"),
        ("two words", count, "an agent's name has letters"),
        ("count:latest", count, "an agent's name has letters"),
        ("/count", count, "an agent's name has letters"),
        ("x" * 101, count, "at most 100 characters"),
        ("ollama", count, "choose another name"),
        (5, count, "an agent's name is a str"),
        ("agent", "count", "it is not a function"),
        ("agent", Counter, "it is not a function"),
        ("agent", lambda: "x", "it must accept one argument, the chat"),
        ("agent", with_word, "it must accept one argument, the chat"),
    ],
)
def test_what_is_refused_at_the_start(name: str, function: AgentFunction, why: str) -> None:
    """A name that is none, and what cannot be called with a chat."""
    with pytest.raises(BadAgent, match=why):
        create_app(Settings(), agents={name: function})


async def test_a_name_that_a_model_has() -> None:
    """It is refused at the start; later the agent hides the model."""
    models = {"story": Script("Once"), "other": Script("Other")}
    with pytest.raises(BadAgent, match="agents: story: Ollama has a model of this name"):
        async with stack(models, agents={"story": count}):
            pass
    async with stack({"other": Script("Other")}, agents={"count": count}) as s:
        s.ollama.models["count"] = Script("A model")
        assert [model.name for model in await s.client.models()] == ["other:latest", "count"]


def test_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--agents` takes a module's public async generator functions, and says what is wrong."""
    (tmp_path / "some_agents.py").write_text(
        "async def one(chat):\n    '''One.'''\n    yield '1'\n"
        "async def _hidden(chat):\n    yield '2'\n"
        "def helper():\n    pass\n"
    )
    (tmp_path / "more_agents.py").write_text("async def one(chat):\n    yield '1'\n")
    (tmp_path / "no_agents.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    create_app(Settings(agents="some_agents"))
    for modules, why in [
        ("no_agents", "no_agents has no public async generator function"),
        ("missing_agents", "missing_agents cannot be imported: ModuleNotFoundError"),
        ("some_agents,more_agents", "one: two agents have this name"),
    ]:
        with pytest.raises(BadSetting, match=f"--agents: {why}"):
            create_app(Settings(agents=modules))
    with pytest.raises(BadAgent, match="one: --agents has an agent of this name too"):
        create_app(Settings(agents="some_agents"), agents={"one": count})


async def test_what_lists_tell() -> None:
    """`/models` and `/v1/models` name each agent, with its docstring's first line."""
    async with served(count=count, quiet=lambda _: "") as client:
        listed, _ = await client.models()
        assert (listed.name, listed.agent, listed.description) == ("count", True, "Count to ten.")
        async with await client.request("GET", "/v1/models/count") as response:
            one = await response.json()
        async with await client.request("GET", "/models") as response:
            (first, _) = (await response.json())["models"]
    assert (one["id"], one["owned_by"], one["description"]) == (
        "count",
        "dripline",
        "Count to ten.",
    )
    assert (first["family"], first["description"]) == ("agent", "Count to ten.")


async def test_agents_alone_need_no_ollama(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for, nothing stands in, and the server is healthy."""
    move_usual_ollama(monkeypatch)
    async with served(count=count) as client, aiohttp.ClientSession(client.url) as http:
        async with http.get("/health") as response:
            health = await response.json()
        assert (response.status, health["status"]) == (200, "healthy")
        assert (health["ollama"], health["demo"]) == ("not used", "")
        assert "FakeOllama" not in str(asyncio.all_tasks())
        assert (await client.ask("Hi")).text.startswith("0 1 ")  # the only agent is the default
        with pytest.raises(DriplineError, match="There is no agent 'mistral'; there are: count"):
            await client.ask("Hi", model="mistral")


async def test_what_an_agent_gets() -> None:
    """The chat as the client sent it, who asks, and nothing of it is kept after the run."""
    got: list[Chat] = []

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        got.append(chat)
        yield chat.last_text

    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Book it"},
        {"role": "tool", "content": "booked", "tool_name": "book"},
    ]
    async with served(agent=agent) as client:
        answer = await client.ask(
            messages,
            model="agent",
            options={"temperature": 0},
            tools=[BOOK],
            think=True,
            ui_control="off",
        )
    (chat,) = got
    assert answer.text == "Book it"
    assert chat.messages == messages
    assert (chat.model, chat.run_id) == ("agent", answer.run_id)
    assert (chat.options, chat.tools, chat.think) == ({"temperature": 0}, [BOOK], True)
    assert (chat.format, chat.state, chat.context, chat.caller) == (None, None, (), "")
    assert (chat.can_call("book"), chat.can_call("look_up")) == (True, False)
    assert chat.request.headers["Content-Type"] == "application/json"
    assert chat.request.path == "/chat"
    with pytest.raises(RuntimeError, match="the run of this chat is over"):
        await anext(chat.ask_model("m", "Hi"))


async def test_a_tool_of_the_clients() -> None:
    """Calls that follow one another are all made; then the run ends for the client to answer."""
    two, three = ToolCall("2", "book", {}), ToolCall("3", "book", {"seat": 1})
    own = [CALL, ToolResult("1", "look_up", "a drop")]
    found = await yielded(*own, two, "", three, "never", tools=[BOOK])
    assert found == [*own, two, three]


async def test_an_agent_that_waits_after_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client can answer all the same: the agent is stopped."""
    monkeypatch.setattr("dripline_server.agents.agent_answer.FURTHER_CALLS", 0.01)
    stopped = asyncio.Event()

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        try:
            yield ToolCall("2", "book", {})
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    async with served(agent=agent) as client:
        *_, end = await events(client, tools=[BOOK])
    assert isinstance(end, End)
    assert end.status == "completed"
    assert stopped.is_set()


async def test_rounds_with_a_function_of_the_clients() -> None:
    """The client runs its function and asks again, and the agent sees the result."""

    def book(seat: int) -> str:
        """Book a seat."""
        return f"seat {seat} is yours"

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        if chat.messages[-1]["role"] == "tool":
            yield chat.messages[-1]["content"]
        else:
            yield ToolCall("call-1", "book", {"seat": 4})

    async with served(agent=agent) as client:
        assert (await client.ask("Book", model="agent", tools=[book])).text == "seat 4 is yours"


async def test_a_repeated_request_starts_nothing() -> None:
    """The same `run_id` gives the same run, also when it is over: nothing is done twice."""
    started: list[str] = []

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        started.append(chat.run_id)
        yield "once"

    body = {"messages": [{"role": "user"}], "model": "agent", "run_id": "a" * 22}
    async with served(agent=agent) as client:
        bodies = []
        for _ in range(3):
            async with await client.request("POST", "/chat", body=body) as response:
                bodies.append(await response.read())
    assert started == ["a" * 22]
    assert bodies[0] == bodies[1] == bodies[2]


SECRET = "4111 1111"


class Quits(BaseException):
    """What `except Exception` does not catch."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        RunFailed("no_code_of_ours", SECRET, retryable=True),
        asyncio.CancelledError(SECRET),
        SystemExit(SECRET),
        KeyboardInterrupt(SECRET),
        GeneratorExit(SECRET),
        Quits(SECRET),
        StopAsyncIteration(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("thread", [False, True])
async def test_what_an_agent_raises(
    error: BaseException, thread: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers learn that it failed, the log why, and the server goes on."""

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        yield "before"
        raise error

    def in_a_thread(chat: Chat) -> Iterator[str]:
        yield "before"
        raise error

    async with served(agent=in_a_thread if thread else agent, count=count) as client:
        async with client.chat("Hi", model="agent") as stream:
            with pytest.raises(RunFailed) as failed:
                async for _ in stream:
                    pass
        assert stream.answer.text == "before"
        assert (await client.ask("Hi", model="count")).text.startswith("0 1 ")
    assert failed.value.code == "agent_failed"
    assert failed.value.message == "The agent agent failed; the server's log says why."
    assert SECRET in caplog.text


async def test_what_the_user_should_read() -> None:
    """An `AgentError` is told as it is."""

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        yield "Looking. "
        raise AgentError("No flights.", retryable=True)

    async with served(agent=agent) as client:
        (error,) = await events(client)
    assert error == Error("agent_failed", "No flights.", retryable=True)


async def test_on_a_model() -> None:
    """An agent can stand on a model of the server's Ollama; its tokens are the run's."""

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        async for event in chat.ask_model("story", chat.messages, tools=chat.tools):
            yield event

    reply = Reply("Once upon", thinking="Hm", tool_calls=[Call("book", {"seat": 1})])
    script = Script(reply, capabilities=["completion", "tools", "thinking"])
    async with stack(script, agents={"agent": agent}) as s:
        async with s.client.chat("Tell", model="agent", tools=[BOOK]) as stream:
            async for _ in stream:
                pass
        answer = stream.answer
        assert (answer.text, answer.thinking) == ("Once upon", "Hm")
        assert [(call.name, call.arguments) for call in answer.tool_calls] == [
            ("book", {"seat": 1})
        ]
        assert answer.end
        assert answer.end.usage.completion_tokens
        asked: Any = s.ollama.chats[-1].body
        assert asked["messages"] == [{"role": "user", "content": "Tell"}]


async def test_a_model_that_fails_under_an_agent() -> None:
    """Its error has a code; uncaught, it is the run's error."""
    codes: list[str] = []

    async def careful(chat: Chat) -> AsyncGenerator[object]:
        try:
            async for event in chat.ask_model("story", "Hi"):
                yield event
        except RunFailed as error:
            codes.append(error.code)
            yield "Sorry."

    async def careless(chat: Chat) -> AsyncGenerator[object]:
        async for event in chat.ask_model("missing", "Hi"):
            yield event

    script = Script(Reply("Once upon a time"), fault=Fault.cut(at_token=2))
    async with stack(script, agents={"careful": careful, "careless": careless}) as s:
        assert (await s.client.ask("Hi", model="careful")).text.endswith("Sorry.")
        (error,) = await events(s.client, "careless")
    assert codes == ["upstream_cut"]
    assert isinstance(error, Error)
    assert error.code == "model_not_found"


@pytest.mark.parametrize("leaves", ["stop", "break", "task"])
async def test_a_model_is_freed(leaves: str) -> None:
    """Stopping the run, leaving the loop, and forgetting a task all close Ollama's socket."""
    tasks: list[asyncio.Task[None]] = []

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        asking = chat.ask_model("story", "Hi")
        if leaves == "task":
            asked = asyncio.Event()

            async def drain() -> None:
                async for _ in asking:
                    asked.set()

            tasks.append(asyncio.create_task(drain()))
            await asked.wait()
            return
        async for event in asking:
            yield event
            if leaves == "break":
                break

    script = Script(Reply("word " * 1000), pace=Pace(tokens_per_second=50))
    async with stack(script, agents={"agent": agent}) as s:
        async with s.client.chat("Hi", model="agent") as stream:
            async for event in stream:
                if leaves == "stop" and isinstance(event, TextMessage):
                    await stream.stop()
        assert await s.ollama.chats[-1].wait_ended() is Ending.CLIENT_LEFT


async def test_what_is_counted_and_recorded(tmp_path: Path) -> None:
    """Metrics count runs by agent; a recording has what readers got."""
    async with (
        serve(Settings(port=0, record=str(tmp_path)), agents={"count": count}) as server,
        ChatClient(server.url) as client,
    ):
        await client.ask("Hi", model="count")
        async with await client.request("GET", "/metrics") as response:
            metrics = await response.text()
    assert 'dripline_agent_runs_total{agent="count",status="completed"} 1.0' in metrics
    (recorded,) = await asyncio.to_thread(lambda: [one.read_text() for one in tmp_path.iterdir()])
    assert "sent-1" in recorded


async def test_the_demo_has_a_tour(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows what a run can do, and fails when it is asked to."""
    move_usual_ollama(monkeypatch)
    monkeypatch.setattr("dripline_server.agents.tour.PACE", 0)
    async with serve(Settings(port=0)) as server, ChatClient(server.url) as client:
        assert "tour" in [model.name for model in await client.models()]
        answer = await client.ask("Hi", model="tour")
        assert "an agent" in answer.text
        assert answer.thinking
        assert [call.name for call in answer.tool_calls] == ["look_up"]
        assert ChangeTheme("#90EE90") in answer.ui_controls
        assert AddButton("Fail on purpose", "Fail on purpose") in answer.ui_controls
        with pytest.raises(RunFailed, match="The tour was asked to fail"):
            await client.ask("Fail on purpose", model="tour")


def test_agui_is_not_imported_for_nothing() -> None:
    """A server whose agents yield text works without the extra."""
    code = "import sys, dripline_server.agents.hosting; sys.exit('ag_ui' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_what_aguis_application_tells(npm_clients: NpmClients) -> None:
    """State and context come as they are, and the messages are the client's own."""
    got: list[Chat] = []

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        got.append(chat)
        yield Custom("seats", 4)
        yield agui.StateDeltaEvent.model_validate(
            {"delta": [{"op": "add", "path": "/more", "value": True}]}
        )

    async with served(agent=agent) as client:
        said = await npm_clients.agui(
            client.url,
            [{"id": "1", "role": "user", "content": "Hi"}],
            state={"row": 4},
            context=[{"description": "Place", "value": "Bern"}],
        )
    (chat,) = got
    assert chat.messages == [{"role": "user", "content": "Hi"}]
    assert chat.state == {"row": 4}
    assert chat.context == [{"description": "Place", "value": "Bern"}]
    custom, snapshot = (e for e in said.events if e["type"] in ("CUSTOM", "STATE_SNAPSHOT"))
    assert (custom["name"], custom["value"]) == ("seats", 4)
    assert snapshot["snapshot"] == {"row": 4, "more": True}
    assert said.events[-1]["usage"] == [{"provider": "agent", "model": "agent"}]


async def test_rules_for_plain_words_go_first() -> None:
    """They change the page, and the agent gets the user's words alone."""
    got: list[Chat] = []

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        got.append(chat)
        yield "green"

    async with served(agent=agent) as client:
        answer = await client.ask("Change color to red", model="agent", ui_control="auto")
    assert answer.ui_controls == [ChangeTheme("#FF0000")]
    assert got[0].messages == [{"role": "user", "content": "Change color to red"}]


async def test_nothing_of_a_request_is_kept_with_an_ended_run() -> None:
    """Ended runs can be read for minutes, and a request may be megabytes."""
    chats: list[weakref.ref[Chat]] = []
    requests: list[weakref.ref[Any]] = []

    async def agent(chat: Chat) -> AsyncGenerator[str]:
        chats.append(weakref.ref(chat))
        requests.append(weakref.ref(chat.request))
        yield "seen"

    async with served(agent=agent) as client:
        await client.ask("Hi", model="agent")
        await client.models()  # aiohttp holds a connection's last request
        gc.collect()
        assert [found() for found in (*chats, *requests)] == [None, None]
