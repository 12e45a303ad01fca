"""Parses the body of Ollama's answer to `/api/chat` into chunks. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from dripline.errors import ErrorCode
from dripline.json_text import MAX_VALUES, has_too_many_values, load_json
from dripline.ndjson import LineSplitter
from dripline.nesting import SAFE_LENGTH, too_deep
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama_refusals import error_line, stranger

Chunk = dict[str, Any] | str
"""A chunk as Ollama sends it; or only its text, if it is nothing but a piece of the answer."""

_NO_MESSAGE: dict[str, Any] = {}
# Ollama ends an answer, without an error and without `done`, after 31 tokens that differ only in
# blanks (its llm/server.go, `tokenRepeat > 30`). At the start of an answer 30 may be enough.
REPEATS = 30
# How many levels of JSON surround a tool call's arguments when a client sends them back.
LEVELS_AROUND = 16

# A read with more bytes probably holds more than one line.
_SHORT = 1024

# The inside of a JSON string, without escapes and with them.
_PLAIN = r'[^"\\\x00-\x1f]*+'
_STRING = rf"{_PLAIN}(?:\\.{_PLAIN})*+"
# Ollama's line for a token of plain text, which nearly all lines are.
_TEXT_LINE = (
    rf'\{{"model":"{_PLAIN}","created_at":"{_PLAIN}",'
    rf'"message":\{{"role":"assistant","content":"({_STRING})"\}},"done":false\}}\n'
)
_split_at_texts = re.compile(_TEXT_LINE).split
_match_text = re.compile(_TEXT_LINE.encode()).fullmatch
_BACKSLASH = 0x5C


class ChunkReader:
    """Parses a body's bytes into chunks.

    Args:
        max_line: The longest line accepted, in bytes.
        deliver_now: Called with the chunks of each read except the last; returns whether it
            delivered them.
        deliver_text_now: Called instead if a read brings exactly one piece of text: with the inside
            of its JSON string, as `orjson` writes it. If it returns False, `deliver_now` is called.

    Attributes:
        chunks: The undelivered chunks of the last read.
        done: Whether these are the last chunks of the answer.
        failure: The error that followed these chunks.
    """

    __slots__ = (
        "_deliver_chunks",
        "_deliver_text",
        "_last",
        "_repeats",
        "_short",
        "_splitter",
        "chunks",
        "done",
        "failure",
    )

    def __init__(
        self,
        max_line: int,
        deliver_now: Callable[[list[Chunk]], bool],
        deliver_text_now: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.chunks: list[Chunk] = []
        self.done = False
        self.failure: UpstreamError | None = None
        self._short = min(_SHORT, max_line)
        self._splitter = LineSplitter(max_line)
        self._deliver_chunks = deliver_now
        self._deliver_text = deliver_text_now
        # The last text without the blanks around it, and how many texts in a row equal it.
        self._last = b""
        self._repeats = 0

    def deliver_now(self, data: bytes) -> bool:
        """Parse and deliver the data; return False if the waiting task has to process `chunks`."""
        # The fast path: one token alone, which is the usual case. Its bytes are passed on without
        # building a dictionary, an event and new JSON.
        if len(data) <= self._short and not self._splitter.pending and (found := _match_text(data)):
            text = found[1]
            if data.isascii() and _BACKSLASH not in text:
                said = text.strip()
            else:
                text, said = _rewritten(data, text)
            if text and self._deliver_text(text):
                self._repeats = self._repeats + 1 if said == self._last else 1
                self._last = said
                return True
        self._read(self._splitter.feed(data))
        if self._splitter.too_long and not (self.done or self.failure):
            message = f"From Ollama: a line is longer than {self._splitter.max_line:,} bytes."
            self.failure = UpstreamError(ErrorCode.UPSTREAM_LINE_TOO_LONG, message)
        if self.done or self.failure:
            return False
        return not self.chunks or self._deliver_chunks(self.chunks)

    def end(self) -> None:
        """Process the end of the body: parse a last line without LF; set `failure` if needed."""
        self.chunks = []
        rest = self._splitter.take_rest()
        # Half a line of JSON only shows that the answer broke off. Anything else is not Ollama's,
        # and parsing it gives the better message.
        if rest.strip() and (not rest.lstrip().startswith(b"{") or _is_whole(rest)):
            self._read([rest])
        if not (self.done or self.failure):
            self.failure = self._early_end()

    def _early_end(self) -> UpstreamError:
        if self._repeats >= REPEATS:
            return UpstreamError(
                ErrorCode.MODEL_REPEATS,
                "The model repeated itself, so Ollama ended its answer. Asking again will end the"
                " same way. Raise the options temperature or repeat_penalty, or, with `format`, ask"
                " for a looser one and describe it in the prompt too.",
            )
        return UpstreamError(
            ErrorCode.UPSTREAM_TRUNCATED,
            "Ollama's answer stopped before its end. Its log says more. Try again.",
        )

    def _count_repeats(self, chunks: Sequence[Chunk]) -> None:
        """Count how many texts at the end are equal."""
        last, run = _said(chunks[-1]), 0
        for chunk in reversed(chunks):
            if _said(chunk) != last:
                break
            run += 1
        whole = run == len(chunks) and last == self._last
        self._repeats = self._repeats + run if whole else run
        self._last = last

    def _read(self, lines: Sequence[bytes]) -> None:
        """Parse lines up to the one that says `done`, or up to the first failure."""
        texts = _texts(lines)
        if texts is not None:
            self.chunks = texts
        else:
            self._read_any(lines)
        if self.chunks:
            self._count_repeats(self.chunks)

    def _read_any(self, lines: Sequence[bytes]) -> None:
        self.chunks = []
        for line in lines:
            chunk = _parse(line)
            if isinstance(chunk, UpstreamError):
                self.failure = chunk
                return
            self.chunks.append(chunk)
            if chunk.get("done"):
                self.done = True
                return


def _is_whole(line: bytes) -> bool:
    """Whether a line without LF is complete."""
    try:
        load_json(line)
    except ValueError:
        return False
    return True


def _text_of(chunk: Chunk) -> str:
    """Return the text of a chunk; if Ollama held that back, the text of its tokens."""
    if isinstance(chunk, str):
        return chunk
    message = chunk.get("message", _NO_MESSAGE)
    if text := message.get("content") or message.get("thinking"):
        return str(text)
    tokens = chunk.get("logprobs")
    if type(tokens) is not list:
        return ""
    return "".join(str(one.get("token", "")) for one in tokens if type(one) is dict)


def _said(chunk: Chunk) -> bytes:
    """Return a chunk's text for comparison: as UTF-8, without blanks around it."""
    return _text_of(chunk).strip().encode("utf-8", "replace")


