"""JSON from elsewhere: lone surrogates, and too many values."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dripline.json_text import MAX_MENDED, MAX_VALUES, has_too_many_values, load_json

PARTS = st.sampled_from(["\ud83d", "\ude00", "\\", "u", "d83d", '"', "\n", "é", "\u0085"])


@given(st.lists(PARTS).map("".join))
@example("\ud83d\ud83d\ude00")
@example("\\ud83d")
def test_a_lone_surrogate_is_a_replacement_character(text: str) -> None:
    """Whatever stands around it; pairs and what only looks like an escape stay."""
    meant = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert load_json(json.dumps(text).encode()) == meant
    assert load_json(json.dumps({text: [text]}).encode()) == {meant: [meant]}


def test_one_in_bytes() -> None:
    """Some encoders write it to UTF-8."""
    assert load_json(b'"cut \xed\xa0\xbd."') == "cut \ufffd."


@pytest.mark.parametrize(
    "text",
    [b"", b"{", rb'"\ud83d', rb'"\u00"', b'"\xff"', b"NaN", rb'"\ud8', rb"\ud83d"],
)
def test_what_is_no_json_is_none(text: bytes) -> None:
    """Nothing else is mended."""
    with pytest.raises(orjson.JSONDecodeError):
        load_json(text)


def test_there_are_bounds() -> None:
    """Beyond them nobody waits for the reading."""
    with pytest.raises(orjson.JSONDecodeError):
        load_json(b'"%b"' % (rb"\ud83d" * (MAX_MENDED + 1)))
    assert has_too_many_values(b"[%b]" % (b"{}," * MAX_VALUES))
    assert not has_too_many_values(b'"%b"' % (b"a" * 10 * MAX_VALUES))
