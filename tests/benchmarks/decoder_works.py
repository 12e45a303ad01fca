"""The streams that decoders are given, each with what it says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tests.benchmarks.source import WORDS

KIB = 1024
Decoded = list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream in its chunks, and its events: type, data and last event ID of each."""

    chunks: Sequence[bytes]
    events: Decoded


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of stream.

    Attributes:
        size: How much of it is decoded: events, or what `unit` says.
        make: Makes a stream of a size.
        unit: What its speed is counted in.
        blank_line: What ends its events.
    """

    size: int
    make: Callable[[int], Stream]
    unit: str = "events"
    blank_line: bytes = b"\n\n"


def _token(nth: int, word: str = "") -> str:
    content = word or WORDS[nth % len(WORDS)]
    return json.dumps(
        {"type": "text_message", "data": {"content": content}},
        separators=(",", ":"),
        ensure_ascii=False,
    )


def _tokens(
    number: int,
    *,
    chunk_size: int = 0,
    word: str = "",
    head: str = "",
    type_: str = "message",
    line_end: str = "\n",
) -> Stream:
    """Return token events in chunks of a size; 0: each in one of its own."""
    frames, events = [], []
    for nth in range(number):
        data = _token(nth, word)
        text = f"{head.format(nth)}data: {data}\n\n".replace("\n", line_end)
        frames.append(text.encode())
        events.append((type_, data, str(nth) if head else ""))
    return Stream(_cut(b"".join(frames), chunk_size) if chunk_size else frames, events)


def _cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def _long_line(mebibytes_and_a_quarter: int) -> Stream:
    data = "x" * (mebibytes_and_a_quarter * KIB * KIB)
    return Stream(_cut(f"data: {data}\n\n".encode(), 16 * KIB), [("message", data, "")])


def _many_lines(lines: int) -> Stream:
    stream = b"data: x\n" * lines + b"\n"
    return Stream(_cut(stream, 16 * KIB), [("message", "\n".join("x" * lines), "")])


WORKS = {
    "small tokens, 64 KiB chunks": Work(200_000, partial(_tokens, chunk_size=64 * KIB)),
    "one event a chunk": Work(100_000, _tokens),
    "7-byte chunks": Work(20_000, partial(_tokens, chunk_size=7)),
    "id, event and data, 64 KiB chunks": Work(
        100_000,
        partial(_tokens, chunk_size=64 * KIB, head="id: {}\nevent: token\n", type_="token"),
    ),
    "id and data, one event a chunk": Work(100_000, partial(_tokens, head="id: {}\n")),
    "one line of 32 MiB, 16 KiB chunks": Work(32, _long_line, unit="MiB"),
    "one event of 200,000 lines": Work(200_000, _many_lines, unit="lines"),
    "one byte at a time": Work(4_000, partial(_tokens, chunk_size=1)),
    "CRLF, 64 KiB chunks": Work(
        100_000, partial(_tokens, chunk_size=64 * KIB, line_end="\r\n"), blank_line=b"\r\n\r\n"
    ),
    "non-ASCII, 1,460-byte chunks": Work(
        100_000, partial(_tokens, chunk_size=1460, word=" Größe 👋 你好")
    ),
}