def _rewritten(data: bytes, inside: bytes) -> tuple[bytes, bytes]:
    """Return the inside of a line's JSON string as `orjson` writes it, and its text to compare.

    Returns two empty strings if the line is not UTF-8 or contains an invalid escape.
    """
    try:
        str(data, "utf-8")
        text: str = orjson.loads(b'"%b"' % inside)
    except ValueError:
        return b"", b""
    return orjson.dumps(text)[1:-1], text.strip().encode()


def _texts(lines: Sequence[bytes]) -> list[Chunk] | None:
    """Return the lines' chunks if all are plain text tokens; otherwise None.

    One regular expression for all lines takes half the time of parsing each into a dictionary.
    """
    try:
        # If every line matches, nothing is left between the matches.
        parts = _split_at_texts(str(b"\n".join((*lines, b"")), "utf-8"))
        if any(parts[::2]):
            return None
        return [_text(inside) if "\\" in inside else inside for inside in parts[1::2]]
    except ValueError:
        return None


def _text(inside: str) -> str:
    """Decode a JSON string, given its inside."""
    return str(orjson.loads(f'"{inside}"'))


def _parse(line: bytes) -> dict[str, Any] | UpstreamError:
    if has_too_many_values(line):
        return UpstreamError(
            ErrorCode.UPSTREAM_LINE_TOO_LONG,
            f"From Ollama: a line has more than {MAX_VALUES:,} values (commas and brackets are"
            " counted).",
        )
    try:
        chunk = load_json(line)
    except ValueError:
        told = stranger(line)
        return _garbage(f"a line that is not JSON{f' but {told}' if told else ''}")
    if type(chunk) is not dict or type(chunk.get("message", _NO_MESSAGE)) is not dict:
        return _garbage("a line that is no chat chunk")
    if len(line) > SAFE_LENGTH and too_deep(line, chunk, LEVELS_AROUND):
        return _garbage("a line that is nested too deep")
    if "error" in chunk:
        return error_line(chunk)
    return chunk


def _garbage(what: str) -> UpstreamError:
    return UpstreamError(
        ErrorCode.UPSTREAM_GARBAGE, f"Ollama sent {what}. Is it Ollama that answers there?"
    )
