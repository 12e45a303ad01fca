"""Server-Sent Events as bytes: the decoder and the encoder. No I/O happens here.

`EventDecoder` follows the WHATWG HTML standard, sections 9.2.5 "Parsing an event stream" and 9.2.6
"Interpreting an event stream" (https://html.spec.whatwg.org/multipage/server-sent-events.html), on
bytes: CR and LF are never part of a longer UTF-8 character, so lines are cut first and decoded
whole, and a chunk that ends inside a character cannot hurt.

Two ways lead through the decoder. `_read_lines` is the standard's algorithm, line by line, for
every stream there is. `_read_usual` takes what nearly every stream is made of, several times
faster, and declines everything else. Which way was taken never shows; tests/conformance/ compares
both with a literal transcription of the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from dripline.errors import EventTooLarge

MAX_RETRY: Final = 2**53 - 1
"""The longest reconnection time, in milliseconds: the largest integer exact in JavaScript too."""

_Bytes = bytes | bytearray

_BOM = b"\xef\xbb\xbf"

# A longer unfinished line, in bytes, is not copied: of one of 32 MiB that is a third of the time.
_LONG = 64 * 1024

# A shorter chunk, in bytes, is likely to hold one event: how models send. Looking for many costs
# more than it saves.
_SHORT = 512

# Makes an event of a tuple in 150 ns. ServerSentEvent(...) takes 220, a slotted class 210, a frozen
# dataclass 600: more than all of the parsing.
_new = tuple.__new__


class ServerSentEvent(NamedTuple):
    """One event of a stream, as the standard's `MessageEvent` has it.

    Attributes:
        event: The event type; "message" where the stream names none.
        data: The data lines, joined by LF.
        id: The last event ID when the event was dispatched: its own, or else the last one before.
    """

    event: str = "message"
    data: str = ""
    id: str = ""


class EventDecoder:
    """Turns the bytes of one event stream into events, however the bytes are cut into chunks.

    Its time is linear in the bytes fed; `max_event_size` bounds the memory it holds. After a
    reconnection, make a new decoder and hand it the old one's `last_event_id`.

    Args:
        max_event_size: The limit in bytes for the data collected for one event (each data line's
            value and one LF) and the line being read, together.
        last_event_id: What events without an `id` of their own carry, until the stream sets one.
        on_comment: Called with the text of each comment line, such as a heartbeat, while `feed`
            reads it: before `feed` returns the events around it.

    Attributes:
        last_event_id: The last event ID string: what `Last-Event-ID` says on reconnection. It
            changes at the blank line that ends a block, also where the block has no data.
        retry: The reconnection time in milliseconds that the stream asked for last, or None. It
            changes at the end of its line. More than `MAX_RETRY` counts as `MAX_RETRY`.

    Raises:
        ValueError: `max_event_size` is less than 1.
    """

    __slots__ = (
        "_data",
        "_event",
        "_id",
        "_limit",
        "_line",
        "_on_comment",
        "_open",
        "_room",
        "_skip",
        "last_event_id",
        "retry",
    )

    def __init__(
        self,
        max_event_size: int = 16 * 1024 * 1024,
        *,
        last_event_id: str = "",
        on_comment: Callable[[str], object] | None = None,
    ) -> None:
        if max_event_size < 1:
            raise ValueError(f"max_event_size must be at least 1 byte, not {max_event_size}")
        self.last_event_id: str = last_event_id
        self.retry: int | None = None
        self._on_comment = on_comment
        self._limit = max_event_size
        self._room = max_event_size  # for the next line; negative once the limit was passed
        self._skip = _BOM  # what is dropped if a line begins so: one BOM, or the LF of a cut CRLF
        self._line = bytearray()  # the unfinished line
        self._open = False  # lines of an unfinished block have been read into these three:
        self._data = bytearray()
        self._event = ""
        self._id: str | None = None

    @property
    def pending(self) -> bool:
        """Whether something is half-received: a stream that ends here was cut.

        True inside a line; inside a block, from its first `data`, `event` or `id` line to its blank
        line; and after `EventTooLarge`. Comments, `retry` lines, unknown fields and refused ids
        wait for no blank line: once their line is complete, they leave nothing pending.
        """
        line = self._line
        bom_alone = line == _BOM == self._skip
        return (bool(line) and not bom_alone) or self._open or self._room < 0

    def feed(self, chunk: bytes | bytearray) -> Sequence[ServerSentEvent]:
        """Take the next bytes and return the events that they complete.

        An event is returned by the very call that brings the byte that completes its blank line.

        Args:
            chunk: The next bytes of the stream, any number of them.

        Raises:
            EventTooLarge: `max_event_size` was passed. Events completed before that are not lost:
                a call that has some returns them, and the next call raises. From then on every call
                raises, and `pending` stays True.
        """
        line = self._line
        try:
            # Whether there is no LF and no CR. Of a byte alone that is told in half of the time.
            if (len(chunk) == 1 and chunk > b"\r") or (10 not in chunk and 13 not in chunk):
                line += chunk
                if len(line) > self._room and self._unfinished() > self._room:
                    raise self._too_large()
                return ()  # A list would be 8 % of one byte's cost.
        except TypeError:
            raise TypeError(f"feed() takes bytes, not {type(chunk).__name__}") from None
        if line or self._skip or 13 in chunk:
            chunk = self._prepared(chunk)
        events: list[ServerSentEvent] = []
        if self._open and len(chunk) >= _SHORT:
            chunk = self._finish_block(chunk, events)
        if not self._open and len(chunk) <= self._room and self._read_usual(chunk, events):
            return events
        try:
            self._read_lines(chunk, events)
        except EventTooLarge:
            if not events:
                raise
        return events

    def _unfinished(self) -> int:
        """Return the length of the unfinished line, without what may be the stream's BOM."""
        line = self._line
        if self._skip == _BOM and line[:3] == _BOM[: len(line)]:
            return max(0, len(line) - len(_BOM))
        return len(line)

    def _prepared(self, chunk: _Bytes) -> _Bytes:
        """Return the unfinished line and what follows it, without a BOM, and with LF alone."""
        line, prefix = self._line, self._skip
        if len(line) >= _LONG:
            line += chunk
            chunk, self._line = line, bytearray()
        elif line:
            chunk = b"".join((line, chunk))
            line.clear()
        if prefix:
            self._skip = b""
            # `removeprefix` copies a bytearray also where it removes nothing.
            chunk = chunk[len(prefix) :] if chunk.startswith(prefix) else chunk
        if 13 in chunk:
            if chunk[-1] == 13:  # it ends its line now, and not when an LF comes
                self._skip = b"\n"
            chunk = _to_lf(chunk)
        return chunk

    def _read_usual(self, chunk: _Bytes, events: list[ServerSentEvent]) -> bool:
        """Read a chunk whose blocks are all alike, of one of the usual forms, at a stroke.

        Only for when no line and no block is open and `max_event_size` is out of reach.

        Returns:
            Whether it was; where it was not, nothing has changed.
        """
        if len(chunk) >= _SHORT:
            return self._read_many(chunk, events)
        # One block and perhaps a part of the next line: 0.25 µs beside the calls and the event, 0.4
        # with an id; `_read_many` takes 0.2 more. Slices instead of `partition` take 0.05 more.
        block, blank_line, rest = chunk.partition(b"\n\n")
        if not blank_line:
            return False
        head, field, data = block.partition(b"data: ")
        if not field:
            return False
        if 10 in data or 10 in rest:  # LF
            return self._read_many(chunk, events)
        if head:
            nothing, _, last_event_id = head.partition(b"id: ")
            if nothing or head.find(b"\n") != len(head) - 1 or 0 in head:
                return False
            self.last_event_id = last_event_id[:-1].decode("utf-8", "replace")
        if rest:
            self._line += rest
        text = data.decode("utf-8", "replace")
        events.append(_new(ServerSentEvent, ("message", text, self.last_event_id)))
        return True

    def _read_many(self, chunk: _Bytes, events: list[ServerSentEvent]) -> bool:
        """Do what `_read_usual` does, for a chunk of any number of blocks."""
        end = chunk.rfind(b"\n\n")
        if end < 0:
            return False
        # A view: of a line of 32 MiB, slices would be two more copies, and half of the time.
        if chunk[:6] == b"data: ":
            text = str(memoryview(chunk)[6:end], "utf-8", "replace")
            found = self._read_data_blocks(text)
        elif chunk[:4] == b"id: ":
            text = str(memoryview(chunk)[4:end], "utf-8", "replace")
            found = self._read_id_blocks(text)
        else:
            return False
        if found is None:
            return False
        events += found
        if rest := chunk[end + 2 :]:
            self._read_lines(rest, events)
        return True

    def _read_data_blocks(self, text: str) -> list[ServerSentEvent] | None:
        """Read blocks of ``data: ...`` alone. An LF left inside a value proves another form."""
        last_event_id = self.last_event_id
        values = text.split("\n\ndata: ") if "\n" in text else [text]  # one long one: 5 % less
        if text.count("\n") > 2 * len(values) - 2:  # Counted once: 15 ns an event less.
            return None
        return [_new(ServerSentEvent, ("message", data, last_event_id)) for data in values]

    def _read_id_blocks(self, text: str) -> list[ServerSentEvent] | None:
        """Read blocks of ``id: ...``, perhaps ``event: ...``, and ``data: ...``, in this order."""
        if "\0" in text:
            return None
        events = []
        last_event_id = ""
        for block in text.split("\n\nid: "):
            head, found, data = block.partition("\ndata: ")
            if not found or "\n" in data:
                return None
            last_event_id, event = head, ""
            if "\n" in head:
                last_event_id, found, event = head.partition("\nevent: ")
                if not found or "\n" in last_event_id or "\n" in event:
                    return None
            events.append(_new(ServerSentEvent, (event or "message", data, last_event_id)))
        self.last_event_id = last_event_id
        return events

    def _finish_block(self, chunk: _Bytes, events: list[ServerSentEvent]) -> _Bytes:
        """Read on to the end of an open block, if it is there; return what is left of the chunk."""
        end = (b"\n" + chunk).find(b"\n\n") + 1 or len(chunk)
        self._read_lines(chunk[:end], events)
        return chunk[end:]

    def _read_lines(self, chunk: _Bytes, events: list[ServerSentEvent]) -> None:
        """Interpret line by line, to the letter of section 9.2.6, and keep the unfinished line."""
        lines = chunk.split(b"\n")
        unfinished = lines.pop()
        for line in lines:
            if len(line) > self._room:
                raise self._too_large()
            if not line:  # dispatch
                if self._id is not None:
                    self.last_event_id = self._id
                    self._id = None
                if self._data:
                    self._data.pop()  # the last line's LF
                    data = self._data.decode("utf-8", "replace")
                    event = self._event or "message"
                    events.append(_new(ServerSentEvent, (event, data, self.last_event_id)))
                    self._data.clear()
                    self._room = self._limit
                self._event = ""
                self._open = False
                continue
            field, _, value = line.partition(b": ")
            if 58 in field:  # a colon: its value has no space in front
                field, _, value = line.partition(b":")
            if field == b"data":
                self._data += value + b"\n"
                self._room = self._limit - len(self._data)
                self._open = True
            else:
                self._process_field(field, value)
        if len(unfinished) > self._room:
            raise self._too_large()
        if unfinished:
            self._line += unfinished

    def _process_field(self, field: _Bytes, value: _Bytes) -> None:
        if field == b"event":
            self._event = value.decode("utf-8", "replace")
            self._open = True
        elif field == b"id":
            if 0 not in value:
                self._id = value.decode("utf-8", "replace")
                self._open = True
        elif field == b"retry" and value.isdigit():  # ASCII digits alone, since these are bytes
            self.retry = _milliseconds(value)
        elif not field and self._on_comment:  # the line begins with a colon
            self._on_comment(value.decode("utf-8", "replace"))

    def _too_large(self) -> EventTooLarge:
        self._room = -1
        self._line.clear()
        self._data.clear()
        return EventTooLarge(self._limit)


