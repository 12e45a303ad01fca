"""The body of a request, of what a caller hands over."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from dripline.errors import RequestError
from dripline.http.event_source import EventSource
from dripline.http.json_encoding import json_body


def nested_in_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["again"] = value
    return value


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "what is nested in itself, after a lone surrogate": (
        {"a": "\ud83d", "b": nested_in_itself()},
        r"^the body: cannot be JSON: it is nested too deep",
    ),
    "bytes, after a lone surrogate": (
        {"a": "\ud83d", "b": b"c"},
        r"^b: cannot be JSON: .*bytes",
    ),
    "a set": ({"options": {"stop": {"a"}}}, r"^options\.stop: cannot be JSON: .*set"),
    "a key that is no text": ({"options": {1: 2}}, r"^options: cannot be JSON: .*key"),
    "a number that is too large": ({"options": {"seed": 2**64}}, r"^options\.seed: .*64"),
    "a mapping of another kind": ({"a": MappingProxyType({"b": b"c"})}, r"^a\.b: .*bytes"),
    "a name that is no text": ({1: 2}, r"^the body: "),  # type: ignore[dict-item]
    "what is nested in itself": (
        {"a": nested_in_itself()},
        r"^a(\.again){7}: cannot be JSON: .*[Rr]ecursion",
    ),
}


@pytest.mark.parametrize(("fields", "said"), WRONG.values(), ids=WRONG)
def test_what_is_no_json_is_named(fields: dict[str, Any], said: str) -> None:
    """Where it is, and what it is."""
    with pytest.raises(RequestError, match=said):
        json_body(fields)


def test_a_lone_surrogate_is_a_replacement_character() -> None:
    """In a name too; two halves that belong together are one character."""
    body = {"messages": [MappingProxyType({"content": "a\udcff"}), ("\ud83d\ude00\ude00",)]}
    assert json_body({**body, "\ud83d": 1}) == (
        '{"messages":[{"content":"a\ufffd"},["\U0001f600\ufffd"]],"\ufffd":1}'.encode()
    )


def test_any_mapping_will_do() -> None:
    """Not dictionaries alone."""
    options = MappingProxyType({"seed": 1})
    assert json_body(MappingProxyType({"options": options})) == b'{"options":{"seed":1}}'


def test_an_event_source_names_it() -> None:
    """When it is made."""
    with pytest.raises(RequestError, match=r"^prompt: cannot be JSON"):
        EventSource("http://127.0.0.1/", body={"prompt": b"Hi"})
