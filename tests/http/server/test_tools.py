"""Tools of the server's, and the page's: the model calls, is told, and goes on, in one run."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Literal

import pytest

from dripline import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    End,
    Event,
    RemoveButton,
    RunFailed,
    Start,
    TextMessage,
    Thinking,
    ToolResult,
    UndoChange,
)
from dripline import ToolCall as CallEvent
from dripline.testing import (
    Call,
    Ending,
    Fault,
    Pace,
    ReceivedChat,
    Reply,
    Script,
    demo_models,
    in_rounds,
)
from dripline.tool import Tool, ToolError
from tests.support.stack import Stack, stack

TOOLS = ["completion", "tools", "thinking"]
CLIENT_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "locate", "description": "", "parameters": {"type": "object"}},
}


def population(city: str, unit: Literal["people", "millions"] = "people") -> int:
    """Return how many live in a city.

    Args:
        city: Its name.
        unit: What to count.
    """
    if city == "Atlantis":
        raise ToolError("there is no such city")
    if city == "Crash":
        raise RuntimeError("the tool fell over")
    if city == "Broken":
        raise OSError("no file \udcff.txt")
    return 443_000 if unit == "people" else 0


async def elevation(city: str) -> dict[str, int]:
    """Return how high a city lies."""
    await asyncio.sleep(0)
    return {"metres": len(city)}


PAGE_TOOLS = [
    "change_theme",
    "add_button",
    "change_accent",
    "change_text_size",
    "remove_button",
    "undo_change",
]


def script(*replies: str | list[str] | Reply, **more: Any) -> Script:
    return Script(in_rounds(*replies), capabilities=TOOLS, **more)


def calling(*calls: Call, text: str = "") -> Reply:
    return Reply(text, tool_calls=calls)


async def events_of(s: Stack, text: str = "Hi", **fields: Any) -> list[Event]:
    async with s.client.chat(text, **fields) as stream:
        return [event async for event in stream]


def told(s: Stack, chat: int = -1) -> list[dict[str, Any]]:
    """What the tools gave, as the model was told it."""
    body: Any = s.ollama.chats[chat].body
    return [message for message in body["messages"] if message["role"] == "tool"]


def offered(s: Stack, chat: int = 0) -> list[str]:
    body: Any = s.ollama.chats[chat].body
    return [tool["function"]["name"] for tool in body.get("tools", ())]


async def test_the_page_obeys_the_model() -> None:
    """A call is a ui_control event at its place; the model is told and goes on, in one run."""
    sea = Call("change_theme", {"color": "cadetblue"})
    yes = Call("add_button", {"label": "Yes"})
    model = script(Reply(["Let me see."], ["Hm"], [sea, yes]), ["Done."])
    async with stack(model) as s:
        events = await events_of(s, "something calmer, like the sea", ui_control="auto")
        assert [type(event) for event in events] == [
            Start,
            Thinking,
            TextMessage,
            ChangeTheme,
            AddButton,
            TextMessage,
            End,
        ]
        assert events[3:5] == [ChangeTheme("#5F9EA0"), AddButton("Yes", "Yes")]
        body: Any = s.ollama.chats[1].body
        assistant, *results = body["messages"][1:]
        assert (assistant["content"], assistant["thinking"]) == ("Let me see.", "Hm")
        ids = [call["id"] for call in assistant["tool_calls"]]
        assert [call["function"]["name"] for call in assistant["tool_calls"]] == [
            "change_theme",
            "add_button",
        ]
        assert [result["tool_call_id"] for result in results] == ids
        assert len(s.ollama.chats) == 2


async def test_each_of_the_pages_tools_is_an_event() -> None:
    """Whatever the page can do, a model can have it do, in any language that it reads."""
    wanted: dict[Event, Call] = {
        ChangeAccent("#008080"): Call("change_accent", {"color": "teal"}),
        ChangeTextSize("larger"): Call("change_text_size", {"size": "larger"}),
        RemoveButton("Oui"): Call("remove_button", {"label": " Oui "}),
        UndoChange("last"): Call("undo_change", {}),
        UndoChange("all"): Call("undo_change", {"what": "all"}),
    }
    async with stack(script(calling(*wanted.values()), "Voilà.")) as s:
        events = await events_of(s, "Plus grand, s'il te plaît", ui_control="auto")
    assert events[1 : 1 + len(wanted)] == [*wanted]


async def test_usage_is_that_of_all_rounds() -> None:
    """Tokens add up; the first token is the first round's."""
    sea = Call("change_theme", {"color": "navy"})
    async with stack(script(calling(sea, text="One two"), "Three")) as s:
        end = (await events_of(s, ui_control="auto"))[-1]
    assert isinstance(end, End)
    assert end.usage.completion_tokens == 3 + 1
    assert end.usage.first_token_time is not None
    assert end.usage.total_time is not None
    assert end.usage.first_token_time <= end.usage.total_time


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (Call("change_theme", {"color": "the sea"}), "not a colour"),
        (Call("change_theme", {"color": 7}), "color: Input should be a valid string"),
        (Call("change_theme", {}), "color: Field required"),
        (Call("change_theme", {"color": "url(javascript:1)"}), "not a colour"),
        (Call("add_button", {"label": "x" * 81}), "at most 80"),
        (Call("remove_button", {"label": " "}), "at most 80"),
        (Call("change_accent", {"color": "loud"}), "not a colour"),
        (Call("change_text_size", {"size": "200%"}), "size: Input should be 'smaller', 'larger'"),
        (Call("undo_change", {"what": "you"}), "what: Input should be 'last' or 'all'"),
        (Call("add_button", {"label": "Go", "message": "\u202e"}), "at most 500"),
        (Call("add_button", {"label": "Go", "onclick": "x"}), "onclick: Extra inputs"),
    ],
)
async def test_bad_arguments_never_reach_the_page(call: Call, words: str) -> None:
    """The model is told what is wrong, and can do it right."""
    right = Call("change_theme", {"color": "teal"})
    async with stack(script(calling(call), calling(right), "Done")) as s:
        events = await events_of(s, ui_control="auto")
        assert words in told(s, 1)[0]["content"]
    assert [type(event) for event in events] == [Start, ChangeTheme, TextMessage, End]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["population"]),
        ({"ui_control": "auto"}, ["population", *PAGE_TOOLS]),
        ({"ui_control": "tools"}, ["population", *PAGE_TOOLS]),
        ({"ui_control": "rules"}, ["population"]),
        ({"ui_control": "off"}, ["population"]),
        ({"format": {"type": "object"}}, []),
        ({"format": "json", "ui_control": "tools", "tools": [CLIENT_TOOL]}, ["locate"]),
        ({"tools": [CLIENT_TOOL], "ui_control": "auto"}, ["locate", "population"]),
        (
            {"tools": [CLIENT_TOOL], "ui_control": "tools"},
            ["locate", "population", *PAGE_TOOLS],
        ),
    ],
)
async def test_which_tools_are_offered(fields: dict[str, Any], names: list[str]) -> None:
    """The page's not to a client with tools of its own, and none where a format is asked for."""
    async with stack(script("Hello"), functions=[population]) as s:
        await events_of(s, **fields)
        assert offered(s) == names


