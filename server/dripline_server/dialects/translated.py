"""A dialect whose frames depend on the events before them.

Only a translator that has read the run from its beginning knows which message or tool call is open.
So when a reader resumes, the run is translated again from its beginning, and the frames that the
reader has are skipped. The same events always become the same frames, so nothing is lost or sent
twice.
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
    """Translates a run's events into another protocol."""

    @property
    def headers(self) -> Mapping[str, str]:
        """See `Dialect.headers`."""
        ...

    def translate(self, seq: int, event: Event) -> Iterable[bytes]:
        """Translate the next event: return the data of each of its frames, on one line."""
        ...


class TranslatedDialect:
    """Writes the frames that a translator returns.

    Args:
        translator: A new translator, which has seen no event.
        after: The position of the reader.
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
                continue  # an event of a newer version of dripline in another process
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
    """Return a public name for a run. It gives nobody the right to read or stop the run."""
    return blake2b(run_id.encode(), digest_size=8).hexdigest()
