"""A JSON object that was cut at any byte is completed to one that has the error in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline_server.dialects.half_json import complete

ERROR = {"error": "it broke"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, min_size=1, max_size=4)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]), st.data())
def test_an_object_cut_at_any_byte(
    value: dict[str, Any], ascii_only: bool, indent: int | None, data: st.DataObject
) -> None:
    """What has come stays as it is, and the whole is valid JSON and valid UTF-8."""
    whole = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    encoded = whole.encode("utf-8", "replace")
    half = encoded[: data.draw(st.integers(1, len(encoded) - 1))]
    completion = complete(half, ERROR)
    assert completion is not None
    completed = json.loads((half + completion).decode())
    assert completed["error"] == "it broke"


def test_a_line_of_ollamas_at_every_byte() -> None:
    """Escapes, surrogate pairs, characters of several bytes, numbers and literals."""
    line = (
        '{"model":"m","message":{"role":"assistant","content":"Gr\u00fc\u00dfe \\ud83d\\ude00'
        ' \U0001f600 \\\\ \\" \u0800\ud7ff","tool_calls":[{"function":{"arguments":{"a":[1,-2.5e-7,'
        'true,false,null,{}]}}}]},"done":false}'
    ).encode()
    for at in range(1, len(line)):
        completion = complete(line[:at], ERROR)
        assert completion is not None, line[:at]
        assert json.loads((line[:at] + completion).decode())["error"] == "it broke"


@pytest.mark.parametrize(
    "half",
    [
        *(b"", b"  ", b"[1", b'"text', b"12", b"<html", b'{"a":1}', b'{"a":1} {', b'{"a":tru}'),
        *(b"{]", b'{"a" "b', b'{"a":"\\x', b'{"a":\xff', b'{"a":' + b"[" * 10_000, b'{"a":12x'),
    ],
)
def test_what_is_no_half_of_an_object(half: bytes) -> None:
    """Nothing can complete it."""
    assert complete(half, ERROR) is None
