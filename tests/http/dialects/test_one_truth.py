"""Whatever the model does, every client rebuilds the same answer, each in its own dialect."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ag_ui.core as agui
import openai
import pytest

from dripline import (
    AddButton,
    ChangeTheme,
    ChatClient,
    EventDecoder,
    RunFailed,
    State,
    Status,
    Thinking,
    ToolCall,
    ToolResult,
)
from dripline.answer import Answer
from dripline.events import data_of, from_json, to_json
from dripline.testing import Call, Fault, Pace, Replay, Reply, Script, in_rounds
from dripline.testing.fake_ollama.models import demo_models
from dripline_server.agents import AgentError, AgentFunction, Chat
from dripline_server.dialects import Position
from dripline_server.dialects.agui import AguiRun, AguiTranslator
from dripline_server.dialects.translated import TranslatedDialect, Translator
from dripline_server.dialects.ui_message import UiMessageTranslator
from dripline_server.run_log import Batch
from tests.support.npm_clients import AguiOutcome, ChatOutcome, NpmClients
from tests.support.recorded import recorded
from tests.support.scripted_server import ScriptedServer, stream
from tests.support.stack import stack

Json = dict[str, Any]

TOOL: Json = {
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


OLLAMA, CHATS = recorded("ollama"), recorded("chat")


@dataclass(frozen=True, slots=True)
class Truth:
    """What an answer is, in whatever dialect it came. The ids of tool calls are left out."""

    text: str
    thinking: str
    tool_calls: list[tuple[str, Json]]
    tool_results: list[str]
    ui_controls: list[object]
    ending: tuple[str, str]
    state: object = None


def from_native(answer: Answer) -> Truth:
    assert answer.end
    return Truth(
        answer.text,
        answer.thinking,
        [(call.name, call.arguments) for call in answer.tool_calls],
        [result.content for result in answer.tool_results],
        [data_of(control) for control in answer.ui_controls],
        (answer.end.status, answer.error.code if answer.error else answer.end.reason),
        answer.state,
    )


def from_agui(said: AguiOutcome) -> Truth:
    assert said.said["unhandled"] == []
    results = [m["content"] for m in said.messages if m["role"] == "tool"]
    controls = [event["value"] for event in said.events if event["type"] == "CUSTOM"]
    states = [event["snapshot"] for event in said.events if event["type"] == "STATE_SNAPSHOT"]
    calls = [(name, arguments) for _, name, arguments in said.tool_calls]
    state = states[-1] if states else None
    return Truth(said.text, said.thinking, calls, results, controls, said.ending, state)


def from_chat(said: ChatOutcome) -> Truth:
    assert said.said["unhandled"] == []
    tools = [part for part in said.message["parts"] if part["type"].startswith("tool-")]
    results = [part.get("output") or part.get("errorText") for part in tools]
    controls = [part["data"] for part in said.message["parts"] if part["type"] == "data-ui-control"]
    states = [part["data"] for part in said.message["parts"] if part["type"] == "data-state"]
    calls = [(name, arguments) for _, name, arguments in said.tool_calls]
    return Truth(
        said.joined("text"),
        said.joined("reasoning"),
        calls,
        [result for result in results if result is not None],
        controls,
        said.ending,
        states[-1] if states else None,
    )


async def ask(client: ChatClient, text: str, **options: Any) -> Answer:
    """The native client's answer, also where the run fails."""
    answer = Answer()
    async with client.chat(text, **options) as events:
        with suppress(RunFailed):
            async for event in events:
                answer.add(event)
    return answer


def of_program(native: Truth) -> Truth:
    """What an OpenAI program is to see of a run: the server's tools and page are not its own."""
    return replace(native, tool_results=[], ui_controls=[])


async def from_openai(url: str, text: str, tools: list[Json], *, stream: bool) -> Truth:
    """What the `openai` package makes of it; of a failure it may lose what came before."""
    pieces: dict[str, list[str]] = {"content": [], "reasoning": []}
    calls: dict[int, list[str]] = {}
    ending = ("", "")
    messages: Any = [{"role": "user", "content": text}]
    offered: Any = tools or openai.NOT_GIVEN
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        try:
            create: Any = client.chat.completions.create
            answer = await create(model="story", messages=messages, tools=offered, stream=stream)
            async for choice, said in _said(answer, stream=stream):
                for name, found in pieces.items():
                    found.append(getattr(said, name, None) or "")
                for number, call in enumerate(said.tool_calls or ()):
                    made = calls.setdefault(call.index if stream else number, ["", ""])
                    made[0] += call.function.name or ""
                    made[1] += call.function.arguments or ""
                if choice.finish_reason:
                    ending = ("completed", choice.finish_reason)
        except openai.APIError as error:
            ending = ("failed", str(error.code))
    made_calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]
    joined = {name: "".join(found) for name, found in pieces.items()}
    return Truth(joined["content"], joined["reasoning"], made_calls, [], [], ending)


