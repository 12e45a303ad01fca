"""One port that a test run's servers listen on in turn, for clients that are made only once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class FixedPort:
    """Keeps a free port of 127.0.0.1.

    Attributes:
        url: The address of whatever listens on it.
    """

    def __init__(self) -> None:
        self._in_use = False
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self._port: int = self._holder.getsockname()[1]
        self.url: str = f"http://127.0.0.1:{self._port}"
        if sys.platform != "linux":
            # Elsewhere nobody else could listen on the port while it is bound here.
            self._holder.close()

    @contextmanager
    def port(self) -> Iterator[int]:
        """Give a port to listen on: this one, or 0 (any) while another server has it."""
        if self._in_use:
            yield 0
            return
        self._in_use = True
        try:
            yield self._port
        finally:
            self._in_use = False

    def close(self) -> None:
        """Give the port up."""
        self._holder.close()
