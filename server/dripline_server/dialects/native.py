"""dripline's own dialect: one frame for each event, with its `seq` as `id` and JSON as `data`."""

from __future__ import annotations

from collections.abc import Mapping

from dripline.sse import encode_numbered
from dripline_server.run_log import Batch


class NativeDialect:
    """Sends the log's JSON unchanged.

    Args:
        after: The `seq` of the last event that the reader has seen.
    """

    headers: Mapping[str, str] = {}

    def __init__(self, after: int = 0) -> None:
        self.read_after = after

    def frames(self, batch: Batch) -> bytes:
        """See `Dialect.frames`."""
        return encode_numbered(batch.first, batch.payloads)
