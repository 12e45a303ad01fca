"""Recognise the last event of a stream, for each protocol that dripline knows."""

from __future__ import annotations

import orjson

from dripline.sse import EventDecoder

# In bytes: enough of a stream's end to contain its last event. It is so large because the last line
# of Ollama's `/api/generate` lists the tokens of the whole context.
TAIL = 256 * 1024


def says_its_end(body: bytes) -> bool:
    """Return whether the stream ends with the event that marks the end in its protocol.

    It knows dripline, Ollama, OpenAI's chat completions and responses, Anthropic's messages, and
    AG-UI. For a long stream, pass only the last `TAIL` bytes.
    """
    data = body[-TAIL:]
    events = EventDecoder(max_event_size=len(data) + 1).feed(data)
    last = events[-1].data if events else data.rstrip(b"\n").rpartition(b"\n")[2]
    if last == "[DONE]":
        return True
    try:
        record = orjson.loads(last)
    except orjson.JSONDecodeError:
        return False
    match record:
        case {"done": True}:
            return True
        case {"type": str(kind)}:
            return kind in _LAST_TYPES
        case _:
            return False


_LAST_TYPES = frozenset(
    (
        "end",  # dripline
        "message_stop",  # Anthropic
        *("response.completed", "response.incomplete", "response.failed"),  # OpenAI's responses
        *("RUN_FINISHED", "RUN_ERROR"),  # AG-UI
    )
)
