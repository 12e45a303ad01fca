"""Decode and encode Server-Sent Events as bytes. This module does no I/O.

`EventDecoder` follows the WHATWG HTML standard, sections 9.2.5 "Parsing an event stream" and 9.2.6
"Interpreting an event stream" (https://html.spec.whatwg.org/multipage/server-sent-events.html). It
works on bytes: CR and LF are never part of a longer UTF-8 character, so it splits the lines first
and decodes each one whole. A chunk that ends inside a character does no harm.

The decoder has two paths. `_read_lines` follows the standard's algorithm line by line and handles
every stream. `_read_usual` is several times faster, but handles only the common forms and declines
the rest. Both give the same events; tests/conformance/ compares them with a literal transcription
of the standard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from dripline.errors import EventTooLarge

MAX_RETRY: Final = 2**53 - 1
"""The longest reconnection time, in milliseconds: the largest integer exact in JavaScript too."""

_Bytes = bytes | bytearray

_BOM = b"\xef\xbb\xbf"

# In bytes. A longer unfinished line is extended in place: copying one of 32 MiB would take a third
# of the time spent on it.
_LONG = 64 * 1024

# In bytes. A shorter chunk probably holds a single event, because models send one token at a time.
# Searching it for more events would cost more than it saves.
_SHORT = 512

# Creates an event in 150 ns. The usual ways are too slow, because parsing itself is that fast:
# ServerSentEvent(...) needs 220 ns, a slotted class 210, and a frozen dataclass 600, which is more
# than all of the parsing.
_new = tuple.__new__


class ServerSentEvent(NamedTuple):
    """One event of a stream, with the fields of the standard's `MessageEvent`.

    Attributes:
        event: The event type; "message" if the stream names none.
        data: The data lines, joined by LF.
        id: The last event ID when the event was dispatched: the event's own id, or else the most
            recent one before it.
    """

    event: str = "message"
    data: str = ""
    id: str = ""


class EventDecoder:
    """Turns the bytes of one event stream into events, however the bytes are split into chunks.

    Decoding time is linear in the number of bytes, and `max_event_size` bounds the memory. After a
    reconnection, create a new decoder and pass it the old one's `last_event_id`.

    Args:
        max_event_size: The limit in bytes for the data collected for one event (each data line's
            value and one LF) and the line being read, together.
        last_event_id: The id given to events without an `id` of their own, until the stream sets
            one.
        on_comment: Called with the text of each comment line, such as a heartbeat. The call comes
            before `feed` returns the events from the same chunk.

    Attributes:
        last_event_id: The last event ID string, to send as `Last-Event-ID` on reconnection. It
            changes at the blank line that ends a block, even if the block has no data.
        retry: The reconnection time in milliseconds that the stream set most recently, or None. It
            changes at the end of its line. Values above `MAX_RETRY` count as `MAX_RETRY`.

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
        self._room = max_event_size  # for the next line; negative once the limit was exceeded
        self._skip = _BOM  # a prefix to drop from the next line: one BOM, or the LF of a split CRLF
        self._line = bytearray()  # the unfinished line
        self._open = False  # whether the next three hold lines of an unfinished block
        self._data = bytearray()
        self._event = ""
        self._id: str | None = None

    @property
    def pending(self) -> bool:
        """Whether an event is half-received, so that a stream that ends here was cut off.

        True inside a line; inside a block, from its first `data`, `event` or `id` line to its blank
        line; and after `EventTooLarge`. Comments, `retry` lines, unknown fields and ids with a NUL
        need no blank line: once their line is complete, they leave nothing pending.
        """
        line = self._line
        bom_alone = line == _BOM == self._skip
        return (bool(line) and not bom_alone) or self._open or self._room < 0

    def feed(self, chunk: bytes | bytearray) -> Sequence[ServerSentEvent]:
        """Decode the next bytes and return the events that they complete.

        An event is never delayed: the call with the last byte of its blank line returns it.

        Args:
            chunk: The next bytes of the stream, any number of them.

        Raises:
            EventTooLarge: An event exceeds `max_event_size`. Events completed earlier are not lost:
                if this call has some, it returns them and the next call raises. From then on every
                call raises, and `pending` stays True.
        """
        line = self._line
        try:
            # Is the chunk without LF and CR? The test for a single byte is twice as fast.
            if (len(chunk) == 1 and chunk > b"\r") or (10 not in chunk and 13 not in chunk):
                line += chunk
                if len(line) > self._room and self._unfinished() > self._room:
                    raise self._too_large()
                return ()  # Creating a list would add 8 % for a single byte.
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
        """Return the length of the unfinished line, not counting bytes that may be the BOM."""
        line = self._line
        if self._skip == _BOM and line[:3] == _BOM[: len(line)]:
            return max(0, len(line) - len(_BOM))
        return len(line)

    def _prepared(self, chunk: _Bytes) -> _Bytes:
        """Return the unfinished line joined with the chunk, without BOM and with only LF ends."""
        line, prefix = self._line, self._skip
        if len(line) >= _LONG:
            line += chunk
            chunk, self._line = line, bytearray()
        elif line:
            chunk = b"".join((line, chunk))
            line.clear()
        if prefix:
            self._skip = b""
            # Not `removeprefix`: it copies a bytearray even if there is nothing to remove.
            chunk = chunk[len(prefix) :] if chunk.startswith(prefix) else chunk
        if 13 in chunk:
            if chunk[-1] == 13:  # this CR ends its line now; an LF that follows is skipped
                self._skip = b"\n"
            chunk = _to_lf(chunk)
        return chunk

    def _read_usual(self, chunk: _Bytes, events: list[ServerSentEvent]) -> bool:
        """Read a whole chunk at once if all its blocks have the same common form.

        Call it only if no line and no block is open and the chunk cannot exceed `max_event_size`.

        Returns:
            Whether the chunk was read. If False, nothing has changed.
        """
        if len(chunk) >= _SHORT:
            return self._read_many(chunk, events)
        # One block, perhaps followed by a part of the next line, is what a model's token looks
        # like, so it has its own path: 0.25 µs (0.4 with an id), without the calls and the event.
        # `_read_many` would need 0.2 µs more, and slices instead of `partition` 0.05 more.
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
        """Do the same as `_read_usual` for a chunk with any number of blocks."""
        end = chunk.rfind(b"\n\n")
        if end < 0:
            return False
        # A view, because slices would copy a line of 32 MiB twice and double the time.
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
        """Read blocks of one ``data: ...`` line each; None if a value has an LF left in it."""
        last_event_id = self.last_event_id
        values = text.split("\n\ndata: ") if "\n" in text else [text]  # saves 5 % for one long line
        # One count for all values; searching each value for an LF would add 15 ns per event.
        if text.count("\n") > 2 * len(values) - 2:
            return None
        return [_new(ServerSentEvent, ("message", data, last_event_id)) for data in values]

    def _read_id_blocks(self, text: str) -> list[ServerSentEvent] | None:
        """Read blocks of ``id: ...``, optionally ``event: ...``, then ``data: ...``."""
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
        """Read up to the end of the open block, or all if it has none; return the unread rest."""
        end = (b"\n" + chunk).find(b"\n\n") + 1 or len(chunk)
        self._read_lines(chunk[:end], events)
        return chunk[end:]

    def _read_lines(self, chunk: _Bytes, events: list[ServerSentEvent]) -> None:
        """Interpret the chunk line by line, exactly as section 9.2.6 says; keep the last part."""
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
            if 58 in field:  # a colon is left, so no space follows the field's colon
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
        elif field == b"retry" and value.isdigit():  # for bytes, `isdigit` means ASCII digits only
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
    r"""Return one event as bytes, with LF line ends.

    Decoding them returns the same event, except that CRLF and CR in the data become LF: the format
    does not distinguish line ends.

    Args:
        data: The data. Bytes must be UTF-8; this is not checked.
        event: The event type; None and "" mean "message".
        id: The new last event ID; "" resets it.
        retry: The reconnection time in milliseconds.

    Raises:
        ValueError: `event` or `id` has a line end, `id` has a NUL, `retry` is not a whole number
            from 0 to `MAX_RETRY`, or a text has a lone surrogate, which UTF-8 cannot encode.
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
    """Return events with consecutive numbers as ids, joined into one `bytes`.

    The result is the same as that of `encode_event` for each event, but needs a third of the time
    for one event, and a sixth per event for many.

    Args:
        first: The first event's number.
        lines: The data of each event, without CR or LF.
    """
    if len(lines) == 1:  # the usual case: a single token
        return b"id: %d\ndata: %b\n\n" % (first, lines[0])
    number = first - 1
    return b"".join([b"id: %d\ndata: %b\n\n" % (number := number + 1, line) for line in lines])


def encode_comment(text: str) -> bytes:
    """Return a comment, which readers ignore; each of its lines ends with LF.

    There is no blank line after it. A blank line would end a block, and several widespread clients
    report a block that has only comments as an empty event. Without it, a comment such as a
    heartbeat can stand between any two events.

    Raises:
        ValueError: `text` has a lone surrogate, which UTF-8 cannot encode.
    """
    return b": %b\n" % _to_lf(text.encode()).replace(b"\n", b"\n: ")


def _to_lf(text: _Bytes) -> bytes:
    return bytes(text).replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _milliseconds(digits: _Bytes) -> int:
    """Convert any number of ASCII digits, which `int` alone cannot.

    `int` needs quadratic time and refuses numbers of 5,000 digits.
    """
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
