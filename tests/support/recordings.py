"""Recordings drawn by hypothesis, and made from a few pieces."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from dripline.recordings.recording import (
    Exchange,
    ExchangeEnding,
    Piece,
    Recording,
    Request,
    Response,
)

NAMES = st.sampled_from(["Accept", "X-Run-Id", "content-type", "x-1", "Location"])
VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=9)
HEADERS = st.lists(st.tuples(NAMES, VALUES.map(lambda v: v.replace("?", ""))), max_size=3).map(
    tuple
)
# Text, bytes that are no text, and text that is cut inside a character.
DATA = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.text(min_size=1, max_size=9).map(lambda text: text.encode(errors="replace")),
    st.text("aé✓🎉\u0085\u2028\ufeff", min_size=2).map(lambda text: text.encode()[1:]),
)
REQUESTS = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST"]),
    url=st.sampled_from(["http://127.0.0.1:8000/chat", "http://[::1]/x?after=1"]),
    headers=HEADERS,
    body=st.binary(max_size=20) | st.just(b'{"model": "m"}'),
)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """Any exchange."""
    times = sorted(draw(st.lists(st.floats(0, 1e6), min_size=3, max_size=9)))
    started, at, *rest = times
    response = draw(st.builds(Response, st.integers(200, 599), HEADERS, st.just(at)) | st.none())
    ended = rest.pop()
    pieces = tuple(Piece(time, draw(DATA)) for time in rest) if response else ()
    ending = draw(st.sampled_from(ExchangeEnding))
    return Exchange(
        request=draw(REQUESTS),
        response=response,
        pieces=pieces,
        ending=ending,
        started=started,
        ended=None if ending is ExchangeEnding.UNFINISHED else ended,
    )


def recordings(*, exchange_count: int = 1) -> st.SearchStrategy[Recording]:
    """Any recording of one exchange, or of up to so many."""
    return st.builds(
        Recording,
        st.lists(exchanges(), min_size=1, max_size=exchange_count).map(_in_order),
        about=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        by_hand=st.booleans(),
        date=st.sampled_from(["", "2026-01-02T03:04:05Z"]),
    )


def _in_order(found: list[Exchange]) -> tuple[Exchange, ...]:
    return tuple(sorted(found, key=lambda exchange: exchange.started))


GET = Request("GET", "http://localhost/")
CHAT = Request("POST", "http://127.0.0.1:11434/api/chat")


def exchange_of(
    pieces: Iterable[bytes],
    *,
    ending: ExchangeEnding = ExchangeEnding.EOF,
    content_type: str = "text/event-stream",
    gap: float = 1.0,
    request: Request = GET,
    status: int = 200,
) -> Exchange:
    """An exchange whose pieces come `gap` seconds after each other, from `gap` on."""
    timed = tuple(Piece(gap * n, data) for n, data in enumerate(pieces, start=1))
    ended = gap * (len(timed) + 1)
    return Exchange(
        request=request,
        response=Response(status, (("Content-Type", content_type),), gap / 2),
        pieces=timed,
        ending=ending,
        ended=None if ending is ExchangeEnding.UNFINISHED else ended,
    )


def recording_of(
    pieces: Iterable[bytes],
    *,
    ending: ExchangeEnding = ExchangeEnding.EOF,
    content_type: str = "text/event-stream",
    gap: float = 1.0,
    request: Request = GET,
) -> Recording:
    """A recording of one such exchange."""
    exchange = exchange_of(
        pieces, ending=ending, content_type=content_type, gap=gap, request=request
    )
    return Recording((exchange,))
