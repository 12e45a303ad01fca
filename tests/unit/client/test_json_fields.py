"""JSON from elsewhere: what counts as a field of a type, and how a wrong one is named."""

from __future__ import annotations

from typing import Any

import pytest

from dripline.json_fields import BadField, json_field, load_object, typed

WORDS: dict[type, tuple[str, Any]] = {
    str: ("a string", "x"),
    bool: ("true or false", True),
    int: ("a whole number", 7),
    float: ("a number", 1.5),
    list: ("a list", [1]),
    dict: ("an object", {"a": 1}),
}


@pytest.mark.parametrize("wanted", WORDS)
@pytest.mark.parametrize("given", WORDS)
def test_each_type_is_itself_alone(wanted: type, given: type) -> None:
    """`true` is no number; a whole number is a number too."""
    word, _ = WORDS[wanted]
    is_word, value = WORDS[given]
    if given is wanted or (given, wanted) == (int, float):
        assert json_field({"a": value}, "a", wanted) == value
        assert json_field({"a": value}, "a", wanted, None) == value
    else:
        for default in ((), (None,)):
            with pytest.raises(BadField) as caught:
                json_field({"a": value}, "a", wanted, *default, where="in.0")
            assert str(caught.value) == f"in.0.a: should be {word}, is {is_word}"
    assert typed(value, wanted) == (value if given is wanted else None)


def test_what_is_absent_and_what_is_null() -> None:
    """Both give the default where there is one."""
    for record in ({}, {"a": None}):
        assert json_field(record, "a", str, "x") == "x"
    with pytest.raises(BadField, match=r"^a: is missing; it should be a string$"):
        json_field({}, "a", str)
    with pytest.raises(BadField, match=r"^a: should be a string, is null$"):
        json_field({"a": None}, "a", str)


@pytest.mark.parametrize(("text", "words"), [(b"{", "^not JSON: "), ("[1]", "^not a JSON object$")])
def test_a_text_that_is_no_object(text: str | bytes, words: str) -> None:
    """The whole text is named by no field."""
    with pytest.raises(BadField, match=words) as caught:
        load_object(text)
    assert caught.value.field == ""
    assert load_object('{"a": 1}') == {"a": 1}