async def test_rules_and_tools_do_not_double() -> None:
    """What a rule has done is not offered as a tool; with "tools" no rule is asked."""
    async with stack(script("Done")) as s:
        first = await events_of(s, "Change color to light green")
        again = await events_of(s, "Change color to light green", ui_control="tools")
        assert (offered(s, 0), offered(s, 1)) == ([], PAGE_TOOLS)
    assert [type(event) for event in first] == [ChangeTheme, Start, TextMessage, End]
    assert [type(event) for event in again] == [Start, TextMessage, End]


async def test_clients_tools_go_before_the_servers_of_the_same_name() -> None:
    """A client that answers change_theme itself gets the call."""
    own = {"type": "function", "function": {"name": "change_theme", "parameters": {}}}
    async with stack(script(calling(Call("change_theme", {"color": "red"})))) as s:
        events = await events_of(s, tools=[own], ui_control="tools")
        assert sorted(offered(s)) == sorted(PAGE_TOOLS)
    assert [type(event) for event in events] == [Start, CallEvent, End]


async def test_models_that_cannot_call_tools_get_none() -> None:
    """And what can be called is asked of Ollama once, not for every chat."""
    async with stack(Script("Hello"), functions=[population]) as s:
        for _ in range(3):
            await s.client.ask("Hi")
        assert offered(s) == []
        assert [request.path for request in s.ollama.requests].count("/api/show") == 1


async def test_a_model_that_has_lost_its_tools_is_asked_without() -> None:
    """What was known of it a while ago does not fail the chat."""
    async with stack(script("Hello")) as s:
        await s.client.ask("Hi")
        s.ollama.models["story"] = Script("No tools")
        assert (await s.client.ask("Hi")).text == "No tools"
        assert offered(s, -1) == []


async def test_results_are_events_and_go_to_the_model() -> None:
    """Sync or async; a string as it is, the rest as JSON."""
    calls = [
        Call("population", {"city": "Zürich"}),
        Call("elevation", {"city": "Zürich"}),
    ]
    async with stack(script(calling(*calls), "Many"), functions=[population, elevation]) as s:
        start, *tools, text, end = await events_of(s)
        assert [message["content"] for message in told(s)] == ["443000", '{"metres":6}']
        assert 'tool="population"' in s.server.state.metrics.text().decode()
    first, second = (call for call in tools if isinstance(call, CallEvent))
    assert tools == [
        first,
        second,
        ToolResult(first.id, "population", "443000"),
        ToolResult(second.id, "elevation", '{"metres":6}'),
    ]
    assert (type(start), text, type(end)) == (Start, TextMessage("Many"), End)


