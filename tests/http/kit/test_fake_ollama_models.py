"""The demo models: they say something that fits, and always the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AnyUrl, Base64Bytes, BaseModel, Field

from dripline import AddButton, ChangeTheme
from dripline.testing import Ending, FakeOllama, VirtualClock, demo_models
from dripline_server.tools.ui_control import describe
from tests.support.raw_http import RawResponse, raw_exchange

THEME = {
    "type": "function",
    "function": {
        "name": "change_theme",
        "description": "Change the page's colour",
        "parameters": {"type": "object", "properties": {"color": {"type": "string"}}},
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather forecast of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "hourly": {"type": "boolean"},
                "topics": {"type": "array", "items": {"type": "string", "enum": ["wind", "rain"]}},
            },
        },
    },
}


async def exchange(
    model: str, said: str, *notes: str, clock: VirtualClock | None = None, **fields: Any
) -> tuple[RawResponse, FakeOllama]:
    """Say something to a demo model, and return the response, and the fake, closed."""
    system = [{"role": "system", "content": note} for note in notes]
    messages = [*system, {"role": "user", "content": said}]
    async with FakeOllama(clock=clock or VirtualClock()) as ollama:
        body = {"model": model, "messages": messages} | fields
        return await raw_exchange(ollama.url, "POST", "/api/chat", body), ollama


async def message(model: str, said: str, *notes: str, **fields: Any) -> dict[str, Any]:
    """Return the whole message of the answer."""
    response, _ = await exchange(model, said, *notes, stream=False, **fields)
    found: dict[str, Any] = json.loads(response.body)["message"]
    return found


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Hello!", "Hello! 👋"),
        ("Who are you?", "a script, not a language model"),
        ("How do SSE streams work?", "1. You send **one request**"),
        ("Write some Python code", "```python\n"),
        ("Tell me a joke", "cross the network"),
        ("what is the color of the sky?", "scatters blue light"),
        ("Do you know Unicode?", "東京"),
        ("Thanks a lot", "You're welcome"),
        ("xyzzy", "You said: “xyzzy”."),
        ("word " * 100, f"You said: “{'word ' * 15}word…”."),
        ("", "You said: “”."),
    ],
)
async def test_demo_answers_the_question(said: str, expected: str) -> None:
    """What comes back has to do with what was asked."""
    assert expected in (await message("demo", said))["content"]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([ChangeTheme("#90EE90")], "Done! I've changed the colour to light green."),
        ([ChangeTheme("#123456")], "Done! I've changed the colour to #123456."),
        (
            [AddButton("Tell me a joke", "Tell me a joke. Now.")],
            "Done! I've added a button that says “Tell me a joke”.",
        ),
        (
            [ChangeTheme("#000080"), AddButton("Go", "Go on")],
            "Done! I've changed the colour to navy and added a button that says “Go”.",
        ),
    ],
)
@pytest.mark.parametrize("model", ["demo", "demo-thinking", "demo-tools"])
async def test_demo_says_what_was_done_to_the_page(
    commands: list[ChangeTheme | AddButton], expected: str, model: str
) -> None:
    """A note of the server's turns into a sentence to the user."""
    note = describe(commands)
    assert (await message(model, "Please do it", note))["content"] == expected


async def test_demo_says_it_in_the_tokens_of_the_timeline() -> None:
    """The answer comes word by word: "Done", "!", " I've" and so on."""
    response, _ = await exchange("demo", "Green, please", describe([ChangeTheme("#90EE90")]))
    texts = [json.loads(line)["message"]["content"] for line in response.lines]
    assert texts[:4] == ["Done", "!", " I've", " changed"]


async def test_other_system_messages_are_no_notes() -> None:
    """Only the server's own notes are answered."""
    answer = await message("demo", "Hello", "The page's colour has just been changed to red.")
    assert answer["content"].startswith("Hello")


async def test_demo_answers_json_where_it_is_asked_for() -> None:
    """`format` is kept: JSON, and the shape of a schema where there is one."""
    plain = await message("demo", "Hi", format="json")
    assert json.loads(plain["content"]) == {"you_said": "Hi"}
    shaped = await message("demo", "7 days", format=WEATHER["function"]["parameters"])  # type: ignore[index]
    assert json.loads(shaped["content"])["days"] == 7


async def test_demo_takes_pictures() -> None:
    """An image is acknowledged with its size."""
    async with FakeOllama(clock=VirtualClock()) as ollama:
        picture = {"role": "user", "content": "Look", "images": ["AAAA" * 500]}
        body = {"model": "demo", "messages": [picture], "stream": False}
        response = await raw_exchange(ollama.url, "POST", "/api/chat", body)
    assert "all 1,500 bytes" in json.loads(response.body)["message"]["content"]


