"""The dialects: any run becomes frames that the protocols allow, and resumes at any frame."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import orjson
import pytest
from ag_ui.core import PROTOCOL_VERSION as PACKAGE_VERSION
from ag_ui.core import BaseEvent, Event
from ag_ui_validate import create_validator
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dripline import EventDecoder, ServerSentEvent
from dripline.events import (
    AddButton,
    ChangeTheme,
    End,
    Error,
    Start,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
    to_json,
)
from dripline.events import Event as ChatEvent
from dripline_server.dialects import Dialect, Position
from dripline_server.dialects.agui import PROTOCOL_VERSION, AguiRun, AguiTranslator
from dripline_server.dialects.native import NativeDialect
from dripline_server.dialects.translated import TranslatedDialect
from dripline_server.dialects.ui_message import UiMessageTranslator
from dripline_server.run_log import Batch

AGUI = AguiRun("thread", "run", "1.0", frozenset({"change_theme"}))
DIALECTS: dict[str, Callable[[Position], Dialect]] = {
    "native": lambda after: NativeDialect(after.seq),
    "agui": lambda after: TranslatedDialect(AguiTranslator(AGUI, "id"), after),
    "ui-message": lambda after: TranslatedDialect(UiMessageTranslator("message", "id"), after),
}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
CONTROLS: st.SearchStrategy[ChatEvent] = st.sampled_from(
    [ChangeTheme("#FF0000"), AddButton("Help", "What can you do?")]
)
PIECES: st.SearchStrategy[ChatEvent] = st.one_of(
    st.builds(TextMessage, TEXTS),
    st.builds(Thinking, TEXTS),
    st.just(Status("loading", "m")),
    CONTROLS,
)
END_USAGE = Usage(3, 4, 0.5, 0.1, 0.9)


@st.composite
def runs(draw: st.DrawFn) -> list[ChatEvent]:
    """The events of any run: tools are the server's, with a result, or the client's, without."""
    events: list[ChatEvent] = draw(st.lists(CONTROLS, max_size=2))
    events.append(Start("ollama", "id", "m"))
    for number in range(draw(st.integers(0, 5))):
        events += draw(st.lists(PIECES, max_size=4))
        if draw(st.booleans()):
            events.append(ToolCall(f"call-{number}", "f", {"a": draw(TEXTS)}))
            if draw(st.booleans()):
                failed = draw(st.booleans())
                events.append(ToolResult(f"call-{number}", "f", draw(TEXTS), failed))
    match draw(st.sampled_from(["completed", "cancelled", "failed"])):
        case "completed":
            events.append(End("completed", draw(st.sampled_from(["stop", "length"])), END_USAGE))
        case "cancelled":
            events.append(End("cancelled"))
        case _:
            events += [Error("upstream_cut", "Ollama closed the connection.", True), End("failed")]
    return events


def frames(dialect: Dialect, events: list[ChatEvent], sizes: list[int]) -> bytes:
    """What a reader gets if the events come in batches of these sizes, and the rest at once."""
    payloads = [to_json(event) for event in events]
    starts = itertools.accumulate(sizes, initial=dialect.read_after)
    ends = [*itertools.accumulate(sizes, initial=dialect.read_after)][1:]
    cuts = zip(starts, [*ends, len(payloads)], strict=False)
    return b"".join(dialect.frames(Batch(a + 1, payloads[a:b])) for a, b in cuts if payloads[a:b])


def decoded(data: bytes) -> list[ServerSentEvent]:
    return [*EventDecoder().feed(data)]


@given(runs(), st.lists(st.integers(1, 4)))
@pytest.mark.parametrize("name", DIALECTS)
def test_resumed_at_any_frame(name: str, events: list[ChatEvent], sizes: list[int]) -> None:
    """What comes after any frame's id is what came after that frame, to the byte."""
    whole = frames(DIALECTS[name](Position(0)), events, [])
    assert frames(DIALECTS[name](Position(0)), events, sizes) == whole
    every = re.findall(rb".*?\n\n", whole, re.DOTALL)
    assert b"".join(every) == whole
    seen = 0
    for frame, message in zip(every, decoded(whole), strict=True):
        seen += len(frame)
        after = Position.parse(message.id)
        assert after
        assert frames(DIALECTS[name](after), events, sizes) == whole[seen:]


