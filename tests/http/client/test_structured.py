"""Structured output: `format` passes through, and `ask` returns the checked object."""

from __future__ import annotations

import sys
from typing import Any

import pydantic
import pytest

from dripline import FormatMismatch
from dripline.testing import Script
from tests.support.stack import stack


class City(pydantic.BaseModel):
    name: str
    people: int


SCHEMA = City.model_json_schema()
RIGHT = '{"name": "Zurich", "people": 443000}'


async def test_a_model_gives_an_object_of_it() -> None:
    """Ollama is told the model's JSON schema."""
    async with stack(Script(RIGHT)) as s:
        city = await s.client.ask("Which city?", format=City)
        body: Any = s.ollama.chats[0].body
        assert body["format"] == SCHEMA
    assert city.people == 443_000


async def test_a_schema_gives_the_value() -> None:
    """As JSON has it."""
    async with stack(Script(RIGHT)) as s:
        value = await s.client.ask("Which city?", format=SCHEMA)
    assert value == {"name": "Zurich", "people": 443_000}


async def test_json_gives_the_answer() -> None:
    """There is nothing to check it against."""
    async with stack(Script(RIGHT)) as s:
        assert (await s.client.ask("Which city?", format="json")).text == RIGHT
        body: Any = s.ollama.chats[0].body
        assert body["format"] == "json"


@pytest.mark.parametrize(
    ("text", "of_model", "of_schema"),
    [
        ("Zurich, I think", "Invalid JSON", "not JSON"),
        ('{"name": "Zurich"}', "people\n  Field required", r"\$: 'people' is a required"),
        ('{"name": "Zurich", "people": "many"}', "people\n  Input", r"\$\.people: 'many' is not"),
    ],
)
async def test_an_answer_that_does_not_fit_raises(text: str, of_model: str, of_schema: str) -> None:
    """With what is wrong, and the answer itself."""
    async with stack(Script(text)) as s:
        for wanted, words in ((City, of_model), (SCHEMA, of_schema)):
            with pytest.raises(FormatMismatch, match=words) as raised:
                await s.client.ask("Which city?", format=wanted)
            assert raised.value.answer.text == text


async def test_a_cut_answer_is_said_to_be_cut() -> None:
    """That is the reason more often than the model."""
    async with stack(Script(list(RIGHT))) as s:
        with pytest.raises(FormatMismatch, match="cut off at its limit"):
            await s.client.ask("Which city?", format=City, options={"num_predict": 5})


async def test_a_bad_schema_is_said_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And so is a missing package."""
    async with stack(Script(RIGHT)) as s:
        with pytest.raises(ValueError, match="format: not a JSON schema: 'thing' is not valid"):
            await s.client.ask("Which city?", format={"type": "thing"})
        monkeypatch.setitem(sys.modules, "jsonschema", None)
        with pytest.raises(ImportError, match=r"dripline\[format\]"):
            await s.client.ask("Which city?", format=SCHEMA)
        assert s.ollama.chats == []
