"""What every client program does: runs operations, and says of each whether it was right."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any

URL = os.environ["FAKE_OLLAMA"]
QUESTION = "What is the weather in Oslo?"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Z][a-z]+$"},
        "age": {"type": "integer", "minimum": 18, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
    },
    "required": ["name", "age", "tags"],
}
STORY = "Once upon a time there was a fox."
THOUGHT = "Hm, let me see."
TOLD = "It rains in Oslo."

_operations: list[tuple[str, Callable[[], Any]]] = []


def operation(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Say that a function tries an operation of this name; it raises where that fails."""

    def add(function: Callable[[], Any]) -> Callable[[], Any]:
        _operations.append((name, function))
        return function

    return add


def same(found: object, expected: object) -> None:
    """Check that two values are the same."""
    if found != expected:
        raise AssertionError(f"{found!r} is not {expected!r}")


def fits(text: str) -> None:
    """Check that a text is JSON of `SCHEMA`."""
    value = json.loads(text)
    same(sorted(value), ["age", "name", "tags"])
    if not (value["name"][0].isupper() and 18 <= value["age"] <= 99 and value["tags"]):
        raise AssertionError(f"{value!r} does not fit the schema")


def is_vector(vector: Any) -> None:
    """Check that an embedding has the length that the fake gives, and is of unit length."""
    same(len(vector), 8)
    length = sum(value * value for value in vector)
    if abs(length - 1) > 1e-3:
        raise AssertionError(f"the vector's length is {length}")


PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 32).decode()


def saw(text: str | None) -> None:
    """Check that the demo model has got a picture."""
    if "picture" not in (text or ""):
        raise AssertionError(f"{text!r} is not about a picture")


def refused(error: type[BaseException], call: Callable[[], object], *words: str) -> None:
    """Check that a call raises an error that has these words."""
    try:
        call()
    except error as raised:
        if not all(word in str(raised) for word in words):
            raise AssertionError(f"{raised!r} does not say {words}") from raised
    else:
        raise AssertionError(f"no {error.__name__} was raised")


def main() -> None:
    """Run the operations, and print a line of JSON for each."""
    for name, function in _operations:
        problem = ""
        try:
            result = function()
            if inspect.isawaitable(result):
                asyncio.run(_awaited(result))
        except BaseException as error:  # also what a client raises that is no Exception
            problem = f"{type(error).__name__}: {error}"[:500] or repr(error)
        print(json.dumps({"operation": name, "problem": problem}), flush=True)
    sys.exit(0)


async def _awaited(awaitable: Any) -> None:
    await awaitable
