"""A real Redis, which can be killed, frozen and started again."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.free_port import free_port
from tests.support.programs import require_program


class RedisServer:
    """A `redis-server` on a free port, which stays the same when it is started again.

    Args:
        program: Its path.
        folder: Where it keeps what it keeps.
        options: Further options, such as "--appendonly", "yes". Without any, nothing is kept.
    """

    def __init__(self, program: str, folder: str, options: tuple[str, ...]) -> None:
        self.port = free_port()
        self._command = [program, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", folder, "--save", "", *options]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections: a twentieth of a second."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        said = ""
        for line in self._process.stdout:
            if "Ready to accept connections" in line:
                return
            said += line
        with self._process:
            raise RuntimeError(f"redis-server does not start:\n{said}")

    def kill(self) -> None:
        """End it as a crash would; connections break."""
        self._process.kill()
        with self._process:
            self._process.wait()

    def freeze(self) -> None:
        """Have it fall silent, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Run a Redis; skips or fails where it is not installed."""
    program = require_program("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, folder, options)
        server.start()
        try:
            yield server
        finally:
            server.kill()
