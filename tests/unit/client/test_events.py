"""Events and their JSON form."""

from __future__ import annotations

import json
import tracemalloc
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dripline import (
    AddButton,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    Custom,
    End,
    Error,
    Event,
    MalformedEvent,
    RemoveButton,
    Start,
    State,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    UndoChange,
    Usage,
)
from dripline.events import TextSize, Undone, from_json, to_json

TEXT = st.text()
COUNT = st.none() | st.integers(0, 2**53)
SECONDS = st.none() | st.floats(0, 1e9, allow_nan=False)
JSON_OBJECTS = st.dictionaries(
    TEXT, TEXT | st.integers(-(2**53), 2**53) | st.booleans() | st.none()
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(ChangeTheme, TEXT),
    st.builds(AddButton, TEXT, TEXT),
    st.builds(ChangeAccent, TEXT),
    st.builds(ChangeTextSize, st.sampled_from(get_args(TextSize))),
    st.builds(RemoveButton, TEXT),
    st.builds(UndoChange, st.sampled_from(get_args(Undone))),
    st.builds(Start, TEXT, TEXT, TEXT),
    st.builds(Status, TEXT, TEXT),
    st.builds(Thinking, TEXT),
    st.builds(TextMessage, TEXT, st.none() | st.lists(JSON_OBJECTS)),
    st.builds(ToolCall, TEXT, TEXT, JSON_OBJECTS),
    st.builds(ToolResult, TEXT, TEXT, TEXT, st.booleans()),
    st.builds(State, JSON_OBJECTS | TEXT | st.none()),
    st.builds(Custom, TEXT, JSON_OBJECTS | TEXT | st.none()),
    st.builds(Error, TEXT, TEXT, st.booleans()),
    st.builds(
        End,
        st.sampled_from(["completed", "cancelled", "failed"]),
        TEXT,
        st.builds(Usage, COUNT, COUNT, SECONDS, SECONDS, SECONDS),
    ),
)


@given(EVENTS)
def test_every_event_survives_its_json_form(event: Event) -> None:
    """Writing and reading gives the same event, on one line."""
    payload = to_json(event)
    assert from_json(payload) == event
    assert b"\n" not in payload
    assert b"\r" not in payload


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (
            ChangeTheme("#90EE90"),
            {"type": "ui_control", "data": {"action": "change_theme", "color": "#90EE90"}},
        ),
        (
            AddButton("Joke", "Tell me a joke"),
            {
                "type": "ui_control",
                "data": {"action": "add_button", "label": "Joke", "message": "Tell me a joke"},
            },
        ),
        (TextMessage("Done"), {"type": "text_message", "data": {"content": "Done"}}),
        (
            Error("model_not_found", "No.", False),
            {
                "type": "error",
                "data": {"code": "model_not_found", "message": "No.", "retryable": False},
            },
        ),
    ],
)
def test_the_json_form_is_the_documented_one(event: Event, expected: object) -> None:
    """The wire form is what the README says."""
    assert json.loads(to_json(event)) == expected


@pytest.mark.parametrize(
    "payload",
    [
        '{"type": "tomorrow", "data": {"x": 1}}',
        '{"type": "ui_control", "data": {"action": "play_music"}}',
    ],
)
def test_what_a_newer_server_may_send_is_ignored(payload: str) -> None:
    """An unknown type or action is no event and no error."""
    assert from_json(payload) is None


def test_unknown_and_missing_fields_are_no_fault() -> None:
    """Servers can grow, and the seed's bare events are taken."""
    assert from_json('{"type": "start"}') == Start("", "", "")
    assert from_json('{"type": "text_message", "data": {"content": "a", "new": 1}}') == TextMessage(
        "a"
    )
    end = '{"type": "end", "data": {"status": "completed", "usage": {"total_time": 2}}}'
    assert from_json(end) == End("completed", "", Usage(total_time=2))


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ("", "data"),
        ("[DONE]", "data"),
        ("[1]", "data"),
        ('"text"', "data"),
        ("{}", "type"),
        ('{"type": 1}', "type"),
        ('{"type": "text_message"}', "content"),
        ('{"type": "text_message", "data": []}', "data"),
        ('{"type": "text_message", "data": {"content": null}}', "content"),
        ('{"type": "text_message", "data": {"content": "a", "logprobs": 1}}', "logprobs"),
        ('{"type": "tool_call", "data": {"id": "1", "name": "f", "arguments": []}}', "arguments"),
        ('{"type": "error", "data": {"code": "x", "retryable": "yes"}}', "retryable"),
        ('{"type": "end", "data": {"status": "done"}}', "status"),
        ('{"type": "end", "data": {"status": "failed", "usage": {"total_time": "1"}}}', "usage"),
        (
            '{"type": "end", "data": {"status": "failed", "usage": {"prompt_tokens": 1.5}}}',
            "usage.prompt_tokens",
        ),
        ('{"type": "ui_control", "data": {"action": "change_theme"}}', "color"),
    ],
)
def test_a_malformed_event_names_its_field(payload: str, field: str) -> None:
    """A wrong field raises, and the error says which."""
    with pytest.raises(MalformedEvent, match=f"^malformed event: {field}") as caught:
        from_json(payload)
    assert caught.value.field.startswith(field)


def test_what_could_not_be_written_again_is_malformed() -> None:
    """`from_json` takes no event that `to_json` cannot write, and all others."""

    def call(levels: int) -> str:
        arguments = '{"a":' * levels + "1" + "}" * levels
        return f'{{"type":"tool_call","data":{{"id":"1","name":"f","arguments":{arguments}}}}}'

    event = from_json(call(252))
    assert event
    assert to_json(event).decode() == call(252)
    with pytest.raises(MalformedEvent, match="data: nested too deep"):
        from_json(call(253))


def test_a_kept_event_takes_the_memory_of_its_bytes() -> None:
    """Logs keep millions of them; orjson's own bytes would take 4 KiB each."""
    tracemalloc.start()
    try:
        kept = [to_json(TextMessage("word")) for _ in range(1000)]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 200 * len(kept)


CONTENTS = TEXT | st.integers() | st.none() | st.lists(TEXT)
TEXTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["text_message", "text_message", "status", "new", 1]),
        "data": st.none()
        | TEXT
        | st.fixed_dictionaries(
            {"content": CONTENTS}, optional={"logprobs": CONTENTS, "phase": TEXT}
        ),
    }
)


def _says(record: dict[str, object]) -> Event | str | None:
    try:
        return from_json(json.dumps(record))
    except MalformedEvent as error:
        return str(error)


@given(TEXTS)
@example({"type": "text_message", "data": {"content": "a", "logprobs": [{}]}})
def test_usual_texts_are_read_as_all_others(record: dict[str, object]) -> None:
    """They have a quick way; one more field leads to the other."""
    assert _says(record) == _says({**record, "new": None})
