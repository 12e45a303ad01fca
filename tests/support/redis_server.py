"""A real Redis, which can be killed, frozen and started again."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from tests.support.free_port import free_port
from tests.support.programs import require_program


class RedisServer:
    """A `redis-server` on a free port, which stays the same when it is started again.

    Args:
        program: Its path.
        folder: Where it keeps what it keeps.
        tls: Whether it speaks TLS alone.
        options: Further options, such as "--appendonly", "yes". Without any, nothing is kept but
            by `SAVE`: then it begins with that when it is started again.
    """

    ready = "Ready to accept connections"

    def __init__(
        self, program: str, folder: str, options: tuple[str, ...] = (), *, tls: bool = False
    ) -> None:
        self.port = free_port()
        ports = ("--port", "0", "--tls-port") if tls else ("--port",)
        self._command = [program, *ports, str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", folder, "--save", "", *options]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it takes connections: a twentieth of a second."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        output = self._process.stdout
        assert output
        said = ""
        for line in output:
            if self.ready in line:
                # A full pipe would stop it.
                self._drain = threading.Thread(target=output.read, daemon=True)
                self._drain.start()
                return
            said += line
        with self._process:
            raise RuntimeError(f"redis-server does not start:\n{said}")

    def kill(self) -> None:
        """End it as a crash would; connections break."""
        self._process.kill()
        self._process.wait()
        self._drain.join()
        with self._process:
            pass

    def freeze(self) -> None:
        """Have it fall silent, with its connections open."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on."""
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def redis_server(*options: str, program: str = "", tls: bool = False) -> Iterator[RedisServer]:
    """Run a Redis, or a program like it by its path; skips or fails where it is not installed."""
    program = program or require_program("redis-server")
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(program, folder, options, tls=tls)
        server.start()
        try:
            yield server
        finally:
            server.kill()


class SentinelServer(RedisServer):
    """A Sentinel, which watches one master that it calls `NAME`."""

    NAME = "dripline"
    ready = "+monitor master"

    def __init__(self, program: str, folder: str, master: RedisServer) -> None:
        super().__init__(program, folder)
        config = Path(folder) / f"sentinel-{self.port}.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor {self.NAME} 127.0.0.1 {master.port} 1\n"
            f"sentinel down-after-milliseconds {self.NAME} 300\n"
            f"sentinel failover-timeout {self.NAME} 1000\n"
        )
        self._command = [program, str(config), "--sentinel"]


@dataclass(frozen=True, slots=True)
class Replicated:
    """A master, its replica, and the Sentinel that makes the one the other if need be."""

    nodes: list[RedisServer]
    sentinel: SentinelServer

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SentinelServer.NAME}/0"

    def master(self) -> RedisServer:
        """Return the one that is the master, as Sentinel says."""
        with Redis(port=self.sentinel.port, decode_responses=True) as client:
            said: Any = client.sentinel_master(SentinelServer.NAME)
            port = int(said["port"])
        return next(node for node in self.nodes if node.port == port)

    def wait_replica(self) -> None:
        """Wait until Sentinel knows the other node for a replica that it could promote."""
        with Redis(port=self.sentinel.port, decode_responses=True) as client:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                found: Any = client.sentinel_slaves(SentinelServer.NAME)
                if any(not one["is_sdown"] and one["master-link-status"] == "ok" for one in found):
                    return
                time.sleep(0.02)
        raise RuntimeError("Sentinel sees no replica")


@contextmanager
def replicated() -> Iterator[Replicated]:
    """Run a Redis with a replica and a Sentinel; skips or fails where it is not installed."""
    program = require_program("redis-server")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        nodes: list[RedisServer] = []
        for number in range(2):
            own = Path(folder) / str(number)
            own.mkdir()
            options: tuple[str, ...] = ("--repl-diskless-sync-delay", "0")
            if nodes:
                options += ("--replicaof", f"127.0.0.1 {nodes[0].port}")
            nodes.append(RedisServer(program, str(own), options))
        sentinel = SentinelServer(program, folder, nodes[0])
        for one in (*nodes, sentinel):
            one.start()
            stack.callback(one.kill)
        found = Replicated(nodes, sentinel)
        found.wait_replica()
        yield found