@pytest.mark.parametrize(
    ("arguments", "content", "logged"),
    [
        ({"city": "Atlantis"}, "there is no such city", False),
        ({"city": "Crash"}, "RuntimeError: the tool fell over", True),
        ({"city": "Broken"}, "OSError: no file \ufffd.txt", True),
        ({"city": ["Zürich"]}, "city: Input should be a valid string", False),
        ({"city": "Zürich", "unit": "cats"}, "unit: Input should be 'people' or 'millions'", False),
        ({}, "city: Field required", False),
    ],
)
async def test_errors_are_contained(
    arguments: dict[str, Any], content: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The model is told, and goes on; a traceback is for the log."""
    model = script(calling(Call("population", arguments)), ["I see"])
    async with stack(model, functions=[population]) as s:
        events = await events_of(s)
    result = next(event for event in events if isinstance(event, ToolResult))
    assert isinstance(result, ToolResult)
    assert (result.content, result.failed) == (content, True)
    assert events[-2] == TextMessage("I see")
    logs = [record for record in caplog.records if record.name == "dripline.tool_runner"]
    assert bool(logs) is logged
    assert all(record.exc_info for record in logs)


async def test_tools_that_misbehave() -> None:
    """Too slow, too long, ending the process, not JSON: each is a result, and the server lives."""
    release = threading.Event()

    def stuck() -> None:
        """Never return."""
        release.wait()

    async def deaf() -> None:
        """Do not heed cancellation."""
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    def long() -> str:
        """Return much."""
        return "ä" * 1000

    def leave() -> None:
        """End the process."""
        raise SystemExit(3)

    async def leave_too() -> None:
        """End the process."""
        raise SystemExit(3)

    def odd() -> object:
        """Return what is not JSON."""
        return object()

    slow = [Tool(function, timeout=0.05) for function in (stuck, deaf)]
    functions = [*slow, long, leave, leave_too, odd]
    names = ["stuck", "deaf", "long", "leave", "leave_too", "odd", "unheard"]
    model = script(calling(*map(Call, names)), "Well")
    async with stack(model, functions=functions, max_tool_result=10) as s:
        events = await events_of(s)
        results = [event for event in events if isinstance(event, ToolResult)]
        release.set()
    assert events[-2] == TextMessage("Well")
    assert [result.name for result in results] == names
    assert [result.failed for result in results] == [True, True, False, True, True, True, True]
    contents = [result.content for result in results]
    assert contents[2] == "ä" * 10 + "\n[cut off here; it has 1,000 characters]"
    assert contents[6].startswith("There is no ")


async def test_a_sync_tool_does_not_block_the_loop() -> None:
    """While it waits in its thread, another chat gets its answer."""
    entered, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait() -> str:
        """Wait for the other chat."""
        loop.call_soon_threadsafe(entered.set)
        release.wait()
        return "waited"

    models = {"a": script(calling(Call("wait")), "Done"), "b": Script("Quick")}
    async with stack(models, functions=[wait]) as s:
        slow = asyncio.create_task(s.client.ask("Hi", model="a"))
        await entered.wait()
        assert (await s.client.ask("Hi", model="b")).text == "Quick"
        release.set()
        assert (await slow).tool_results[0].content == "waited"


async def test_the_bound_of_rounds() -> None:
    """A model that calls and calls is asked a last time without tools, and answers."""

    def reply(request: ReceivedChat) -> Reply:
        city = "X" * len(request.messages)  # another one in each round
        calls = [Call("population", {"city": city})] if request.tools else []
        return Reply("Enough", tool_calls=calls)

    model = Script(reply, capabilities=TOOLS)
    async with stack(model, functions=[population], max_tool_rounds=3) as s:
        answer = await s.client.ask("Hi")
        assert len(s.ollama.chats) == 4
        assert [len(offered(s, chat)) for chat in range(4)] == [1, 1, 1, 0]
    assert answer.end
    assert (answer.end.status, answer.end.reason) == ("completed", "tool_rounds")
    assert len(answer.tool_results) == 3


async def test_the_same_call_with_the_same_result_ends_the_rounds() -> None:
    """A model that goes in circles is asked to answer; the page gets no button twice."""
    again = calling(Call("population", {"city": "X"}), Call("add_button", {"label": "Go"}))
    async with stack(script(again, again, "Enough"), functions=[population]) as s:
        events = await events_of(s, ui_control="auto")
        assert [len(offered(s, chat)) for chat in range(3)] == [7, 7, 0]
    assert [event for event in events if isinstance(event, AddButton)] == [AddButton("Go", "Go")]
    assert isinstance(end := events[-1], End)
    assert (end.status, end.reason) == ("completed", "tool_rounds")


async def test_a_call_that_gives_something_new_may_be_made_again() -> None:
    """Such as one that looks whether something is ready."""
    states = iter(["no", "not yet", "yes"])

    def is_ready() -> str:
        """Say whether it is ready."""
        return next(states)

    model = script(*[calling(Call("is_ready"))] * 3, "It is ready.")
    async with stack(model, functions=[is_ready]) as s:
        answer = await s.client.ask("Hi")
    assert [result.content for result in answer.tool_results] == ["no", "not yet", "yes"]
    assert answer.end
    assert answer.end.reason == "stop"


async def test_calls_of_both_kinds_in_one_message() -> None:
    """The server answers its own, and the run ends: the client has the others to answer."""
    of_x = {"city": "X"}
    calls = [Call("population", of_x), Call("locate"), Call("elevation", of_x)]
    model = script(calling(*calls), "Here")
    async with stack(model, functions=[population, elevation]) as s:
        events = await events_of(s, tools=[CLIENT_TOOL])
        assert len(s.ollama.chats) == 1
    assert [type(event) for event in events] == [
        Start, CallEvent, CallEvent, CallEvent, ToolResult, ToolResult, End,
    ]  # fmt: skip
    assert [event.name for event in events if isinstance(event, ToolResult)] == [
        "population",
        "elevation",
    ]


async def test_too_many_calls_in_one_message_fail_the_run() -> None:
    """A model that has gone astray does not keep the server busy for ever."""
    model = script(calling(*[Call("population", {"city": "X"})] * 65), "Well")
    async with stack(model, functions=[population]) as s:
        with pytest.raises(RunFailed, match="more than 64 tools"):
            await s.client.ask("Hi")
        await s.ollama.chats[0].wait_closed()


async def test_stop_while_a_tool_works() -> None:
    """The run ends at once, and a coroutine is cancelled."""
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        """Wait for ever."""
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with (
        stack(script(calling(Call("wait"))), functions=[wait]) as s,
        s.client.chat("Hi") as stream,
    ):
        events = [await anext(stream), await anext(stream)]
        await entered.wait()
        await stream.stop()
        events += [event async for event in stream]
        await cancelled.wait()
        assert len(s.ollama.chats) == 1
    assert [type(event) for event in events] == [Start, CallEvent, End]
    assert isinstance(events[-1], End)
    assert events[-1].status == "cancelled"


async def test_stop_in_the_second_round() -> None:
    """Ollama's socket of that round is closed."""
    replies = (calling(Call("population", {"city": "X"})), ["a", "b", *"c" * 5000])
    model = script(*replies, pace=Pace(tokens_per_second=50))
    async with (
        stack(model, functions=[population]) as s,
        s.client.chat("Hi") as stream,
    ):
        events = []
        async for event in stream:
            events.append(event)
            if isinstance(event, TextMessage) and event.content == "b":
                await stream.stop()
        chat = s.ollama.chats[1]
        assert await chat.wait_ended() is Ending.CLIENT_LEFT
        await chat.wait_closed()
    assert isinstance(events[-1], End)
    assert events[-1].status == "cancelled"


async def test_a_failure_in_the_second_round_fails_the_run() -> None:
    """What the first one said stays."""

    def sabotage() -> None:
        """Let Ollama fail from now on."""
        s.ollama.models["story"] = script(["a", "b", "c"], fault=Fault.cut(at_token=2))

    async with stack(script(calling(Call("sabotage"))), functions=[sabotage]) as s:
        events = []
        with pytest.raises(RunFailed, match="upstream_cut"):
            async with s.client.chat("Hi") as stream:
                async for event in stream:
                    events.append(event)  # noqa: PERF401 - what came before the raise counts
    assert [event.content for event in events if isinstance(event, TextMessage)] == ["a", "b"]


@pytest.mark.parametrize(
    ("model", "said", "controls"),
    [
        ("demo", "Something calmer, like the sea", [ChangeTheme("#5F9EA0")]),
        ("demo-tools", "Something calmer, like the sea", [ChangeTheme("#5F9EA0")]),
        (
            "demo",
            "Give me buttons for yes and no",
            [AddButton("Yes", "Yes"), AddButton("No", "No")],
        ),
        ("demo", "Why is the sky blue?", []),
        ("demo-tools", "Hello", []),
    ],
)
async def test_the_demo_models_drive_the_page(model: str, said: str, controls: list[Event]) -> None:
    """Where they are asked to, and else they talk."""
    async with stack(demo_models()) as s:
        answer = await s.client.ask(said, model=model, ui_control="auto")
    assert answer.ui_controls == controls
    assert answer.text.startswith("Done!") is bool(controls)