async def _said(answer: Any, *, stream: bool) -> AsyncIterator[tuple[Any, Any]]:
    """The deltas of a stream, or the message of a whole answer, each with its choice."""
    if not stream:
        (choice,) = answer.choices
        yield choice, choice.message
        return
    async for chunk in answer:
        for choice in chunk.choices:
            yield choice, choice.delta


async def check(
    npm_clients: NpmClients,
    script: Script,
    text: str,
    *,
    tools: bool = False,
    settings: Json | None = None,
) -> Truth:
    """Ask a model in every dialect; return what all of them came to.

    An OpenAI program is offered neither the server's tools nor its page, and is compared with a
    native client that does without them.
    """
    offered = [TOOL] if tools else []
    function = [{"type": "function", "function": tool} for tool in offered]
    async with stack(script, **(settings or {})) as s:
        native = from_native(await ask(s.client, text, tools=function or None))
        message = {"id": "1", "role": "user", "content": text}
        agui = from_agui(await npm_clients.agui(s.url, [message], tools=offered))
        body = {"tools": function} if function else {}
        chat = from_chat(await npm_clients.chat(s.url, text, body=body))
        # Agents have a check of their own: what they yield besides text is no OpenAI program's.
        if not {"functions", "agents"} & set(settings or {}):
            plain = native
            if native.ui_controls:
                without = await ask(s.client, text, tools=function or None, ui_control="off")
                plain = from_native(without)
            await check_openai(s.url, text, function, plain)
    assert agui == native
    assert chat == native
    return native


async def check_openai(url: str, text: str, tools: list[Json], native: Truth) -> None:
    """Compare the stream and the whole answer of the `openai` package with the native one."""
    status, reason = native.ending
    if status == "completed" and reason != "length":
        reason = "tool_calls" if native.tool_calls else "stop"
    expected = replace(of_program(native), ending=(status, reason))
    assert await from_openai(url, text, tools, stream=True) == expected
    whole = await from_openai(url, text, tools, stream=False)
    if status == "failed":  # a whole answer has no half
        expected = Truth("", "", [], [], [], expected.ending)
    assert whole == expected


PROMPTS = {
    "demo": ["emoji", "Change color to red and add a button that says Go"],
    "demo-thinking": ["How do streams work?"],
    "demo-tools": ["What is the weather in Bern?"],
    "demo-slow": ["joke"],
    "demo-broken": ["Hi"],
}


@pytest.mark.parametrize("name", demo_models())
async def test_the_demo_models(npm_clients: NpmClients, name: str) -> None:
    """Those of the built-in fake Ollama, at a pace that fits a test."""
    script = replace(demo_models()[name], pace=Pace())
    for prompt in PROMPTS[name]:
        truth = await check(npm_clients, script, prompt, tools=name == "demo-tools")
        assert truth.text or truth.tool_calls


REPLY = Reply(["a\r\n", "\u2028é", "👩‍👩‍👧‍👦"], thinking=["Hm", "\n\n"])
AT = (1, 4)  # in the thinking, and in the text
FAULTS = {
    "ollama_failed": [Fault.status(500)],
    "ollama_error": [Fault.error("no memory", at_token=at) for at in AT],
    "upstream_cut": [Fault.cut(at_token=at) for at in AT],
    "upstream_truncated": [Fault.truncated(at_token=at) for at in AT],
    "upstream_reset": [Fault.reset(at_token=at) for at in AT],
    "upstream_garbage": [Fault.garbage(at_token=at) for at in AT],
    "upstream_line_too_long": [Fault.long_line(200_000, at_token=at) for at in AT],
    "upstream_stalled": [Fault.stall(at_token=4)],
}


@pytest.mark.parametrize("code", FAULTS)
async def test_every_fault(npm_clients: NpmClients, code: str) -> None:
    """What came before it is there, and so is its code."""
    limits = {"stall_timeout": 0.5 if code == "upstream_stalled" else 60}
    for fault in FAULTS[code]:
        script = Script(REPLY, fault=fault)
        settings = {"max_upstream_line": 100_000, **limits}
        truth = await check(npm_clients, script, "Hi", settings=settings)
        assert truth.ending == ("failed", code)


@pytest.mark.parametrize("name", OLLAMA)
async def test_recordings_of_ollama(npm_clients: NpmClients, name: str) -> None:
    """Ollama's own bytes, played again."""
    script = Script(Replay(OLLAMA[name]))
    await check(npm_clients, script, "Hi", tools="tools" in script.all_capabilities)


def population(city: str) -> str:
    """Return how many live in a city."""
    if city == "Atlantis":
        raise LookupError(city)
    return "443000"


