"""A fixed port for the servers of a test run, for clients that are created only once."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class FixedPort:
    """Reserves a free port of 127.0.0.1.

    Attributes:
        url: The address of the server that listens on the port.
    """

    def __init__(self) -> None:
        self._in_use = False
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self._port: int = self._holder.getsockname()[1]
        self.url: str = f"http://127.0.0.1:{self._port}"
        if sys.platform != "linux":
            # Only Linux lets a server listen on the port while it is bound here too.
            self._holder.close()

    @contextmanager
    def port(self) -> Iterator[int]:
        """Yield a port to listen on: this one, or 0 (any) while another server uses it."""
        if self._in_use:
            yield 0
            return
        self._in_use = True
        try:
            yield self._port
        finally:
            self._in_use = False

    def close(self) -> None:
        """Release the port."""
        self._holder.close()