def encode_event(
    data: str | bytes,
    *,
    event: str | None = None,
    id: str | None = None,  # noqa: A002 (the field's name)
    retry: int | None = None,
) -> bytes:
    r"""Return one event as bytes, lines ended by LF.

    Decoding gives the same back, except that CRLF and CR in the data become LF: a stream cannot
    tell line ends apart.

    Args:
        data: The data. Bytes are taken for UTF-8.
        event: The event type; None and "" mean "message".
        id: The new last event ID; "" resets it.
        retry: The reconnection time in milliseconds.

    Raises:
        ValueError: `event` or `id` has a line end, `id` has a NUL, `retry` is not a whole number
            from 0 to `MAX_RETRY`, or a text has a lone surrogate, which UTF-8 cannot say.
    """
    frame = b""
    if id is not None:
        frame += b"id: %b\n" % _one_line("id", id, forbidden="\r\n\0")
    if event:
        frame += b"event: %b\n" % _one_line("event", event, forbidden="\r\n")
    if retry is not None:
        frame += b"retry: %d\n" % _checked_retry(retry)
    lines = data.encode() if isinstance(data, str) else data
    if 10 in lines or 13 in lines:
        lines = _to_lf(lines).replace(b"\n", b"\ndata: ")
    return b"%bdata: %b\n\n" % (frame, lines)


