"""The demo models' JSON: it fits whatever schema is asked for, as jsonschema sees it."""

from __future__ import annotations

import enum
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AnyUrl, BaseModel, ConfigDict, Field

from dripline.testing.fake_ollama.demo.pattern_text import PatternUnknown, matching
from dripline.testing.fake_ollama.demo.schema_value import UnsatisfiableSchema, value_for

SAID = "What is the weather in Oslo for 3 days, in celsius?"


def made(schema: Any, said: str = SAID) -> Any:
    """What a demo model makes of a schema."""
    return value_for(schema, lambda _: said, said)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Address(BaseModel):
    street: str
    zip_code: Annotated[str, Field(pattern=r"^\d{4,5}(-\d{4})?$")]


class Person(BaseModel):
    name: Annotated[str, Field(min_length=2, max_length=8)]
    age: Annotated[int, Field(ge=18, lt=21)]
    address: Address
    former: list[Address] = []
    nickname: str | None = None


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Linked(BaseModel):
    value: int
    next: Linked | None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(gt=0, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: set[str]


class Pets(BaseModel):
    pets: Annotated[list[Annotated[Cat | Dog, Field(discriminator="kind")]], Field(min_length=2)]


class Formats(BaseModel):
    day: date
    moment: datetime
    clock: time
    length: timedelta
    site: AnyUrl
    ident: UUID
    four: IPv4Address
    six: IPv6Address


class Shapes(BaseModel):
    point: tuple[float, float, str]
    colours: Annotated[list[Colour], Field(min_length=1, max_length=2)]
    unique: Annotated[set[int], Field(min_length=3)]
    scores: dict[str, Annotated[float, Field(ge=0, le=1)]]
    price: Decimal
    even: Annotated[int, Field(multiple_of=7, gt=10)]
    share: Annotated[float, Field(gt=0, lt=1)]
    mixed: int | str | list[int] | None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")

    answer: bool
    reason: str = "none"


@pytest.mark.parametrize("model", [Person, Tree, Linked, Pets, Formats, Shapes, Strict])
def test_a_usual_model_is_met(model: type[BaseModel]) -> None:
    """What is made for a model's schema makes the model."""
    schema = model.model_json_schema()
    value = made(schema)
    jsonschema.validate(
        value, schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    model.model_validate(value)


OBJECT = {"type": "object"}
SCHEMAS: dict[str, Any] = {
    "nothing": {},
    "true": True,
    "const": {"const": {"a": [1]}},
    "enum of all kinds": {"enum": [None, 1, "x"]},
    "types": {"type": ["null", "integer"]},
    "no type": {"minimum": 5},
    "properties alone": {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "required, not listed": {**OBJECT, "required": ["a", "b"]},
    "additional": {**OBJECT, "additionalProperties": {"type": "integer"}, "minProperties": 2},
    "pattern properties": {
        **OBJECT,
        "patternProperties": {"^x_[a-z]+$": {"type": "integer"}},
        "additionalProperties": False,
        "minProperties": 2,
    },
    "property names": {**OBJECT, "propertyNames": {"pattern": "^[A-Z]{2}$"}, "minProperties": 2},
    "an optional one that cannot be": {
        **OBJECT,
        "properties": {"a": {"type": "integer"}, "b": False},
        "required": ["a"],
    },
    "all of": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 4}]},
    "all of references": {
        "$defs": {"a": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}},
        "allOf": [{"$ref": "#/$defs/a"}, {"properties": {"y": {"const": 2}}, "required": ["y"]}],
    },
    "any of with more": {
        **OBJECT,
        "properties": {"a": {"type": "string"}},
        "anyOf": [{"required": ["zz"]}, {"required": ["a"]}],
    },
    "one of": {"oneOf": [{"type": "integer"}, {"type": "integer", "minimum": 2}]},
    "not": {"type": "integer", "not": {"enum": [1, 2, 3]}},
    "if": {
        **OBJECT,
        "properties": {"kind": {"enum": ["a", "b"]}, "size": {"type": "integer"}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["size"]},
    },
    "dependent": {
        **OBJECT,
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "dependentRequired": {"a": ["b"]},
    },
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"const": "x"}],
        "items": False,
    },
    "contains": {"type": "array", "contains": {"const": 7}, "minContains": 2},
    "unique": {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
    "nested arrays": {"type": "array", "items": {"type": "array", "items": {"type": "boolean"}}},
    "anchor": {"$defs": {"a": {"$anchor": "here", "type": "integer"}}, "$ref": "#here"},
    "reference to the root": {**OBJECT, "properties": {"inner": {"$ref": "#"}}},
    "references in a circle": {
        "$defs": {
            "a": {**OBJECT, "properties": {"b": {"$ref": "#/$defs/b"}}, "required": ["b"]},
            "b": {
                **OBJECT,
                "properties": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}},
            },
        },
        "$ref": "#/$defs/a",
    },
    "open range": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    "negative": {"type": "integer", "maximum": -5},
    "steps": {"type": "number", "multipleOf": 0.25, "minimum": 0.3},
    "long text": {"type": "string", "minLength": 300},
    "no text": {"type": "string", "maxLength": 0},
    "escaped pointer": {"$defs": {"a/b~c": {"const": 1}}, "$ref": "#/$defs/a~1b~0c"},
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_a_schema_is_met(schema: Any) -> None:
    """Each keyword is kept."""
    jsonschema.validate(made(schema), schema)


