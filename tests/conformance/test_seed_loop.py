r"""Why `chunk.split("\n")` is not enough: the usual loop and the decoder on the same chunks."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from dripline.recordings.splits import two_way_splits
from dripline.sse import encode_event
from tests.conformance.decoders import decode_in_python
from tests.support.seed_loop import seed_loop

MESSAGES: list[Any] = [
    {"type": "start", "data": {"agent": "ollama"}},
    {"type": "text_message", "data": {"content": "Grüße"}},
    {"type": "text_message", "data": {"content": " 👋"}},
    {"type": "end", "data": {"status": "completed"}},
]
STREAM = b"".join(
    encode_event(json.dumps(message, ensure_ascii=False), id=str(nth))
    for nth, message in enumerate(MESSAGES, 1)
)


def fate(chunks: list[bytes]) -> str:
    """What becomes of the stream in the usual loop."""
    try:
        messages = seed_loop(chunks)
    except ValueError:
        return "an exception"
    if messages == MESSAGES:
        return "right"
    return "a message lost" if len(messages) < len(MESSAGES) else "a character broken"


def test_the_usual_loop_loses_what_the_decoder_keeps() -> None:
    """Of all ways to cut a short stream in two, the loop fails at most; the decoder at none."""
    fates: Counter[str] = Counter()
    for plan in two_way_splits(len(STREAM)):
        chunks = plan([STREAM])
        fates[fate(chunks)] += 1
        decoded = [json.loads(data) for _, data, _ in decode_in_python(chunks).events]
        assert decoded == MESSAGES
    assert fates == FATES
    assert seed_loop([STREAM]) == MESSAGES


# The README shows these figures.
FATES = {"right": 35, "an exception": 204, "a message lost": 20}
