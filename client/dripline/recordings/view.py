"""Show a recording to people, and compute its statistics.

A stream consists of units: the blocks of an event stream, the lines of NDJSON, or the pieces of any
other body.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import orjson

from dripline.recordings.exchange import Exchange, ExchangeEnding
from dripline.recordings.last_word import says_its_end
from dripline.recordings.recording import Recording
from dripline.recordings.replay import BLANK_LINE, ending_to_replay
from dripline.recordings.splits import inside_characters
from dripline.sse import EventDecoder, ServerSentEvent


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of the body that has a meaning of its own.

    Attributes:
        at: When its last byte arrived.
        raw: All of its bytes.
        reads: The offsets in `raw` at which a piece ended; may include the end of `raw`.
        event: The event of a block, if it has one.
    """

    at: float
    raw: bytes
    reads: tuple[int, ...]
    event: ServerSentEvent | None = None

    @property
    def token(self) -> str:
        """The text, reasoning or tool name in it; "" if there is none."""
        data = self.event.data if self.event else self.raw
        try:
            return _token(orjson.loads(data))
        except orjson.JSONDecodeError:
            return ""

    def marked(self) -> str:
        """Return the bytes as one printable line, with a bar where a piece ended.

        A character that was split between pieces is shown as its bytes.
        """
        parts = [self.raw[a:b] for a, b in pairwise((0, *self.reads, len(self.raw)))]
        return "¦".join(_printable(part) for part in parts)


def units(exchange: Exchange) -> list[Unit]:
    """Return the units of the body; bytes after the last complete one count as a unit."""
    body, ends = exchange.body, list(accumulate(map(len, exchange.chunks)))
    kind = exchange.response.header("Content-Type") if exchange.response else ""
    is_sse = "event-stream" in kind
    decoder = EventDecoder(max_event_size=len(body) + 1)
    found, index = [], 0
    for start, end in pairwise((0, *_unit_ends(body, kind, ends))):
        first = index
        while ends[index] < end:
            index += 1
        reads = tuple(offset - start for offset in ends[first : index + 1] if start < offset <= end)
        raw = body[start:end]
        events = decoder.feed(raw) if is_sse else []
        event = events[0] if events else None
        found.append(Unit(exchange.pieces[index].at, raw, reads, event))
    return found


def is_whole(exchange: Exchange) -> bool:
    """Return whether an answer is a success and complete, as far as the recording shows.

    A stream without the last event of its protocol is incomplete, even if HTTP ended it regularly.
    """
    if exchange.response is None or exchange.response.status >= 400:
        return False
    if ending_to_replay(exchange) != "eof":
        return False
    return says_its_end(exchange.body) or not _needs_a_last_word(exchange)


def _needs_a_last_word(exchange: Exchange) -> bool:
    """Return whether it is a token stream; all known protocols for those mark their end."""
    kind = exchange.response.header("Content-Type") if exchange.response else ""
    is_stream = any(name in kind for name in ("event-stream", "ndjson", "jsonl"))
    return is_stream and any(unit.token for unit in units(exchange))


def _unit_ends(body: bytes, kind: str, ends: Sequence[int]) -> Iterator[int]:
    end = 0
    if "event-stream" in kind:
        for blank_line in BLANK_LINE.finditer(body):
            yield (end := blank_line.end())
    elif "ndjson" in kind or "jsonl" in kind:
        while end := body.find(b"\n", end) + 1:
            yield end
        end = body.rfind(b"\n") + 1
    else:
        yield from ends
        return
    if end < len(body):
        yield len(body)


def _token(record: object) -> str:
    """Return the text in an event or line of dripline, Ollama, or a vendor's similar stream."""
    match record:
        case {"type": "text_message" | "thinking", "data": {"content": str(text)}}:
            return text
        case {"type": "tool_call", "data": {"name": str(name)}}:
            return name
        case {"message": dict(message)} | {"choices": [{"delta": dict(message)}, *_]}:
            return _text_of(message)
        case {"delta": {"text": str(text)} | {"thinking": str(text)}} | {"response": str(text)}:
            return text
        case _:
            return ""


def _text_of(message: dict[str, object]) -> str:
    for name in ("content", "thinking", "reasoning_content", "reasoning"):
        text = message.get(name)
        if isinstance(text, str) and text:
            return text
    return "tool call" if message.get("tool_calls") else ""


def _printable(data: bytes) -> str:
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "␍⏎").replace("\n", "⏎")
    text = text.replace("\r", "␍")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """Statistics of an exchange. Times are in seconds from the request; None if not applicable.

    Attributes:
        ending: How the exchange ended.
        duration: Time to the end.
        headers: Time to the response's headers.
        first_token: Time to the first token.
        tokens: Number of units with text, reasoning or a tool call.
        tokens_per_second: The rate between the first token and the last.
        longest_gap: The longest time without data.
        gap_before: Time to the end of that gap.
        size: Size of the body in bytes.
        pieces: Number of pieces in which the body was read.
        cut_characters: Number of pieces that end inside a character, or between CR and LF.
        cut_units: Number of pieces that end inside a unit.
        text: All tokens, joined.
    """

    ending: ExchangeEnding
    duration: float
    headers: float | None
    first_token: float | None
    tokens: int
    tokens_per_second: float | None
    longest_gap: float
    gap_before: float
    size: int
    pieces: int
    cut_characters: int
    cut_units: int
    text: str


