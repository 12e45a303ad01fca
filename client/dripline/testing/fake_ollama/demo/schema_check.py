"""Whether a value fits a JSON schema: as much of it as a made-up value has to be checked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import cast

from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue

_DEEPEST = 100


def fits(schema: JsonValue, value: JsonValue, root: JsonValue, depth: int = 0) -> bool:
    """Return whether a value fits a schema, whose references lead into `root`."""
    if not isinstance(schema, Mapping):
        return schema is not False
    if depth > _DEEPEST:
        return True
    ref = schema.get("$ref")
    if isinstance(ref, str) and not fits(_target(root, ref), value, root, depth + 1):
        return False
    if not _choice_fits(schema, value) or not _branches_fit(schema, value, root, depth):
        return False
    match value:
        case bool():
            return True
        case int() | float():
            return _number_fits(schema, value)
        case str():
            return _text_fits(schema, value)
        case list():
            return _array_fits(schema, value, root, depth)
        case Mapping():
            return _object_fits(schema, value, root, depth)
        case _:
            return True


def _target(root: JsonValue, ref: str) -> JsonValue:
    """Return what a reference leads to; what is not there fits everything."""
    target: JsonValue = root
    for step in ref.removeprefix("#").strip("/").split("/") if ref != "#" else ():
        key = step.replace("~1", "/").replace("~0", "~")
        target = target.get(key) if isinstance(target, Mapping) else None
    return {} if target is None else target


def _choice_fits(schema: JsonObject, value: JsonValue) -> bool:
    if "const" in schema and not _equal(schema["const"], value):
        return False
    choices = schema.get("enum")
    if isinstance(choices, list) and not any(_equal(choice, value) for choice in choices):
        return False
    return "type" not in schema or _is_of(schema["type"], value)


def _branches_fit(schema: JsonObject, value: JsonValue, root: JsonValue, depth: int) -> bool:
    def inner_fits(one: JsonValue) -> bool:
        return fits(one, value, root, depth + 1)

    def count(name: str) -> int:
        return sum(map(inner_fits, cast("list[JsonValue]", schema.get(name) or [])))

    if "not" in schema and inner_fits(schema["not"]):
        return False
    if "if" in schema and not inner_fits(
        schema.get("then" if inner_fits(schema["if"]) else "else", True)
    ):
        return False
    all_of = cast("list[JsonValue]", schema.get("allOf") or [])
    any_of, one_of = schema.get("anyOf"), schema.get("oneOf")
    return (
        count("allOf") == len(all_of)
        and (not any_of or count("anyOf") > 0)
        and (not one_of or count("oneOf") == 1)
    )


def _equal(one: JsonValue, other: JsonValue) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _is_of(kinds: JsonValue, value: JsonValue) -> bool:
    names = kinds if isinstance(kinds, list) else [kinds]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    found = {
        "object": isinstance(value, Mapping),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "null": value is None,
        "number": number,
        "integer": number and float(cast("float", value)).is_integer(),
    }
    return any(found.get(str(name), False) for name in names)


def _limit(schema: JsonObject, name: str, default: float) -> float:
    value = schema.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value


def _number_fits(schema: JsonObject, value: float) -> bool:
    low, high = _limit(schema, "minimum", -math.inf), _limit(schema, "maximum", math.inf)
    above = _limit(schema, "exclusiveMinimum", -math.inf)
    below = _limit(schema, "exclusiveMaximum", math.inf)
    if schema.get("exclusiveMinimum") is True:
        above = low
    if schema.get("exclusiveMaximum") is True:
        below = high
    step = _limit(schema, "multipleOf", 0)
    if step and abs(value / step - round(value / step)) > 1e-9:
        return False
    return low <= value <= high and above < value < below


def _text_fits(schema: JsonObject, value: str) -> bool:
    if not _limit(schema, "minLength", 0) <= len(value) <= _limit(schema, "maxLength", math.inf):
        return False
    pattern = schema.get("pattern")
    return not isinstance(pattern, str) or re.search(pattern, value) is not None


def _array_fits(schema: JsonObject, value: list[JsonValue], root: JsonValue, depth: int) -> bool:
    if not _limit(schema, "minItems", 0) <= len(value) <= _limit(schema, "maxItems", math.inf):
        return False
    if schema.get("uniqueItems") and any(one in value[:at] for at, one in enumerate(value)):
        return False
    items = schema.get("items", True)
    first = schema.get("prefixItems")
    if isinstance(items, list):
        first, items = items, schema.get("additionalItems", True)
    begins = first if isinstance(first, list) else []
    schemas = [*begins, *[items] * max(0, len(value) - len(begins))]
    if not all(fits(s, one, root, depth + 1) for s, one in zip(schemas, value, strict=False)):
        return False
    if "contains" not in schema:
        return True
    found = sum(fits(schema["contains"], one, root, depth + 1) for one in value)
    return _limit(schema, "minContains", 1) <= found <= _limit(schema, "maxContains", math.inf)


def _object_fits(schema: JsonObject, value: JsonObject, root: JsonValue, depth: int) -> bool:
    low, high = _limit(schema, "minProperties", 0), _limit(schema, "maxProperties", math.inf)
    if not low <= len(value) <= high:
        return False
    required = cast("list[str]", schema.get("required") or [])
    if any(name not in value for name in required):
        return False
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    patterns = schema.get("patternProperties")
    for name, inner in value.items():
        if "propertyNames" in schema and not fits(schema["propertyNames"], name, root, depth + 1):
            return False
        schemas = [known[name]] if name in known else []
        if isinstance(patterns, Mapping):
            schemas += [one for pattern, one in patterns.items() if re.search(pattern, name)]
        for one in schemas or [schema.get("additionalProperties", True)]:
            if not fits(one, inner, root, depth + 1):
                return False
    needs = schema.get("dependentRequired")
    for name, names in needs.items() if isinstance(needs, Mapping) else ():
        if name in value and any(one not in value for one in cast("list[str]", names)):
            return False
    return True
