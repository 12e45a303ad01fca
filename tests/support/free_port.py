"""Ports for programs that have to be told theirs, and for those that come back to it."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

# Below what systems give to outgoing connections and to whoever asks for any port (Linux: from
# 32768 on): one of those could be taken between this and its use, or while its program is away.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that nobody gets who did not ask."""
    while True:
        # Not `random`, which tests seed alike in several processes.
        port = secrets.choice(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