PATTERNS = [
    *(
        r"^[A-Z]{2}\d{3}$",
        r"^\+?[0-9 ]{5,}$",
        r"^(red|green)-\w+$",
        r"[^abc]",
        r"^$",
        r"a{2,3}b?c*",
    ),
    *(r"^\d{4}-\d{2}-\d{2}$", r"^(?:x|y)+$", r"^(?P<n>[a-f0-9]{8})$", r"\.json$", r"^.{3}$"),
    *(
        r"^(?=.*\d)[a-z\d]{3}$",
        r"^[\w.+-]+@[\w-]+\.[a-z]{2,}$",
        r"é+",
        r"^#[0-9a-fA-F]{6}$",
        r"^\S+$",
    ),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_met(pattern: str) -> None:
    """Also where the text is to have a length."""
    text = next(matching(pattern))
    assert re.search(pattern, text)
    longer = next(matching(pattern, least=1, most=60), None)
    assert longer is None or (re.search(pattern, longer) and 1 <= len(longer) <= 60)


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum 5 is above maximum 3"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "minLength 3 is above maxLength 2"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "minItems 2 is above maxItems 1"),
        (False, "it is false"),
        ({"enum": []}, "#"),
        ({"type": "strng"}, "there is no type 'strng'"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"type": "string", "pattern": "("}, "is wrong"),
        ({"type": "string", "pattern": r"(a)\1"}, "is not understood here"),
        (
            {
                "type": "object",
                "properties": {
                    "a": {
                        "type": "object",
                        "properties": {"b": {"type": "integer", "minimum": 2, "maximum": 1}},
                        "required": ["b"],
                    }
                },
                "required": ["a"],
            },
            "#/properties/a/properties/b",
        ),
        (
            {"type": "object", "required": ["a"], "additionalProperties": False},
            "'a' is required, and no such property may be there",
        ),
        (
            {
                "$defs": {
                    "a": {
                        "type": "object",
                        "properties": {"a": {"$ref": "#/$defs/a"}},
                        "required": ["a"],
                    }
                },
                "$ref": "#/$defs/a",
            },
            "for ever",
        ),
    ],
)
def test_a_schema_that_cannot_be_met_is_a_clear_error(schema: Any, named: str) -> None:
    """It says where, and why."""
    with pytest.raises(UnsatisfiableSchema) as caught:
        made(schema)
    assert named in str(caught.value)


def test_choices_and_numbers_are_the_users() -> None:
    """Where they fit."""
    schema = {
        "type": "object",
        "properties": {
            "unit": {"enum": ["fahrenheit", "celsius"]},
            "days": {"type": "integer", "minimum": 1},
            "hours": {"type": "integer", "minimum": 10},
        },
    }
    assert made(schema) == {"unit": "celsius", "days": 3, "hours": 10}


def test_patterns_of_other_kinds_are_named() -> None:
    """What the small parser does not know is no wrong text."""
    with pytest.raises(PatternUnknown, match="not understood"):
        next(matching(r"(?P<x>a)(?P=x)"))


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of usual keywords, one inside the other."""
    small = st.integers(0, 4)
    leaves: st.SearchStrategy[Any] = st.one_of(
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.builds(
            lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
            st.integers(-9, 9),
            small,
        ),
        st.builds(
            lambda low, span: {
                "type": "number",
                "exclusiveMinimum": low,
                "exclusiveMaximum": low + span + 0.5,
            },
            st.integers(-9, 9),
            small,
        ),
        st.builds(
            lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
            small,
            small,
        ),
        st.sampled_from([{"type": "string", "format": "date"}, {"enum": ["a", 1]}, {"const": [1]}]),
    )

    def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        objects = properties.flatmap(
            lambda p: st.builds(
                lambda required, extra: {
                    "type": "object",
                    "properties": p,
                    "required": sorted(required),
                    "additionalProperties": extra,
                },
                st.sets(st.sampled_from(sorted(p)) if p else st.nothing(), max_size=len(p)),
                st.booleans(),
            )
        )
        arrays = st.builds(
            lambda items, low, span: {
                "type": "array",
                "items": items,
                "minItems": low,
                "maxItems": low + span,
            },
            inner,
            small,
            small,
        )
        branches = st.builds(
            lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)
        )
        return st.one_of(objects, arrays, branches)

    return st.recursive(leaves, deeper, max_leaves=8)


@given(schemas())
def test_any_schema_of_usual_keywords_is_met(schema: Any) -> None:
    """However its parts stand inside each other."""
    jsonschema.validate(made(schema), schema)
