"""Recordings drawn by hypothesis, and made from a few pieces."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from dripline.recordings.recording import ExchangeEnding, Piece, Recording, Request, Response

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
def recordings(draw: st.DrawFn) -> Recording:
    """Any recording."""
    times = sorted(draw(st.lists(st.floats(0, 1e6), min_size=3, max_size=9)))
    started, at, *rest = times
    response = draw(st.builds(Response, st.integers(200, 599), HEADERS, st.just(at)) | st.none())
    ended = rest.pop()
    pieces = tuple(Piece(time, draw(DATA)) for time in rest) if response else ()
    ending = draw(st.sampled_from(ExchangeEnding))
    return Recording(
        request=draw(REQUESTS),
        response=response,
        pieces=pieces,
        ending=ending,
        started=started,
        ended=None if ending is ExchangeEnding.UNFINISHED else ended,
        about=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=9)),
        by_hand=draw(st.booleans()),
        date=draw(st.sampled_from(["", "2026-01-02T03:04:05Z"])),
    )


def recording_of(
    pieces: Iterable[bytes],
    *,
    ending: ExchangeEnding = ExchangeEnding.EOF,
    content_type: str = "text/event-stream",
    gap: float = 1.0,
) -> Recording:
    """A recording of pieces that come `gap` seconds after each other, from `gap` on."""
    timed = tuple(Piece(gap * n, data) for n, data in enumerate(pieces, start=1))
    ended = gap * (len(timed) + 1)
    return Recording(
        response=Response(200, (("Content-Type", content_type),), gap / 2),
        pieces=timed,
        ending=ending,
        ended=None if ending is ExchangeEnding.UNFINISHED else ended,
    )
