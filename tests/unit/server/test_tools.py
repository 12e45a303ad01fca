"""Functions as tools: what models are told of them, what is taken, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from dripline_server.tools.server_tools import BadTool, Tool, ToolError, as_tools, load_tools


def weather(
    city: str,
    days: list[int],
    unit: Literal["C", "F"] = "C",
    schema: int | None = None,
) -> str:
    """Return the weather.

    Args:
        city: Where,
            in English.
        days: When.
        unit: Of what.
        schema: No method of pydantic's.
    """
    raise NotImplementedError


def test_the_model_is_told_what_is_checked() -> None:
    """Defaults, choices and the types in lists too, which the ollama package drops."""
    assert Tool(weather).schema == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Return the weather.",
            "parameters": {
                "type": "object",
                "required": ["city", "days"],
                "properties": {
                    "city": {"type": "string", "description": "Where, in English."},
                    "days": {"type": "array", "items": {"type": "integer"}, "description": "When."},
                    "unit": {"type": "string", "enum": ["C", "F"], "description": "Of what."},
                    "schema": {
                        "anyOf": [{"type": "integer"}, {"type": "null"}],
                        "description": "No method of pydantic's.",
                    },
                },
            },
        },
    }


def test_arguments_become_what_the_hints_say() -> None:
    """Small models write "1" for 1; what is left out has the function's default."""
    arguments = Tool(weather).check({"city": "Bern", "days": ["1", 2]})
    assert arguments == {"city": "Bern", "days": [1, 2]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"city": "Bern"}, "days: Field required"),
        ({"city": "Bern", "days": "soon"}, "days: Input should be a valid list"),
        ({"city": "Bern", "days": [1], "wind": 1}, "wind: Extra inputs are not permitted"),
        ({"city": None, "days": [{}]}, "city: Input should be a valid string; days.0: "),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], words: str) -> None:
    """All of them, for the model to mend."""
    with pytest.raises(ToolError, match=words):
        Tool(weather).check(arguments)


def untyped(city) -> str:  # type: ignore[no-untyped-def]
    """Return something."""
    raise NotImplementedError


def undescribed(city: str) -> str:
    raise NotImplementedError


def starred(*cities: str) -> str:
    """Return something."""
    raise NotImplementedError


def odd(city: NoSuchType) -> str:  # type: ignore[name-defined]  # noqa: F821
    """Return something."""
    raise NotImplementedError


def opaque(city: Tool) -> str:
    """Return something."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (untyped, "untyped: the parameter 'city' has no type hint"),
        (undescribed, "undescribed: it has no docstring"),
        (starred, r"starred: \*cities: 'str' cannot be given by its name"),
        (odd, "odd: its type hints cannot be read: name 'NoSuchType'"),
        (opaque, "opaque: Unable to generate pydantic-core schema"),
    ],
)
def test_what_cannot_be_a_tool_is_said(function: Callable[..., Any], words: str) -> None:
    """By name, when the server starts."""
    with pytest.raises(BadTool, match=words):
        Tool(function)


def test_two_tools_of_one_name_are_refused() -> None:
    """The model could not tell them apart."""
    with pytest.raises(BadTool, match="weather: two tools"):
        as_tools([weather, Tool(weather)])


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which modules are found."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_a_modules_public_functions_are_its_tools(modules: Path) -> None:
    """Not what it imports, nor what begins with an underscore; `__all__` says otherwise."""
    (modules / "tools_one.py").write_text(
        "from os.path import join\n"
        "from dripline_server.tools.server_tools import Tool\n"
        "def a(x: int) -> int:\n    'Return x.'\n    return x\n"
        "def _b(x: int) -> int:\n    'Return x.'\n    return x\n"
        "def _slow() -> None:\n    'Wait.'\n"
        "slow = Tool(_slow, timeout=5)\n"
    )
    (modules / "tools_two.py").write_text(
        "__all__ = ['c']\n"
        "def c() -> None:\n    'Do nothing.'\n"
        "def d() -> None:\n    'Do nothing.'\n"
    )
    tools = load_tools("tools_one, tools_two")
    assert [tool.name for tool in tools] == ["a", "_slow", "c"]
    assert tools[1].timeout == 5
    assert load_tools("") == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "tools_bad cannot be imported: ModuleNotFoundError: "),
        ("1 +", "tools_bad cannot be imported: SyntaxError: "),
        ("raise SystemError('no')", "tools_bad cannot be imported: SystemError: no"),
        ("import os", "tools_bad has no public function"),
        ("def f(x): 'Return x.'", "f: the parameter 'x' has no type hint"),
    ],
)
def test_a_bad_module_is_named(modules: Path, code: str | None, words: str) -> None:
    """With what is wrong."""
    if code is not None:
        (modules / "tools_bad.py").write_text(code)
    sys.modules.pop("tools_bad", None)
    with pytest.raises(BadTool, match=words):
        load_tools("tools_bad")
