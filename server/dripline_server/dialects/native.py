"""dripline's own dialect: one frame an event, `id` is its `seq`, `data` its JSON."""

from __future__ import annotations

from dripline_server.run_log import Batch


def frames(batch: Batch) -> bytes:
    """Return the batch's frames, joined: cost follows reads and not tokens."""
    seq = batch.first - 1
    return b"".join(
        [b"id: %d\ndata: %b\n\n" % (seq := seq + 1, payload) for payload in batch.payloads]
    )
