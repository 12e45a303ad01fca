"""Functions as tools: what models are told of them, and what cannot be a tool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal

import ollama
import pytest
from ollama._utils import convert_function_to_tool
from pydantic import BaseModel, Field

import dripline
import dripline_server
from dripline import BadTool, ChatClient, Tool, ToolError, ToolResult
from dripline.events import ToolCall
from dripline.tool import as_tools
from dripline.tool_runner import ToolRunner


def test_both_packages_have_the_same_names() -> None:
    """A tool of the one is a tool of the other, and so is its error."""
    assert dripline_server.Tool is dripline.Tool
    assert dripline_server.ToolError is dripline.ToolError
    assert dripline_server.BadTool is dripline.BadTool


def plain(city: str, days: int, wind: bool, height: float) -> str:
    """Return the weather.

    In some detail.

    Args:
        city: Where,
            in English.
        days (int): How many.
        wind: Whether it blows.
        height: In metres.

    Returns:
        A text.
    """
    raise NotImplementedError


def test_plain_functions_are_told_as_ollama_tells_them() -> None:
    """The ollama package's own conversion says the same of what both know."""
    theirs = convert_function_to_tool(plain).model_dump(exclude_none=True)
    ours = Tool(plain).schema
    parsed = ollama.Tool.model_validate(ours).model_dump(exclude_none=True)
    properties = theirs["function"]["parameters"]["properties"]
    for name, told in parsed["function"]["parameters"]["properties"].items():
        assert told["type"] == properties[name]["type"]
        assert told.get("description", "") == properties[name].get("description", "").strip()
    assert ours["function"]["parameters"]["required"] == ["city", "days", "wind", "height"]
    assert ours["function"]["description"] == "Return the weather.\n\nIn some detail."


class Unit(Enum):
    C = "C"
    F = "F"


@dataclass
class Place:
    city: str
    country: str = "CH"


class Tree(BaseModel):
    title: str
    branches: list[Tree] = []


INTEGER = {"type": "integer"}
PLACE = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "country": {"type": "string", "default": "CH"},
    },
    "required": ["city"],
}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (int | None, {"anyOf": [INTEGER, {"type": "null"}]}),
        (list[int], {"type": "array", "items": INTEGER}),
        (dict[str, int], {"type": "object", "additionalProperties": INTEGER}),
        (Literal["C", 3], {"enum": ["C", 3]}),
        (Literal["C"], {"type": "string", "enum": ["C"]}),
        (date, {"type": "string", "format": "date"}),
        (Unit, {"type": "string", "enum": ["C", "F"]}),
        (Place, PLACE),
        (list[Place], {"type": "array", "items": PLACE}),
        (Annotated[int, Field(ge=1)], {"type": "integer", "minimum": 1}),
        (
            Tree,
            {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "branches": {"type": "array", "items": {}, "default": []},
                },
                "required": ["title"],
            },
        ),
        (Any, {}),
    ],
    ids=str,
)
def test_what_the_model_is_told_of_a_type(hint: Any, schema: dict[str, Any]) -> None:
    """Everything is written out: Ollama drops `$ref` and `const`, and titles cost tokens."""

    def tool(schema: Any, *, title: Any = None) -> None:
        """Take something.

        Args:
            schema: Anything.
            title: No title of pydantic's.
        """

    tool.__annotations__ |= {"schema": hint, "title": hint}
    assert Tool(tool).schema["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "schema": {"description": "Anything.", **schema},
            "title": {"description": "No title of pydantic's.", **schema},
        },
        "required": ["schema"],
    }


def untyped(city) -> str:  # type: ignore[no-untyped-def]
    raise NotImplementedError


def called_back(call: Callable[[], int]) -> str:
    raise NotImplementedError


def starred(**cities: str) -> str:
    raise NotImplementedError


def odd(city: NoSuchType) -> str:  # type: ignore[name-defined]  # noqa: F821
    raise NotImplementedError


def opaque(city: str, tool: Tool) -> str:
    raise NotImplementedError


CANNOT_BE: list[tuple[list[Any], str]] = [
    ([untyped], "untyped: the parameter 'city' has no type hint"),
    ([starred], "starred: the parameter .*cities.* cannot be passed by its name"),
    ([odd], "odd: its type hints cannot be read: name 'NoSuchType'"),
    ([opaque], "opaque: the parameter 'tool' cannot be passed as JSON: its type is Tool"),
    ([called_back], "called_back: the parameter 'call' cannot be passed as JSON"),
    ([plain, Tool(plain)], "plain: two tools have this name"),
    ([lambda: 1], "<lambda>: a model cannot call it by this name"),
    ([3], "3 cannot be a tool"),
]


@pytest.mark.parametrize(("tools", "words"), CANNOT_BE)
async def test_what_cannot_be_a_tool_is_said_at_once(tools: list[Any], words: str) -> None:
    """When the server starts, and before the client sends anything."""
    with pytest.raises(BadTool, match=words):
        dripline_server.create_app(dripline_server.Settings(), tools)
    async with ChatClient("http://127.0.0.1:1") as client:
        with pytest.raises(TypeError, match=words) as caught:
            client.chat("Hi", tools=tools)
    assert isinstance(caught.value, BadTool)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_above_0(timeout: float) -> None:
    """None stands for no limit."""
    with pytest.raises(ValueError, match="timeout must be above 0"):
        Tool(plain, timeout=timeout)


def test_a_tool_stays_the_tool_it_is() -> None:
    """With its own limit of time."""
    tool = Tool(plain, timeout=3)
    assert as_tools([tool]) == [tool]
    assert repr(tool) == "Tool(plain)"


def test_arguments_become_what_the_hints_say() -> None:
    """Small models write "1" for 1; what is left out has the function's default."""

    def look(place: Place, units: list[Unit], days: int, since: date | None = None) -> None: ...

    look.__annotations__ = {
        "place": Place,
        "units": list[Unit],
        "days": int,
        "since": date | None,
    }
    given = {"place": {"city": "Bern"}, "units": ["F"], "days": "1", "since": "2026-12-01"}
    assert Tool(look).check(given) == {
        "place": Place("Bern"),
        "units": [Unit.F],
        "days": 1,
        "since": date(2026, 12, 1),
    }
    del given["since"]
    assert "since" not in Tool(look).check(given)


def test_all_wrong_arguments_are_named() -> None:
    """For the model to mend."""
    with pytest.raises(ToolError, match=r"city: .*; days: Field required; .*cold: Extra inputs"):
        Tool(plain).check({"city": 1, "wind": True, "height": 1, "cold": 1})


@pytest.mark.parametrize("raises", [False, True])
async def test_what_is_no_unicode_can_still_be_told(raises: bool) -> None:
    """A file's name, for example: the next request is JSON all the same."""

    def listing() -> str:
        """Return the names of files."""
        name = "\udcff.txt"
        if raises:
            raise OSError(name)
        return name

    result = await ToolRunner().call(Tool(listing), ToolCall("1", "listing", {}))
    assert result == ToolResult(
        "1", "listing", "OSError: \ufffd.txt" if raises else "\ufffd.txt", raises
    )


async def test_a_tools_own_limit_of_time_holds_in_the_client_too() -> None:
    """Where it sets none, the client waits."""

    async def wait() -> None:
        """Wait for ever."""
        await asyncio.Event().wait()

    runner = ToolRunner()
    result = await runner.call(Tool(wait, timeout=0.01), ToolCall("1", "wait", {}))
    assert result == ToolResult("1", "wait", "it took longer than 0.01 s", True)
    await runner.close()
