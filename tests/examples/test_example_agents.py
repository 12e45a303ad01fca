"""The examples for other agent packages answer chats, each with its package's own test model.

`make try-agents` runs them in an environment that has the packages; elsewhere they skip.
"""

from __future__ import annotations

import runpy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dripline import ChatClient, End, Event, State, TextMessage, Thinking, ToolCall, ToolResult
from dripline_server import Settings, serve
from tests.support.programs import ROOT

# The package, what the text is, and whether a tool is called.
EXAMPLES: dict[str, tuple[str, str, bool]] = {
    "pydantic_ai_agent": ("pydantic_ai", '{"look_up":"a drips"}', True),
    "langgraph_agent": ("langgraph", "It drips.", False),
    "openai_agents_sdk": ("agents.testing", "It drips.", True),
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text, its tool with the result, or its state come as events of a whole run."""
    package, text, calls = EXAMPLES[name]
    pytest.importorskip(package)
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    file = ROOT / f"examples/agents/{name}.py"
    module: dict[str, Any] = runpy.run_path(str(file))
    read: list[Event] = []
    async with (
        serve(Settings(port=0), agents={"assistant": module["assistant"]}) as server,
        ChatClient(server.url) as client,
        client.chat("Does it drip?", model="assistant") as stream,
    ):
        read.extend([event async for event in stream])
    assert "".join(one.content for one in read if isinstance(one, TextMessage)) == text
    results = [(one.name, one.content) for one in read if isinstance(one, ToolResult)]
    assert [one.name for one in read if isinstance(one, ToolCall)] == ["look_up"] * calls
    assert [name for name, _ in results] == ["look_up"] * calls
    assert any(isinstance(one, State) for one in read) is not calls
    assert isinstance(read[-1], End)
    assert read[-1].status == "completed"


@pytest.mark.filterwarnings("default")
async def test_the_first_words_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """pydantic-ai puts them into the event that starts the part, and none is lost or doubled."""
    function = pytest.importorskip("pydantic_ai.models.function")
    module = runpy.run_path(str(ROOT / "examples/agents/pydantic_ai_agent.py"))

    async def answer(messages: object, info: object) -> AsyncIterator[object]:
        yield {0: function.DeltaThinkingPart(content="Hm")}
        yield {0: function.DeltaThinkingPart(content=".")}
        yield "It "
        yield "drips."

    agents = {"assistant": module["assistant"]}
    with module["agent"].override(model=function.FunctionModel(stream_function=answer)):
        async with (
            serve(Settings(port=0), agents=agents) as server,
            ChatClient(server.url) as client,
            client.chat("Go", model="assistant") as stream,
        ):
            read = [event async for event in stream]
    thoughts = [one.content for one in read if isinstance(one, Thinking)]
    assert ("".join(thoughts), stream.answer.text) == ("Hm.", "It drips.")
