"""The servers that are compared, and how each is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from tests.benchmarks.processes import Running, running, until_listening
from tests.support.free_port import free_port

BIN = Path(sys.executable).parent
PEERS = Path(__file__).parent / "peers"
MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens, in front of a load source.

    Attributes:
        url: Where chats are posted.
        process: What it costs; None for no relay at all.
    """

    url: str
    process: Running | None

    def body(self, model: str) -> dict[str, object]:
        """Return what to post; for dripline alone, it says to stop when the reader has gone."""
        return {"model": model, "messages": MESSAGES, "on_disconnect": "stop"}

    def cpu(self) -> float:
        """Return its CPU seconds, user and system."""
        return self.process.cpu() if self.process else 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server.

    Attributes:
        name: For tables.
        needs: Python packages that it is made of.
        program: What has to be on the path.
        raw: Whether it relays bytes without looking at them, and makes no SSE of them.
    """

    name: str
    needs: Sequence[str] = ()
    program: str = ""
    raw: bool = False

    @property
    def installed(self) -> bool:
        """Whether it can be started here."""
        return all(find_spec(name.replace("-", "_")) for name in self.needs) and (
            not self.program or shutil.which(self.program) is not None
        )

    @property
    def version(self) -> str:
        """What it is made of, with versions."""
        return _program_version(self.program) or ", ".join(map(package_version, self.needs))


DRIPLINE = Kind("dripline", ("dripline", "aiohttp", "orjson", "uvloop"))
FASTAPI = Kind("FastAPI + ollama", ("fastapi", "uvicorn", "ollama", "httpx", "httptools"))
SSE_STARLETTE = Kind("sse-starlette + ollama", ("sse-starlette", "fastapi", "uvicorn", "ollama"))
AIOHTTP_SSE = Kind("aiohttp-sse + ollama", ("aiohttp-sse", "aiohttp", "ollama"))
GO = Kind("Go net/http", program="go")
NGINX = Kind("nginx, raw bytes", program="nginx", raw=True)
NONE = Kind("no relay", raw=True)
KINDS = (DRIPLINE, FASTAPI, SSE_STARLETTE, AIOHTTP_SSE, GO, NGINX, NONE)


def package_version(name: str) -> str:
    """Return a package's name and version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} (none)"


def _program_version(program: str) -> str:
    if not program:
        return ""
    arguments = {"go": ["version"], "nginx": ["-v"], "redis-server": ["--version"]}[program]
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    words = (done.stdout + done.stderr).strip().removeprefix("go version ")
    return words.removeprefix("nginx version: ")


@asynccontextmanager
async def serving(kind: Kind, ollama: str, *flags: str) -> AsyncIterator[Server]:
    """Run a server in front of `ollama`; `flags` are dripline's."""
    if kind is NONE:
        yield Server(f"{ollama}/api/chat", None)
        return
    port = free_port()
    environment = {**os.environ, "OLLAMA_HOST": ollama}
    path = "/api/chat" if kind.raw else "/chat"
    with tempfile.TemporaryDirectory() as folder:
        command = _command(kind, port, ollama, Path(folder), flags)
        async with running(command, environment=environment) as process:
            await until_listening(port)
            yield Server(f"http://127.0.0.1:{port}{path}", process)


def _command(
    kind: Kind, port: int, ollama: str, folder: Path, flags: Sequence[str]
) -> list[str | Path]:
    uvicorn: list[str | Path] = [
        BIN / "uvicorn",
        "--app-dir",
        PEERS,
        "--port",
        str(port),
        "--log-level",
        "warning",
    ]
    uvicorn += ["--loop", "uvloop", "--http", "httptools"]
    if kind is DRIPLINE:
        return [BIN / "dripline-server", "--port", str(port), "--ollama", ollama, *flags]
    if kind is FASTAPI:
        return [*uvicorn, "fastapi_ollama:app"]
    if kind is SSE_STARLETTE:
        return [*uvicorn, "sse_starlette_ollama:app"]
    if kind is AIOHTTP_SSE:
        return [sys.executable, PEERS / "aiohttp_sse_ollama.py", str(port)]
    if kind is GO:
        subprocess.run(["go", "build", "-o", folder / "relay", PEERS / "relay.go"], check=True)
        return [folder / "relay", str(port)]
    text = (PEERS / "nginx.conf").read_text().replace("PORT", str(port)).replace("OLLAMA", ollama)
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