async def test_demo_thinking_thinks_first() -> None:
    """It thinks aloud about the message, unless it is told not to."""
    answer = await message("demo-thinking", "Hello")
    assert "“Hello”" in answer["thinking"]
    assert answer["content"].startswith("Hello!")
    assert "thinking" not in await message("demo-thinking", "Hello", think=False)


@pytest.mark.parametrize(
    ("said", "name", "arguments"),
    [
        ("Change the color to light green!", "change_theme", {"color": "light green"}),
        (
            "What will the weather be in Oslo? 3 days, fahrenheit, rain",
            "get_weather",
            {"city": "Oslo", "days": 3, "unit": "fahrenheit", "hourly": True, "topics": ["rain"]},
        ),
        (
            "Is the forecast good?",
            "get_weather",
            {
                "city": "Is the forecast good?",
                "days": 1,
                "unit": "celsius",
                "hourly": True,
                "topics": ["wind"],
            },
        ),
    ],
)
async def test_demo_tools_calls_the_tool_that_fits(
    said: str, name: str, arguments: Mapping[str, object]
) -> None:
    """The call has the tool's own arguments, made of what was said."""
    answer = await message("demo-tools", said, tools=[THEME, WEATHER])
    (call,) = answer["tool_calls"]
    assert (call["function"]["name"], call["function"]["arguments"]) == (name, arguments)


@pytest.mark.parametrize("tool", [{}, {"function": {}}, {"function": {"parameters": {}}}])
async def test_demo_tools_survives_any_tool(tool: object) -> None:
    """A tool without name or schema is called all the same."""
    response, _ = await exchange("demo-tools", "Hi", tools=[tool])
    assert response.status == 200


async def test_demo_tools_tells_what_the_tool_said() -> None:
    """After the tool's answer comes a sentence; without tools it is like `demo`."""
    result = {"role": "tool", "tool_name": "get_weather", "content": "sunny"}
    user = {"role": "user", "content": "Weather?"}
    answer = await message("demo-tools", "", messages=[user, result], tools=[WEATHER])
    assert answer["content"] == "The tool get_weather says: sunny"
    assert (await message("demo-tools", "Hello"))["content"].startswith("Hello!")


async def test_demo_slow_loads_first() -> None:
    """It takes seconds before it says anything."""
    clock = VirtualClock()
    response, _ = await exchange("demo-slow", "Hello", clock=clock)
    assert json.loads(response.lines[-1])["load_duration"] == 8_000_000_000
    assert clock.now > 9


async def test_demo_broken_dies_in_mid_answer() -> None:
    """Its connection closes after some of the words."""
    response, ollama = await exchange("demo-broken", "Hello")
    assert response.end == "FIN"
    assert len(response.lines) == 21
    assert ollama.requests[-1].ended is Ending.FAULTED


@pytest.mark.parametrize("model", demo_models())
async def test_an_answer_is_always_the_same(model: str) -> None:
    """The same question has the same answer, to the byte and the nanosecond."""
    first, _ = await exchange(model, "Hello", tools=[THEME] if model == "demo-tools" else None)
    again, _ = await exchange(model, "Hello", tools=[THEME] if model == "demo-tools" else None)
    assert first.chunks == again.chunks


async def test_the_demo_is_pleasant_to_watch() -> None:
    """The first word comes soon, and the others at 30 to 40 a second."""
    clock = VirtualClock()
    _, ollama = await exchange("demo", "How do streams work?", clock=clock)
    speed = ollama.requests[-1].tokens_sent / (clock.now - 0.3)
    assert 30 <= speed <= 40


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(BaseModel):
    """Met by a reference."""

    number: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{4}$")]
    colour: Colour
    parts: list[Part] = []


class Order(BaseModel):
    """The arguments of a tool, with what JSON schemas have beyond Ollama's own types of tools."""

    part: Part
    other: Part | None
    kind: Literal["new"]
    amount: Annotated[int, Field(ge=3, multiple_of=7)]
    discount: Annotated[float, Field(gt=0, lt=0.5)]
    due: date
    id: UUID
    site: AnyUrl
    codes: Annotated[list[int], Field(min_length=2)]
    place: tuple[float, float]
    notes: dict[str, Part]
    image: Base64Bytes


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_tool_arguments_fit_any_schema(path: str) -> None:
    """Although Ollama's own types of tools have no references, patterns, ranges and formats."""
    function = {"name": "order", "parameters": Order.model_json_schema()}
    body = {
        "model": "demo-tools",
        "messages": [{"role": "user", "content": "Order 12 of them"}],
        "tools": [{"type": "function", "function": function}],
        "stream": False,
    }
    async with FakeOllama(clock=VirtualClock()) as ollama:
        response = await raw_exchange(ollama.url, "POST", path, body)
    answer = json.loads(response.body)
    message = answer["message"] if path == "/api/chat" else answer["choices"][0]["message"]
    arguments = message["tool_calls"][0]["function"]["arguments"]
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    assert Order.model_validate_json(text).kind == "new"
