"""The same function as a tool of the server's and of the client's: it does the same."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from dripline import Start, TextMessage, Tool, ToolError, ToolResult
from dripline.testing import Call, Reply, Script, in_rounds
from tests.support.stack import stack


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    y: int = 0


class Room(BaseModel):
    name: str
    seats: int = Field(ge=1)


class Guest(TypedDict):
    name: str
    age: int


def rooms(count: int) -> str:
    return f"{count!r}"


def described(count: int) -> str:
    """Return a count.

    Args:
        count: How many.
    """
    return f"{count!r}"


def one(
    value: Any = None, number: float = 0.0, text: str = "", yes: bool = False, other: Any = "-"
) -> str:
    return f"{value!r} {number!r} {text!r} {yes!r} {other!r}"


def day(when: date) -> date:
    return when + timedelta(days=1)


def moment(when: datetime, wait: timedelta = timedelta(0)) -> datetime:
    return when + wait


def paint(colour: Colour, level: Level = Level.LOW) -> str:
    return f"{colour!r} {level!r}"


def move(point: Point, by: Point | None = None) -> Point:
    return Point(point.x + (by.x if by else 1), point.y)


def book(room: Room) -> Room:
    return room


def greet(guests: list[Guest]) -> str:
    return ", ".join(f"{guest['name']} ({guest['age'] + 1})" for guest in guests)


def choose(of: Literal["C", 3], optional: int | None = None) -> str:
    return f"{of!r} {optional!r}"


def each(numbers: list[int], by: dict[str, float] | None = None) -> dict[str, Any]:
    return {"sum": sum(numbers), "by": by}


def several(a: int | str, tags: set[str] | None = None, pair: tuple[int, str] = (0, "")) -> str:
    return f"{a!r} {sorted(tags or ())!r} {pair!r}"


def others(amount: Decimal, identity: UUID, path: Path) -> str:
    return f"{amount} {identity} {path.name}"


def bounded(stars: Annotated[int, Field(ge=1, le=5)]) -> int:
    return stars


def named(*, schema: int, copy: str = "", _hidden: int = 0) -> str:
    return f"{schema} {copy} {_hidden}"


def nothing() -> None: ...


def where() -> str:
    return "a thread" if threading.current_thread() is not threading.main_thread() else "the loop"


async def where_async() -> str:
    await asyncio.sleep(0)
    return where()


def refused(city: str) -> str:
    raise ToolError(f"there is no {city}; give an English name")


async def broken() -> str:
    raise LookupError("not there")


def unwritable() -> object:
    return object()


def stopped() -> None:
    raise StopIteration


def leaving() -> None:
    raise SystemExit(3)


UUID_TEXT = "12345678-1234-5678-1234-567812345678"

TABLE: list[tuple[Callable[..., Any], dict[str, Any], str, bool]] = [
    (rooms, {"count": 5}, "5", False),
    (rooms, {"count": "5"}, "5", False),
    (rooms, {"count": 5.0}, "5", False),
    (rooms, {"count": 5.5}, "count: Input should be a valid integer", True),
    (rooms, {"count": "five"}, "count: Input should be a valid integer", True),
    (rooms, {"count": None}, "count: Input should be a valid integer", True),
    (rooms, {}, "count: Field required", True),
    (rooms, {"count": 1, "beds": 2}, "beds: Extra inputs are not permitted", True),
    (rooms, {"beds": 2}, "count: Field required; beds: Extra inputs are not permitted", True),
    (described, {"count": "5"}, "5", False),
    (one, {}, "None 0.0 '' False '-'", False),
    (one, {"value": {"x": [1]}, "number": 1}, "{'x': [1]} 1.0 '' False '-'", False),
    (one, {"number": "1.5", "yes": "true"}, "None 1.5 '' True '-'", False),
    (one, {"text": 5}, "text: Input should be a valid string", True),
    (one, {"yes": "perhaps"}, "yes: Input should be a valid boolean", True),
    (day, {"when": "2026-12-31"}, '"2027-01-01"', False),
    (day, {"when": "tomorrow"}, "when: Input should be a valid date", True),
    (moment, {"when": "2026-12-31T10:00:00Z", "wait": 60}, '"2026-12-31T10:01:00Z"', False),
    (paint, {"colour": "red"}, "<Colour.RED: 'red'> <Level.LOW: 1>", False),
    (paint, {"colour": "red", "level": 1}, "<Colour.RED: 'red'> <Level.LOW: 1>", False),
    (paint, {"colour": "green"}, "colour: Input should be 'red' or 'blue'", True),
    (move, {"point": {"x": "1"}}, '{"x":2,"y":0}', False),
    (move, {"point": {"x": 1}, "by": {"x": 2, "y": 3}}, '{"x":3,"y":0}', False),
    (move, {"point": {"y": 1}}, "point.x: Field required", True),
    (book, {"room": {"name": "A", "seats": 2}}, '{"name":"A","seats":2}', False),
    (book, {"room": {"name": "A", "seats": 0}}, "room.seats: Input should be greater than", True),
    (greet, {"guests": [{"name": "Ann", "age": "7"}]}, "Ann (8)", False),
    (greet, {"guests": [{"name": "Ann"}]}, "guests.0.age: Field required", True),
    (choose, {"of": 3, "optional": None}, "3 None", False),
    (choose, {"of": "C", "optional": "7"}, "'C' 7", False),
    (choose, {"of": "F"}, "of: Input should be 'C' or 3", True),
    (each, {"numbers": ["1", 2], "by": {"a": 1}}, '{"sum":3,"by":{"a":1.0}}', False),
    (each, {"numbers": "1"}, "numbers: Input should be a valid list", True),
    (each, {"numbers": [1, "x"]}, "numbers.1: Input should be a valid integer", True),
    (several, {"a": "5", "tags": ["y", "x"], "pair": [1, "z"]}, "'5' ['x', 'y'] (1, 'z')", False),
    (others, {"amount": 1.5, "identity": UUID_TEXT, "path": "/a/b"}, f"1.5 {UUID_TEXT} b", False),
    (bounded, {"stars": 5}, "5", False),
    (bounded, {"stars": 6}, "stars: Input should be less than or equal to 5", True),
    (named, {"schema": 1, "copy": "x", "_hidden": 2}, "1 x 2", False),
    (nothing, {}, "null", False),
    (where, {}, "a thread", False),
    (where_async, {}, "the loop", False),
    (refused, {"city": "Atlantis"}, "there is no Atlantis; give an English name", True),
    (broken, {}, "LookupError: not there", True),
    (unwritable, {}, "TypeError: it returned object, which has no JSON form", True),
    (stopped, {}, "RuntimeError: StopIteration", True),
    (leaving, {}, "RuntimeError: SystemExit: 3", True),
]


@pytest.mark.parametrize("side", ["server", "client"])
async def test_the_same_function_does_the_same(side: str) -> None:
    """Whatever it is called with: what it gets, what the model is told, and that it goes on."""
    functions = list(dict.fromkeys(function for function, *_ in TABLE))
    calls = [Call(function.__name__, arguments) for function, arguments, *_ in TABLE]
    script = Script(
        in_rounds(Reply("", tool_calls=calls), "I see"), capabilities=["completion", "tools"]
    )
    on_server, in_client = (functions, ()) if side == "server" else ((), functions)
    async with stack(script, functions=on_server) as s:
        async with s.client.chat("Hi", tools=in_client) as stream:
            events = [event async for event in stream]
        offered: Any = s.ollama.chats[0].body
    assert offered["tools"][: len(functions)] == [Tool(function).schema for function in functions]
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.name for result in results] == [call.name for call in calls]
    for (function, arguments, content, failed), result in zip(TABLE, results, strict=True):
        said = result.content[: len(content)] if failed else result.content
        assert (said, result.failed) == (content, failed), (function.__name__, arguments)
    assert isinstance(events[0], Start)
    assert "".join(one.content for one in events if isinstance(one, TextMessage)) == "I see"