def figures(exchange: Exchange) -> Figures:
    """Return the statistics of an exchange."""
    said = [unit for unit in units(exchange) if unit.token]
    ends = list(accumulate(map(len, exchange.chunks)))
    inside = set(inside_characters.offsets(exchange.chunks))
    times = [exchange.started, *_times(exchange)]
    gaps = [(after - before, after - exchange.started) for before, after in pairwise(times)]
    longest, before = max(gaps, key=lambda gap: gap[0], default=(0.0, 0.0))
    span = said[-1].at - said[0].at if said else 0.0
    response = exchange.response
    return Figures(
        ending=exchange.ending,
        duration=exchange.duration,
        headers=response.at - exchange.started if response else None,
        first_token=said[0].at - exchange.started if said else None,
        tokens=len(said),
        tokens_per_second=(len(said) - 1) / span if span > 0 else None,
        longest_gap=longest,
        gap_before=before,
        size=len(exchange.body),
        pieces=len(exchange.pieces),
        cut_characters=len(inside.intersection(ends)),
        cut_units=sum(read < len(unit.raw) for unit in units(exchange) for read in unit.reads),
        text="".join(unit.token for unit in said),
    )


def _times(exchange: Exchange) -> Iterator[float]:
    if exchange.response:
        yield exchange.response.at
    yield from (piece.at for piece in exchange.pieces)
    if exchange.ended is not None:
        yield exchange.ended


def report(exchange: Exchange, recording: Recording) -> str:
    """Return a readable report of an exchange, for a person."""
    lines = [_printable(f"{exchange.request.method} {exchange.request.url}".encode())]
    lines += [f"({_printable(recording.about.encode())})"] * bool(recording.about)
    lines += ["(written by hand)"] * recording.by_hand
    lines += ["", "    time      gap   ¦ is where a read ended"]
    before = exchange.started

    def row(at: float, text: str) -> str:
        nonlocal before
        line = f"{at - exchange.started:8.3f} {at - before:8.3f}   {text}"
        before = at
        return line

    if response := exchange.response:
        kind = _printable(response.header("Content-Type").encode())
        lines.append(row(response.at, f"{response.status} {kind}"))
    lines += [row(unit.at, unit.marked()) for unit in units(exchange)]
    if exchange.ended is not None:
        lines.append(row(exchange.ended, exchange.ending))
    return "\n".join([*lines, "", *figures_table({"": exchange})])


def figures_table(exchanges: dict[str, Exchange]) -> list[str]:
    """Return the statistics as the lines of a table, with a column for each exchange."""
    columns = {name: _shown(figures(exchange)) for name, exchange in exchanges.items()}
    width = max(24, *(len(name) + 2 for name in columns))
    header = f"{'':<20}" + "".join(f"{name:<{width}}" for name in columns)
    rows = [header.rstrip()] if len(columns) > 1 else []
    for label in next(iter(columns.values())):
        row = f"{label:<20}" + "".join(f"{column[label]:<{width}}" for column in columns.values())
        rows.append(row.rstrip())
    return rows


def _shown(counted: Figures) -> dict[str, str]:
    rate = counted.tokens_per_second
    return {
        "ending": f"{counted.ending} after {counted.duration:.3f} s",
        "headers": _seconds(counted.headers),
        "first token": _seconds(counted.first_token),
        "tokens": str(counted.tokens),
        "tokens a second": "-" if rate is None else f"{rate:.1f}",
        "longest gap": f"{counted.longest_gap:.3f} s, to {counted.gap_before:.3f} s",
        "bytes": f"{counted.size:,}",
        "reads": str(counted.pieces),
        "inside a character": str(counted.cut_characters),
        "inside an event": str(counted.cut_units),
    }


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


def comparison(exchanges: dict[str, Exchange]) -> str:
    """Return the statistics of two exchanges side by side, and where their texts differ."""
    (one, a), (other, b) = exchanges.items()
    first, second = figures(a).text, figures(b).text
    lines = figures_table(exchanges)
    if first == second:
        return "\n".join([*lines, "", f"The texts are the same, {len(first)} characters."])
    same = next(
        (i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y),
        min(len(first), len(second)),
    )
    lines += ["", f"The texts part after {same} characters:"]
    width = max(len(one), len(other))
    for name, text in ((one, first), (other, second)):
        lines.append(
            f"  {name:<{width}}  ...{_printable(text[max(0, same - 20) : same + 20].encode())}"
        )
    return "\n".join(lines)
