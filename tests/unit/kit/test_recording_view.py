"""A recording's units: blocks, lines or pieces, each with its time and where reads ended."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dripline import EventDecoder
from dripline.recordings.recording import ExchangeEnding, Recording
from dripline.recordings.splits import seeded
from dripline.recordings.view import figures, report, units
from tests.support.recorded import recorded
from tests.support.recordings import exchange_of, recordings

RECORDED = recorded("chat") | recorded("sse") | recorded("ollama")


@pytest.mark.parametrize("name", RECORDED)
@settings(deadline=None)
@given(seed=st.integers(0, 2**16))
def test_units_are_the_stream(name: str, seed: int) -> None:
    """Joined they are the body; their reads are where pieces end, their events the decoder's."""
    recording = RECORDED[name].split(seeded(seed))
    found = units(recording.exchange)
    assert b"".join(unit.raw for unit in found) == recording.body
    offset, ends = 0, []
    for unit in found:
        ends += [offset + read for read in unit.reads]
        offset += len(unit.raw)
    assert ends == [sum(map(len, recording.chunks[: n + 1])) for n in range(len(recording.chunks))]
    if not name.startswith("ollama"):
        events = EventDecoder().feed(recording.body)
        assert [unit.event for unit in found if unit.event] == events


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_block_is_one_unit(line_end: str) -> None:
    """With all its lines, whatever ends them."""
    block = f"id: 1{line_end}event: x{line_end}data: a{line_end}{line_end}".encode()
    assert [unit.raw for unit in units(exchange_of([block * 2]))] == [block, block]


def test_tokens_of_several_vendors() -> None:
    """Text, thinking and tool calls, of dripline, Ollama, OpenAI and Anthropic."""
    said = {name: figures(recording.exchange).text for name, recording in RECORDED.items()}
    assert said["chat-plain"] == said["ollama-plain"] == "The sky is blue."
    assert said["chat-scripts"] == said["ollama-scripts"]
    assert said["chat-thinking"] == said["ollama-thinking"] == "Hmm.The sky is blue."
    assert (said["chat-tools"], said["ollama-tools"]) == ("get_weather", "tool call")
    assert said["sse-openai"] == said["sse-anthropic"] == "Grüezi"


@settings(deadline=None)
@given(recordings())
def test_any_recording_can_be_shown(recording: Recording) -> None:
    """Also one of bytes that are no stream; nothing in a file reaches the terminal as control."""
    text = report(recording.exchange, recording)
    assert all(line.isprintable() for line in text.split("\n"))
    assert str(recording.ending) in text


def test_times_and_gaps() -> None:
    """A unit comes when its last byte came; rates are from the first token to the last."""
    line = b'{"message":{"content":"a"}}\n'
    exchange = exchange_of(
        [line[:5], line[5:] + line, line],
        content_type="application/x-ndjson",
        ending=ExchangeEnding.CUT,
    )
    assert [unit.at for unit in units(exchange)] == [2.0, 2.0, 3.0]
    counted = figures(exchange)
    assert (counted.first_token, counted.tokens, counted.tokens_per_second) == (2.0, 3, 2.0)
    assert (counted.pieces, counted.cut_units, counted.cut_characters) == (3, 1, 0)
    assert (counted.longest_gap, counted.duration) == (1.0, 4.0)