async def test_tools_of_the_server(npm_clients: NpmClients) -> None:
    """Calls with results, one of them failed, in rounds with text and thinking between them."""
    script = Script(
        in_rounds(
            Reply(
                "Let me see.",
                thinking="Hm",
                tool_calls=[
                    Call("population", {"city": "Bern"}),
                    Call("population", {"city": "Atlantis"}),
                ],
            ),
            Reply("", thinking="One more", tool_calls=[Call("population", {"city": "Basel"})]),
            Reply("Many."),
        ),
        capabilities=["completion", "tools", "thinking"],
    )
    truth = await check(npm_clients, script, "How many?", settings={"functions": [population]})
    assert truth.ending == ("completed", "stop")
    assert truth.text == "Let me see.Many."
    assert len(truth.tool_results) == 3


def an_agent(*items: object) -> AgentFunction:
    """Return an agent that yields these, and raises what is an exception."""

    async def agent(chat: Chat) -> AsyncGenerator[object]:
        for item in items:
            if isinstance(item, Exception):
                raise item
            yield item

    return agent


BOOK = ToolCall("1", "get_weather", {"city": "Bern"})
AGENTS: dict[str, tuple[AgentFunction, tuple[str, str]]] = {
    "text": (an_agent("a\r\n", "\u2028é", "👩‍👩‍👧‍👦"), ("completed", "stop")),
    "all": (
        an_agent(
            Status("searching"),
            Thinking("Hm"),
            "Let me see.",
            ToolCall("1", "look_up", {"word": "drip"}),
            ToolResult("1", "look_up", "a drop"),
            ChangeTheme("#90EE90"),
            State({"seats": 4}),
            "Done.",
            AddButton("Go", "go"),
        ),
        ("completed", "stop"),
    ),
    "failed tool": (
        an_agent(
            ToolCall("1", "look_up", {}), ToolResult("1", "look_up", "no", failed=True), "So."
        ),
        ("completed", "stop"),
    ),
    "client's tool": (an_agent("Well. ", BOOK, "never"), ("completed", "stop")),
    "AG-UI's events": (
        an_agent(
            agui.ReasoningMessageContentEvent(message_id="1", delta="Hm"),
            agui.TextMessageContentEvent(message_id="2", delta="Hello"),
            agui.StateSnapshotEvent(snapshot=[1]),
        ),
        ("completed", "stop"),
    ),
    "fails": (an_agent("a", ValueError("secret")), ("failed", "agent_failed")),
    "says so": (an_agent("a", AgentError("No seats.")), ("failed", "agent_failed")),
    "yields a dict": (an_agent("a", {}), ("failed", "agent_failed")),
}


@pytest.mark.parametrize("name", AGENTS)
async def test_agents(npm_clients: NpmClients, name: str) -> None:
    """What an agent yields, also where it fails; OpenAI's dialect has the same text."""
    agent, ending = AGENTS[name]
    truth = await check(
        npm_clients,
        Script("I am no agent."),
        "Hi",
        tools=True,
        settings={"agents": {"agent": agent}, "model": "agent"},
    )
    assert truth.ending == ending
    async with (
        stack(Script(""), agents={"agent": agent}) as s,
        openai.AsyncOpenAI(base_url=f"{s.url}/v1", api_key="-", max_retries=0) as client,
    ):
        text = ""
        failed = False
        try:
            async for chunk in await client.chat.completions.create(
                model="agent",
                messages=[{"role": "user", "content": "Hi"}],
                tools=[{"type": "function", "function": {"name": "get_weather"}}],
                stream=True,
            ):
                text += "".join(choice.delta.content or "" for choice in chunk.choices)
        except openai.APIError:
            failed = True
    assert text == truth.text
    assert failed == (ending[0] == "failed")


async def test_cut_short(npm_clients: NpmClients) -> None:
    """A reply that is cut short by its length says so everywhere."""
    script = Script(Reply("Too long", done_reason="length"))
    truth = await check(npm_clients, script, "Hi")
    assert truth.ending == ("completed", "length")


@pytest.mark.parametrize("name", CHATS)
async def test_recordings_of_dripline(npm_clients: NpmClients, name: str) -> None:
    """Recorded events, said in the other dialects by what is no server, only the translators."""
    messages = EventDecoder().feed(b"".join(piece.data for piece in CHATS[name].pieces))
    events = [event for message in messages if (event := from_json(message.data))]
    answer = Answer()
    for event in events:
        answer.add(event)
    batch = Batch(1, [to_json(event) for event in events])

    def said(translator: Translator) -> Any:
        body = TranslatedDialect(translator, Position(0)).frames(batch)
        return ScriptedServer(stream(body))

    async with said(AguiTranslator(AguiRun("thread", "run", "1.0"), "id")) as server:
        agui = from_agui(await npm_clients.agui(server.url, []))
    async with said(UiMessageTranslator("message", "id")) as server:
        chat = from_chat(await npm_clients.chat(server.url))
    assert agui == chat == from_native(answer)
