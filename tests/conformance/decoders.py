"""Every decoder that must agree, behind one function each: pieces of a stream -> what they say."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from dripline import EventDecoder, EventTooLarge
from tests.conformance.reference_decoder import Decoded
from tests.support.programs import require_program

HERE = Path(__file__).parent
PAGE_DECODER = HERE.parents[1] / "static/net/sse.js"
LIMIT = 16 * 1024 * 1024


def decode_in_python(pieces: Iterable[bytes], limit: int = LIMIT) -> Decoded:
    """Feed the pieces to `dripline.EventDecoder`.

    Past the limit every further call raises; the last empty one finds a fault that was held back
    behind events.
    """
    decoder = EventDecoder(limit)
    events: list[tuple[str, str, str]] = []
    too_large = False
    for piece in (*pieces, b""):
        try:
            found = decoder.feed(piece)
        except EventTooLarge:
            too_large = True
        else:
            assert not too_large
            events += [(event.event, event.data, event.id) for event in found]
    return Decoded(events, decoder.last_event_id, decoder.retry, decoder.pending, too_large)


def decode_in_node(
    streams: Sequence[tuple[Sequence[bytes], int]], decoder: Path = PAGE_DECODER
) -> list[Decoded]:
    """Feed each stream's pieces to a module's decoder, all in one process of Node.js."""
    work = [
        {"limit": limit, "pieces": [base64.b64encode(piece).decode() for piece in (*pieces, b"")]}
        for pieces, limit in streams
    ]
    answer = subprocess.run(
        [require_program("node"), "--no-warnings", HERE / "decode.mjs", decoder],
        input=json.dumps(work).encode(),
        capture_output=True,
        check=True,
    )
    return [
        Decoded([(event, data, id_) for event, data, id_ in events], last, retry, pending, large)
        for events, last, retry, pending, large in json.loads(answer.stdout)
    ]


def seconds_in_node(unit: bytes, times: int, size: int) -> tuple[float, float]:
    """Return the page's decoder's CPU seconds for `unit` so many times, and eight times as often.

    Args:
        unit: What is repeated.
        times: How often, for the small stream.
        size: The chunks' size in bytes.
    """
    work = {"unit": base64.b64encode(unit).decode(), "times": times, "size": size}
    answer = subprocess.run(
        [require_program("node"), "--no-warnings", HERE / "growth.mjs", PAGE_DECODER],
        input=json.dumps(work).encode(),
        capture_output=True,
        check=True,
    )
    small, large = json.loads(answer.stdout)
    return small, large
