"""A value that fits a JSON schema, made of the user's words where these fit.

Libraries that do it are for tests of one's own and not for a base install: hypothesis-jsonschema
brings hypothesis and draws at random, polyfactory wants a model and not a schema, and jsf knows no
recursion and no tuples. So this makes few candidates for each schema, checks them, and takes the
first that fits; the tests check the same with jsonschema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import cast

from dripline.testing.fake_ollama.demo.pattern_text import PatternUnknown, matching
from dripline.testing.fake_ollama.demo.schema_check import fits
from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue

WordsFor = Callable[[str], str]

_FORMATS = {
    "date": ("2024-05-04", "2024-05-05"),
    "date-time": ("2024-05-04T12:30:00Z", "2024-05-05T12:30:00Z"),
    "time": ("12:30:00Z", "13:30:00Z"),
    "duration": ("PT1H", "P1D"),
    "email": ("ada@example.org", "grace@example.org"),
    "idn-email": ("ada@example.org",),
    "hostname": ("example.org",),
    "idn-hostname": ("example.org",),
    "ipv4": ("192.0.2.1", "192.0.2.2"),
    "ipv6": ("2001:db8::1", "2001:db8::2"),
    "uri": ("https://example.org/", "https://example.org/2"),
    "uri-reference": ("/path", "https://example.org/"),
    "iri": ("https://example.org/",),
    "iri-reference": ("/path",),
    "uri-template": ("https://example.org/{id}",),
    "json-pointer": ("/a/0",),
    "relative-json-pointer": ("0",),
    "regex": ("^a+$",),
    "uuid": ("7d444840-9dc0-11d1-b245-5ffdce74fad2", "7d444840-9dc0-11d1-b245-5ffdce74fad3"),
    "byte": ("aGVsbG8=",),
    "binary": ("hello",),
    "path": ("/path",),
    # What pydantic says beside the standard's.
    "base64": ("aGVsbG8=",),
    "base64url": ("aGVsbG8=",),
    "uuid1": ("7d444840-9dc0-11d1-b245-5ffdce74fad2",),
    "uuid3": ("6fa459ea-ee8a-3ca4-894e-db77e160355e",),
    "uuid4": ("9b2e8bbd-6e4c-4f4b-8f5f-0c1d2e3f4a5b",),
    "uuid5": ("886313e1-3b8a-5372-9b90-0c9aee199e5d",),
    "json-string": ("{}",),
    "ipv4network": ("192.0.2.0/24",),
    "ipv6network": ("2001:db8::/32",),
    "ipv4interface": ("192.0.2.1/24",),
    "ipv6interface": ("2001:db8::1/32",),
    "ipvanyaddress": ("192.0.2.1", "2001:db8::1"),
    "ipvanynetwork": ("192.0.2.0/24",),
    "ipvanyinterface": ("192.0.2.1/24",),
    "password": ("correct horse",),
}
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_KEYWORDS_OF = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains", "uniqueItems"),
    "string": ("pattern", "format", "minLength", "maxLength"),
    "number": ("minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum"),
}
_ENOUGH = 12  # candidates that are tried for one schema
_DEEPEST = 40


class UnsatisfiableSchema(ValueError):
    """A schema that no value fits, as far as can be seen here; says where and why."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why

    def __str__(self) -> str:
        return f"no value fits the JSON schema at {self.path}: {self.why}"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a schema a value is made.

    Attributes:
        path: As JSON pointers have it: "#/properties/age".
        name: The property's name, by which the user's words are chosen.
        entered: The references that lead here; what is optional ends where one comes back.
    """

    path: str = "#"
    name: str = ""
    entered: tuple[str, ...] = ()

    def within(self, step: str, name: str = "") -> _Place:
        return replace(self, path=f"{self.path}/{step}", name=name or self.name)

    @property
    def returns(self) -> bool:
        """Whether a reference leads to itself."""
        return len(set(self.entered)) < len(self.entered)


def value_for(schema: JsonValue, words: WordsFor, said: str = "") -> JsonValue:
    """Return a value that fits a schema.

    Args:
        schema: A JSON schema of draft 7 or 2020-12, whose references lead into itself.
        words: Gives the user's words for a property of this name.
        said: The user's message, of which choices and numbers are taken.

    Raises:
        UnsatisfiableSchema: There is none, or none was found.
    """
    return _Maker(schema, words, said).first(schema, _Place())


class _Maker:
    def __init__(self, root: JsonValue, words: WordsFor, said: str) -> None:
        self._root = root
        self._words = words
        self._said = said
        self._problem: UnsatisfiableSchema | None = None

    def first(self, schema: JsonValue, place: _Place) -> JsonValue:
        """Return the first candidate that fits."""
        for value in self._fitting(schema, place):
            return value
        raise self._problem or UnsatisfiableSchema(place.path, "nothing fits")

    def _fitting(self, schema: JsonValue, place: _Place) -> Iterator[JsonValue]:
        """Give candidates that fit a schema; notes why where there is none."""
        found = False
        for value in islice(self._candidates(schema, place), _ENOUGH * 4):
            if fits(schema, value, self._root):
                found = True
                yield value
        if not found:
            why = "its parts contradict each other" if schema is not False else "it is false"
            self._note(place, why)

    def _note(self, place: _Place, why: str) -> None:
        deeper = self._problem is None or len(place.path) > len(self._problem.path)
        if deeper:
            self._problem = UnsatisfiableSchema(place.path, why)

    def _candidates(self, schema: JsonValue, place: _Place) -> Iterator[JsonValue]:
        if schema is True or schema == {}:
            yield self._words(place.name)
            return
        if not isinstance(schema, Mapping):
            return
        if len(place.entered) > _DEEPEST:
            self._note(place, "it leads to itself for ever")
        elif isinstance(ref := schema.get("$ref") or schema.get("$dynamicRef"), str):
            target = _resolved(self._root, ref)
            if target is None:
                raise UnsatisfiableSchema(place.path, f"$ref {ref!r} leads nowhere")
            rest = {key: value for key, value in schema.items() if not key.endswith("ef")}
            inner = replace(place, entered=(*place.entered, ref))
            yield from self._candidates(_merged(target, rest), inner)
        elif isinstance(parts := schema.get("allOf"), list):
            yield from self._all_of(schema, parts, place)
        elif part := next((p for p in ("anyOf", "oneOf") if isinstance(schema.get(p), list)), ""):
            branches = cast("list[JsonValue]", schema[part])
            yield from self._branches(schema, part, branches, place)
        elif "if" in schema:
            yield from self._conditional(schema, place)
        else:
            yield from self._of_types(schema, place)

    def _all_of(
        self, schema: JsonObject, parts: Sequence[JsonValue], place: _Place
    ) -> Iterator[JsonValue]:
        whole: JsonValue = {key: value for key, value in schema.items() if key != "allOf"}
        entered = place.entered
        for one in parts:
            followed, entered = self._followed(one, entered)
            whole = _merged(whole, followed)
        yield from self._candidates(whole, replace(place, entered=entered))

    def _followed(
        self, schema: JsonValue, entered: tuple[str, ...]
    ) -> tuple[JsonValue, tuple[str, ...]]:
        """Return a schema in place of a reference to it."""
        while isinstance(schema, Mapping) and isinstance(ref := schema.get("$ref"), str):
            if len(entered) > _DEEPEST:
                break
            rest = {key: value for key, value in schema.items() if key != "$ref"}
            schema, entered = _merged(_resolved(self._root, ref), rest), (*entered, ref)
        return schema, entered

    def _branches(
        self, schema: JsonObject, part: str, parts: Sequence[JsonValue], place: _Place
    ) -> Iterator[JsonValue]:
        rest = {key: value for key, value in schema.items() if key != part}
        order = list(enumerate(parts))
        if place.returns:  # the way out of a recursion first
            order.sort(key=lambda pair: "$ref" in str(pair[1]))
        else:  # and null last, for it says least
            order.sort(key=lambda pair: _object(pair[1]).get("type") == "null")
        for index, branch in order:
            found, entered = self._followed(branch, place.entered)
            inner = replace(place.within(f"{part}/{index}"), name=place.name, entered=entered)
            yield from islice(self._candidates(_merged(rest, found), inner), _ENOUGH)

    def _conditional(self, schema: JsonObject, place: _Place) -> Iterator[JsonValue]:
        rest = {k: value for k, value in schema.items() if k not in ("if", "then", "else")}
        met = _merged(_merged(rest, schema["if"]), schema.get("then", True))
        yield from islice(self._candidates(met, place), _ENOUGH)
        yield from islice(self._candidates(_merged(rest, schema.get("else", True)), place), _ENOUGH)

    def _of_types(self, schema: JsonObject, place: _Place) -> Iterator[JsonValue]:
        if "const" in schema:
            yield schema["const"]
            return
        if isinstance(choices := schema.get("enum"), list):
            said = self._said.lower()
            yield from (c for c in choices if isinstance(c, str) and c and c.lower() in said)
            yield from choices
            return
        makers = {
            "object": self._objects,
            "array": self._arrays,
            "string": self._strings,
            "number": self._numbers,
            "integer": self._numbers,
            "boolean": lambda *_: iter((True, False)),
            "null": lambda *_: iter((None,)),
        }
        for kind in _kinds(schema):
            if kind in makers:
                yield from islice(makers[kind]({**schema, "type": kind}, place), _ENOUGH)
            else:
                self._note(place, f"there is no type {kind!r}")

    def _strings(self, schema: JsonObject, place: _Place) -> Iterator[JsonValue]:
        least = int(cast("int", schema.get("minLength") or 0))
        most = schema.get("maxLength")
        limit = int(most) if isinstance(most, int | float) else None
        if limit is not None and limit < least:
            self._note(place, f"minLength {least} is above maxLength {limit}")
            return
        if isinstance(pattern := schema.get("pattern"), str):
            try:
                yield from matching(pattern, least=least, most=limit)
            except PatternUnknown as error:
                self._note(place, str(error))
                return
            self._note(place, f"no text was found for the pattern {pattern!r}")
        if isinstance(wanted := schema.get("format"), str) and wanted in _FORMATS:
            yield from _FORMATS[wanted]
            return
        for number in range(_ENOUGH):
            text = self._words(place.name) or "text"
            if number:
                text = f"{text[: max(0, (limit or len(text) + 3) - 3)]} {number}"
            text = text[:limit].strip() or "a"[: 1 if limit is None else limit]
            yield text if len(text) >= least else text + "." * (least - len(text))

    def _numbers(self, schema: JsonObject, place: _Place) -> Iterator[JsonValue]:
        whole = schema.get("type") == "integer"
        low, high = _bounds(schema)
        if low > high:
            self._note(place, f"minimum {low:g} is above maximum {high:g}")
            return
        step = schema.get("multipleOf")
        size = float(step) if isinstance(step, int | float) and step > 0 else 1.0
        if found := re.search(r"-?\d+", self._said):
            yield int(found[0])
        middle = low + (high - low) / 2 if math.isfinite(high - low) else 0.5
        if not whole and step is None and math.ceil(low if math.isfinite(low) else 0) > high:
            yield middle
        start = 1.0 if low <= 1.0 <= high else low if math.isfinite(low) else high
        if not math.isfinite(start):
            start = 0.0
        first = math.ceil(start / size)
        for number in range(_ENOUGH):
            for index in (first + number, first - number):
                value = round(index * size, 10)
                yield int(value) if value == int(value) else value

    def _arrays(self, schema: JsonObject, place: _Place) -> Iterator[JsonValue]:
        first, rest = _tuple_of(schema)
        least = int(cast("int", schema.get("minItems") or 0))
        most = schema.get("maxItems")
        limit = int(most) if isinstance(most, int) else None
        if limit is not None and limit < least:
            self._note(place, f"minItems {least} is above maxItems {limit}")
            return
        if place.returns and not least and not first:
            yield []
        wanted = max(least, len(first), 0 if rest is False or place.returns else 1)
        if "contains" in schema:
            wanted = max(wanted, int(cast("int", schema.get("minContains") or 1)))
        size = wanted if limit is None else min(wanted, limit)
        items: list[JsonValue] = []
        unique = schema.get("uniqueItems") is True
        for index in range(size):
            inner = first[index] if index < len(first) else rest
            if "contains" in schema and index >= len(first):
                inner = _merged(inner, schema["contains"])
            where = place.within(f"items/{index}")
            item = next(
                (one for one in self._fitting(inner, where) if not (unique and one in items)), _NONE
            )
            if item is _NONE:
                if unique and items:
                    self._note(where, "there are too few different values for uniqueItems")
                return
            items.append(cast("JsonValue", item))
        yield items
        if not least and not first:
            yield []

    def _objects(self, schema: JsonObject, place: _Place) -> Iterator[JsonValue]:
        properties = _object(schema.get("properties"))
        given = schema.get("required")
        required = [str(name) for name in given] if isinstance(given, list) else []
        made: dict[str, JsonValue] = {}
        for name in dict.fromkeys((*properties, *required)):
            inner = properties.get(name, _additional(schema, name))
            where = place.within(f"properties/{name}", name)
            if name not in required and (place.returns or not self._can(inner, where)):
                continue
            if inner is False:
                self._note(where, f"{name!r} is required, and no such property may be there")
                return
            value = next(self._fitting(inner, where), _NONE)
            if value is _NONE:
                return
            made[name] = cast("JsonValue", value)
        if not self._filled(schema, made, place):
            return
        yield made
        few = {name: value for name, value in made.items() if name in required}
        if few != made:
            yield few
            for name in made.keys() - few.keys():
                yield {key: value for key, value in made.items() if key != name}

    def _can(self, schema: JsonValue, place: _Place) -> bool:
        """Return whether an optional property can be there, without a note where it cannot."""
        problem = self._problem
        found = schema is not False and next(self._fitting(schema, place), _NONE) is not _NONE
        self._problem = problem
        return found

    def _filled(self, schema: JsonObject, made: dict[str, JsonValue], place: _Place) -> bool:
        """Add properties up to `minProperties`; whether that went."""
        least = int(cast("int", schema.get("minProperties") or 0))
        names = self._names(schema)
        while len(made) < least:
            name = next((name for name in names if name not in made), None)
            if name is None:
                self._note(place, f"minProperties {least} cannot be met")
                return False
            inner = _additional(schema, name)
            value = next(self._fitting(inner, place.within(name, name)), _NONE)
            if value is _NONE:
                return False
            made[name] = cast("JsonValue", value)
        return True

    def _names(self, schema: JsonObject) -> Iterator[str]:
        """Give names that further properties may have."""
        for pattern in _object(schema.get("patternProperties")):
            yield from islice(matching(pattern), _ENOUGH)
        rule = schema.get("propertyNames")
        for name in self._candidates(rule, _Place(name="name")) if rule else ():
            if isinstance(name, str) and fits(rule, name, self._root):
                yield name
        if schema.get("additionalProperties") is not False:
            yield from (f"property_{number}" for number in range(1, 1000))


_NONE = object()


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


def _kinds(schema: JsonObject) -> list[str]:
    """Return the types that a schema allows; null last."""
    match schema.get("type"):
        case str() as kind:
            return [kind]
        case list() as kinds:
            return sorted(map(str, kinds), key=lambda kind: kind == "null")
    for kind, keywords in _KEYWORDS_OF.items():
        if any(keyword in schema for keyword in keywords):
            return [kind, *(other for other in _TYPES if other != kind)]
    return ["string", "object", "array", "integer", "boolean", "null"]


def _bounds(schema: JsonObject) -> tuple[float, float]:
    """Return the least and the greatest number, as far as they are whole steps apart."""

    def number(name: str, default: float) -> float:
        value = schema.get(name)
        given = isinstance(value, int | float) and not isinstance(value, bool)
        return float(cast("float", value)) if given else default

    low, high = number("minimum", -math.inf), number("maximum", math.inf)
    above, below = number("exclusiveMinimum", -math.inf), number("exclusiveMaximum", math.inf)
    if schema.get("exclusiveMinimum") is True:
        above = low
    if schema.get("exclusiveMaximum") is True:
        below = high
    if schema.get("type") == "integer":
        low = math.ceil(low) if math.isfinite(low) else low
        high = math.floor(high) if math.isfinite(high) else high
        low = max(low, math.floor(above) + 1) if math.isfinite(above) else low
        high = min(high, math.ceil(below) - 1) if math.isfinite(below) else high
        return low, high
    span = min(high, below) - max(low, above)
    gap = span / 4 if math.isfinite(span) else 0.5
    return max(low, above + gap), min(high, below - gap)


def _tuple_of(schema: JsonObject) -> tuple[list[JsonValue], JsonValue]:
    """Return the schemas of the first items, and that of the others."""
    items = schema.get("items", True)
    if isinstance(first := schema.get("prefixItems"), list):
        return first, items
    if isinstance(items, list):  # until draft 2019
        return items, schema.get("additionalItems", True)
    return [], items


def _additional(schema: JsonObject, name: str) -> JsonValue:
    """Return the schema of a property that is not listed."""
    for pattern, inner in _object(schema.get("patternProperties")).items():
        if re.search(pattern, name):
            return inner
    return schema.get("additionalProperties", True)


def _resolved(root: JsonValue, ref: str) -> JsonValue:
    """Return what a reference leads to; None where it leads nowhere."""
    if ref in ("#", ""):
        return root
    if not ref.startswith("#"):
        return None
    if not ref.startswith("#/"):
        return _anchored(root, ref[1:])
    found: JsonValue = root
    for step in ref[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        else:
            return None
    return found


def _anchored(schema: JsonValue, anchor: str) -> JsonValue:
    if isinstance(schema, Mapping):
        if anchor in (schema.get("$anchor"), schema.get("$dynamicAnchor")):
            return schema
        values: Sequence[JsonValue] = list(schema.values())
    else:
        values = schema if isinstance(schema, list) else []
    return next((found for one in values if (found := _anchored(one, anchor)) is not None), None)


def _merged(one: JsonValue, other: JsonValue) -> JsonValue:
    """Return a schema that only fits what fits both."""
    if one is False or other is False:
        return False
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return other if isinstance(other, Mapping) else one
    merged = dict(one)
    for key, value in other.items():
        if key not in merged or merged[key] == value:
            merged[key] = value
        else:
            merged[key] = _both(key, merged, value)
    return merged


_HIGHER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LOWER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def _both(key: str, schema: dict[str, JsonValue], value: JsonValue) -> JsonValue:
    """Return a keyword that two schemas have."""
    mine = schema[key]
    if key in _HIGHER:
        return max(cast("float", mine), cast("float", value))
    if key in _LOWER:
        return min(cast("float", mine), cast("float", value))
    match key:
        case "properties" | "patternProperties" | "$defs" | "definitions":
            found = dict(_object(mine))
            for name, inner in _object(value).items():
                found[name] = _merged(found[name], inner) if name in found else inner
            return found
        case "required" | "allOf":
            both = [*cast("list[JsonValue]", mine), *cast("list[JsonValue]", value)]
            return [one for at, one in enumerate(both) if one not in both[:at]]
        case "enum":
            theirs = cast("list[JsonValue]", value)
            return [choice for choice in cast("list[JsonValue]", mine) if choice in theirs]
        case "type":
            return _shared_types(mine, value)
        case "items" | "additionalProperties" | "contains":
            return _merged(mine, value)
        case "anyOf" | "oneOf" | "not" | "if":
            rest = cast("list[JsonValue]", schema.get("allOf") or [])
            schema["allOf"] = [*rest, {key: value}]
            return mine
        case _:
            return value


def _shared_types(one: JsonValue, other: JsonValue) -> JsonValue:
    ours = one if isinstance(one, list) else [one]
    theirs = other if isinstance(other, list) else [other]
    shared = [kind for kind in ours if kind in theirs]
    if not shared and {"number", "integer"} <= {*map(str, ours), *map(str, theirs)}:
        return "integer"
    return shared
