"""The quick way of lines that are text alone gives what the other way does, for any bytes."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline.errors import ErrorCode
from dripline.events import Event
from dripline.recordings.splits import seeded
from dripline_server.upstream import chat_chunks
from dripline_server.upstream.chat_chunks import ChunkReader
from tests.support.upstream_body import read_body

TEXTS = ["", "sky", " ", "\n", '"', "\\", "\x00", "\x85", "\u2028", "é", "😀", "\ud83d", "<b>"]


def line_of(text: str, *, ascii_alone: bool = True) -> bytes:
    """A piece of text as Ollama sends it."""
    chunk = {
        "model": "m",
        "created_at": "2026-08-04T10:00:00.1Z",
        "message": {"role": "assistant", "content": text},
        "done": False,
    }
    return json.dumps(chunk, separators=(",", ":"), ensure_ascii=ascii_alone).encode()


LINES = [
    *map(line_of, TEXTS),
    *(line_of(text, ascii_alone=False) for text in TEXTS if text != "\ud83d"),
    b'{"model":"m","created_at":"","message":{"role":"assistant","content":"","thinking":"hm"}}',
    b'{"model":"m","created_at":"","message":{"role":"user","content":"x"},"done":false}',
    b'{"error":"out of memory"}',
    b'{"message":{"content":"end"},"done":true,"done_reason":"stop"}',
    b"",
]
# What may break a line, or make another of it.
BYTES = [b'"', b"\\", b"\n", b"\x00", b"\xff", b"\xc3", b"{", b"}", b",", b"u"]

Faults = st.lists(st.tuples(st.integers(0), st.sampled_from(BYTES), st.booleans()), max_size=2)


def spoil(body: bytes, faults: list[tuple[int, bytes, bool]]) -> bytes:
    """Put a byte in, or in the place of another."""
    for place, byte, instead in faults:
        at = place % (len(body) + 1)
        body = body[:at] + byte + body[at + instead :]
    return body


def read(pieces: list[bytes]) -> tuple[list[Event], bool, str]:
    """Read a body: its events, whether it came to its end, and what it failed of."""
    events, _, reader = read_body(pieces, max_line=1000)
    return events, reader.done, str(reader.failure)


def assert_agree(pieces: list[bytes]) -> None:
    """Each line by itself, without the quick ways, says what all of them with those do."""
    body = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat_chunks, "_texts", lambda _: None)
        patch.setattr(chat_chunks, "_match_text", lambda _: None)
        expected = read([body])
    assert read([body]) == expected
    assert read(body.splitlines(keepends=True)) == expected
    assert read(pieces) == expected


@given(st.lists(st.sampled_from(LINES), max_size=6), Faults, st.integers(0, 2**32))
def test_any_lines(lines: list[bytes], faults: list[tuple[int, bytes, bool]], seed: int) -> None:
    """Whatever the lines are, and wherever the reads end."""
    body = spoil(b"".join(line + b"\n" for line in lines), faults)
    assert_agree(seeded(seed, largest=80)([body]))


@pytest.mark.parametrize("text", ["sky", '"'])
@pytest.mark.parametrize("byte", BYTES, ids=repr)
def test_a_byte_that_is_spoilt(text: str, byte: bytes) -> None:
    """At any place of a line between others."""
    line = line_of(text)
    for place, instead in product(range(len(line) + 1), (False, True)):
        assert_agree([LINES[0] + b"\n" + spoil(line, [(place, byte, instead)]) + b"\n" + LINES[0]])


def test_a_line_that_a_read_brings_whole_but_for_what_came_before() -> None:
    """A read that could be a line of its own is the rest of one where there is a start."""
    assert_agree([LINES[0] + b"\n{", LINES[1] + b"\n"])
    assert read([b"{", LINES[1] + b"\n"])[0] == []


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "\ud83d"])
def test_usual_lines_go_the_quick_way(text: str) -> None:
    """What is a piece of text alone becomes no dictionary."""
    line = line_of(text)
    reader = ChunkReader(1000, lambda _: False)
    reader.deliver_now(line + b"\n" + line + b"\n")
    assert reader.chunks == [text, text]
    reader.deliver_now(line + b"\n")
    assert reader.chunks == [text]


def test_a_lone_line_is_bounded_too() -> None:
    """The quick way takes no line that the other one refuses."""
    line = line_of("sky")
    at_the_limit, beyond = (ChunkReader(len(line) - short, lambda _: False) for short in (0, 1))
    at_the_limit.deliver_now(line + b"\n")
    assert (at_the_limit.chunks, at_the_limit.failure) == (["sky"], None)
    beyond.deliver_now(line + b"\n")
    assert beyond.chunks == []
    assert beyond.failure
    assert beyond.failure.code is ErrorCode.UPSTREAM_LINE_TOO_LONG
