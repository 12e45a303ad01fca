"""What Ollama sends, taken as the server takes it."""

from __future__ import annotations

from collections.abc import Iterable

from dripline.events import Event
from dripline_server.upstream.chat_chunks import ChunkReader
from dripline_server.upstream.ollama_events import OllamaAnswer


def read_body(
    pieces: Iterable[bytes], *, max_line: int
) -> tuple[list[Event], OllamaAnswer, ChunkReader]:
    """Read a body up to its end or failure, which the reader knows; return its events."""
    reader, answer = ChunkReader(max_line, lambda _: False), OllamaAnswer(0.0)
    events: list[Event] = []
    for piece in pieces:
        reader.deliver_now(piece)
        events += answer.events(reader.chunks, 1.0)
        if reader.done or reader.failure:
            return events, answer, reader
    reader.end()
    events += answer.events(reader.chunks, 1.0)
    return events, answer, reader