@given(runs())
@pytest.mark.parametrize("name", DIALECTS)
def test_the_last_frame_of_an_event_has_its_number(name: str, events: list[ChatEvent]) -> None:
    """So that "all of it has been seen" is a whole number in every dialect."""
    ids = [message.id for message in decoded(frames(DIALECTS[name](Position(0)), events, []))]
    assert len(set(ids)) == len(ids)
    assert ids[-1] == str(len(events))


EVENT: TypeAdapter[BaseEvent] = TypeAdapter(Event)


@given(runs(), st.sampled_from(["1.0", ""]))
def test_agui_is_what_the_protocol_allows(events: list[ChatEvent], version: str) -> None:
    """Every event is one of AG-UI's, nothing is unknown to it, and its order is right."""
    run = AguiRun("thread", "run", version, frozenset({"change_theme"}))
    dialect = TranslatedDialect(AguiTranslator(run, "id"), Position(0))
    said = [orjson.loads(m.data) for m in decoded(frames(dialect, events, []))]
    for one in said:
        event = EVENT.validate_python(one)
        assert event.model_dump(by_alias=True, mode="json") == one
        parts = [event, getattr(event, "outcome", None), *(getattr(event, "usage", None) or ())]
        assert not any(part.model_extra for part in parts if part)
    assert said[0]["type"] == "RUN_STARTED"
    assert [one["type"] for one in said].count("RUN_STARTED") == 1
    assert said[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")
    validator = create_validator()
    for one in said:
        validator.feed(one)
    validator.finalize()
    found = [d for d in validator.report().diagnostics if d.severity != "info"]
    # It warns of empty pieces of text; the protocol allows them.
    assert {d.rule for d in found} <= {"AGUI105"}
    assert open_after(said[:-1]) == set()


def open_after(events: list[dict[str, str]]) -> set[tuple[str, str]]:
    """What was opened and not closed; nothing may be closed that is not open."""
    opened: set[tuple[str, str]] = set()
    for event in events:
        kind, _, verb = event["type"].rpartition("_")
        name = event.get("messageId") or event.get("toolCallId") or event.get("stepName", "")
        if verb in ("START", "STARTED") and kind != "RUN":
            assert (kind, name) not in opened
            opened.add((kind, name))
        elif verb in ("END", "FINISHED"):
            opened.remove((kind, name))
    return opened


def test_the_version_is_the_package_s() -> None:
    """What is written is what the installed models describe."""
    assert PROTOCOL_VERSION == PACKAGE_VERSION


@pytest.mark.parametrize(
    ("version", "last"),
    [
        ("1.0", {"type": "RUN_FINISHED", "outcome": {"type": "cancelled"}}),
        ("", {"type": "RUN_ERROR", "code": "cancelled"}),
    ],
)
def test_cancelled_is_never_taken_for_success(version: str, last: dict[str, object]) -> None:
    """Clients before 1.0 take an unknown outcome for success, so they get an error."""
    dialect = TranslatedDialect(AguiTranslator(AguiRun("t", "r", version), "id"), Position(0))
    said = decoded(frames(dialect, [Start("ollama", "id", "m"), End("cancelled")], []))
    assert last.items() <= orjson.loads(said[-1].data).items()


@pytest.mark.parametrize("text", ["", "x", "1.", ".1", "1.0", "-1", "1.1.1", "1" * 20, "١", " 1"])
def test_what_is_no_position(text: str) -> None:
    """Anything but a number, or two with a dot."""
    assert Position.parse(text) is None


@pytest.mark.parametrize("text", ["0", "12", "12.3"])
def test_positions(text: str) -> None:
    """They are what they were."""
    assert str(Position.parse(text)) == text
