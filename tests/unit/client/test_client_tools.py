"""Functions as the client's tools: their schemas, and what cannot be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import ollama
import pytest
from ollama._utils import convert_function_to_tool

from dripline import ChatClient
from dripline.events import ToolCall, ToolResult
from dripline.tool import ClientTool


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


def rich(
    unit: Literal["C", "F"],
    days: list[int],
    names: dict[str, float] | None = None,
    more: Any = None,
) -> str:
    """Return the weather."""
    raise NotImplementedError


def test_plain_functions_are_told_as_ollama_tells_them() -> None:
    """The ollama package's own conversion says the same of what both know."""
    theirs = convert_function_to_tool(plain).model_dump(exclude_none=True)
    ours = ClientTool(plain).schema
    parsed = ollama.Tool.model_validate(ours).model_dump(exclude_none=True)
    properties = theirs["function"]["parameters"]["properties"]
    for name, told in parsed["function"]["parameters"]["properties"].items():
        assert told["type"] == properties[name]["type"]
        assert told.get("description", "") == properties[name].get("description", "").strip()
    assert ours["function"]["parameters"]["required"] == ["city", "days", "wind", "height"]
    assert ours["function"]["description"] == "Return the weather.\n\nIn some detail."


def test_richer_types_have_their_schema() -> None:
    """Choices, lists, objects, what may be null, and what may be anything."""
    number = {"type": "number"}
    assert ClientTool(rich).schema["function"]["parameters"] == {
        "type": "object",
        "properties": {
            "unit": {"enum": ["C", "F"]},
            "days": {"type": "array", "items": {"type": "integer"}},
            "names": {
                "anyOf": [{"type": "object", "additionalProperties": number}, {"type": "null"}]
            },
            "more": {},
        },
        "required": ["unit", "days"],
    }


def untyped(city) -> str:  # type: ignore[no-untyped-def]
    raise NotImplementedError


def bytes_in(data: bytes) -> str:
    raise NotImplementedError


def bare(days: list) -> str:  # type: ignore[type-arg]
    raise NotImplementedError


def starred(**cities: str) -> str:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([untyped], "untyped: the parameter 'city' has no type hint"),
        ([bytes_in], "bytes_in: the parameter 'data' has a type that is not supported"),
        ([bare], "bare: the parameter 'days' has a type that is not supported"),
        ([starred], "starred: the parameter .*cities.* cannot be given by its name"),
        ([plain, plain], "plain: two tools have this name"),
        ([3], "3 cannot be a tool"),
    ],
)
async def test_what_cannot_be_a_tool_is_said_at_the_call(
    tools: list[Callable[..., Any]], words: str
) -> None:
    """Before anything is sent."""
    async with ChatClient("http://127.0.0.1:1") as client:
        with pytest.raises(TypeError, match=words):
            client.chat("Hi", tools=tools)


@pytest.mark.parametrize("raises", [False, True])
async def test_what_is_no_unicode_can_still_be_told(raises: bool) -> None:
    """A file's name, for example: the next request is JSON all the same."""

    def listing() -> str:
        """Return the names of files."""
        name = "\udcff.txt"
        if raises:
            raise OSError(name)
        return name

    result = await ClientTool(listing).call(ToolCall("1", "listing", {}))
    assert result == ToolResult("1", "listing", "OSError: ?.txt" if raises else "?.txt", raises)


def fit(
    whole: int,
    real: float,
    one_of: Literal["C", 3],
    items: list[int | None],
    named: dict[str, list[bool]],
    whatever: Any,
) -> str:
    return "called"


FITS: dict[str, Any] = {
    "whole": 1,
    "real": 1,
    "one_of": 3,
    "items": [1, None],
    "named": {"a": [True], "b": []},
    "whatever": {"x": [None]},
}
MISFITS: list[tuple[str, Any]] = [
    ("whole", 1.0),
    ("whole", True),
    ("real", "1"),
    ("real", False),
    ("one_of", "F"),
    ("one_of", 3.0),
    ("items", [1, "2"]),
    ("items", {"0": 1}),
    ("named", {"a": [1]}),
    ("named", [True]),
]


@pytest.mark.parametrize(("name", "value"), [("", None), *MISFITS], ids=str)
async def test_arguments_are_checked_before_the_call(name: str, value: Any) -> None:
    """Each against its type hint; what does not fit is told to the model, with what would."""
    arguments = {**FITS, name: value} if name else FITS
    result = await ClientTool(fit).call(ToolCall("1", "fit", arguments))
    assert result.failed is bool(name)
    if name:
        assert result.content.startswith(f"{name}: should be {{")
    else:
        assert result.content == "called"