def encode_numbered(first: int, lines: Sequence[bytes]) -> bytes:
    """Return events whose ids are consecutive numbers, joined: what `encode_event` gives for each.

    A third of its time for one, and a sixth for each of many.

    Args:
        first: The first event's number.
        lines: The events' data, of each one line: no CR and no LF is in it.
    """
    if len(lines) == 1:  # a token that comes alone
        return b"id: %d\ndata: %b\n\n" % (first, lines[0])
    number = first - 1
    return b"".join([b"id: %d\ndata: %b\n\n" % (number := number + 1, line) for line in lines])


def encode_comment(text: str) -> bytes:
    """Return a comment, each line of it ended by LF, which readers ignore.

    No blank line follows: it would end a block, and several widespread clients take a block of
    comments for an empty event. So a comment can go between any two events, as a heartbeat does.

    Raises:
        ValueError: `text` has a lone surrogate, which UTF-8 cannot say.
    """
    return b": %b\n" % _to_lf(text.encode()).replace(b"\n", b"\n: ")


def _to_lf(text: _Bytes) -> bytes:
    return bytes(text).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _milliseconds(digits: _Bytes) -> int:
    """Convert any number of ASCII digits; `int` refuses 5,000 of them, and is quadratic."""
    significant = digits.lstrip(b"0")
    if len(significant) > len(str(MAX_RETRY)):
        return MAX_RETRY
    return min(int(significant or b"0"), MAX_RETRY)


def _one_line(name: str, value: str, *, forbidden: str) -> bytes:
    if not value.isdigit() and any(character in value for character in forbidden):
        raise ValueError(f"{name} must not contain any of {forbidden!r}: {value!r}")
    return value.encode()


def _checked_retry(retry: object) -> int:
    if not isinstance(retry, int) or isinstance(retry, bool) or not 0 <= retry <= MAX_RETRY:
        raise ValueError(f"retry must be whole milliseconds from 0 to {MAX_RETRY}, not {retry!r}")
    return retry
