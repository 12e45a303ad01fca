"""A dialect with frames of its own, which depend on what came before.

What is open (a message, a tool call) is known only to who has read the run from its beginning. So
that is where a reader who comes back makes it read from; what the reader has seen is left out. The
same events always become the same frames, so nothing is lost and nothing comes twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Protocol

from dripline.events import Event, from_json
from dripline.sse import encode_event
from dripline_server.dialects import Position
from dripline_server.run_log import Batch


class Translator(Protocol):
    """Says a run's events in another vocabulary."""

    @property
    def headers(self) -> Mapping[str, str]:
        """See `Dialect.headers`."""
        ...

    def translate(self, seq: int, event: Event) -> Iterable[bytes]:
        """Return what the next event becomes: the data of each frame, on one line."""
        ...


class TranslatedDialect:
    """Frames of a translator's making.

    Args:
        translator: A new one, which has seen no event.
        after: Where the reader is.
    """

    read_after = 0

    def __init__(self, translator: Translator, after: Position) -> None:
        self.headers: Mapping[str, str] = translator.headers
        self._translator = translator
        self._after = after

    def frames(self, batch: Batch) -> bytes:
        """See `Dialect.frames`."""
        frames: list[bytes] = []
        for seq, payload in enumerate(batch.payloads, start=batch.first):
            event = from_json(payload)
            if event is None:
                continue  # of a newer version of dripline, in another process
            data = list(self._translator.translate(seq, event))
            if seq < self._after.seq:
                continue
            skip = 0
            if seq == self._after.seq:
                skip = self._after.part or len(data)
            for part, one in enumerate(data[skip:], start=skip + 1):
                event_id = Position(seq, part if part < len(data) else 0)
                frames.append(encode_event(one, id=str(event_id)))
        return b"".join(frames)


def public_name(run_id: str) -> str:
    """Return a name for a run that can be made part of ids: nobody can read or stop it by that."""
    return blake2b(run_id.encode(), digest_size=8).hexdigest()
