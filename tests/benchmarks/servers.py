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
# Its requirements clash with the others'; `make bench-litellm` brings it.
LITELLM_BIN = Path(__file__).parents[2] / ".venv-bench-litellm" / "bin"
MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of server.

    Attributes:
        name: For tables.
        needs: Python packages that it is made of.
        program: What has to be there: a command's name, or its path.
        path: Where chats are posted.
        fields: What is posted beside the model and the messages.
        environment: Variables that it is started with.
    """

    name: str
    needs: Sequence[str] = ()
    program: str = ""
    path: str = "/chat"
    fields: tuple[tuple[str, object], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

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


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens, in front of a load source.

    Attributes:
        kind: What it is.
        url: Where chats are posted.
        process: What it costs; None for no relay at all.
    """

    kind: Kind
    url: str
    process: Running | None

    def body(self, model: str) -> dict[str, object]:
        """Return what to post."""
        return {"model": model, "messages": MESSAGES, **dict(self.kind.fields)}

    def cpu(self) -> float:
        """Return its CPU seconds, user and system."""
        return self.process.cpu() if self.process else 0.0


DRIPLINE = Kind(
    "dripline",
    ("dripline", "aiohttp", "orjson", "uvloop"),
    fields=(("on_disconnect", "stop"),),  # at once, when the reader has gone
)
# dripline passing Ollama's own API on, with access control, limits and figures.
RELAY = Kind("dripline's relay", DRIPLINE.needs, path="/api/chat")
FASTAPI = Kind("FastAPI + ollama", ("fastapi", "uvicorn", "ollama", "httpx", "httptools"))
SSE_STARLETTE = Kind("sse-starlette + ollama", ("sse-starlette", "fastapi", "uvicorn", "ollama"))
AIOHTTP_SSE = Kind("aiohttp-sse + ollama", ("aiohttp-sse", "aiohttp", "ollama"))
LITELLM = Kind(
    "LiteLLM proxy",
    program=str(LITELLM_BIN / "litellm"),
    path="/v1/chat/completions",
    fields=(("stream", True),),
)
# With one processor's work at a time, as dripline has; and with two, which cost it a token more.
GO = Kind("Go net/http, GOMAXPROCS=1", program="go", environment=(("GOMAXPROCS", "1"),))
GO_TWO = Kind("Go net/http, GOMAXPROCS=2", program="go", environment=(("GOMAXPROCS", "2"),))
FLOOR = Kind("uvloop floor, as many bytes", ("uvloop",))
# These two relay bytes without looking at them, and make no SSE of them.
NGINX = Kind("nginx, raw bytes", program="nginx", path="/api/chat")
NONE = Kind("no relay", path="/api/chat")
KINDS = (
    DRIPLINE,
    RELAY,
    FASTAPI,
    SSE_STARLETTE,
    AIOHTTP_SSE,
    LITELLM,
    GO,
    GO_TWO,
    NGINX,
    FLOOR,
    NONE,
)

_LITELLM_VERSION = "from importlib.metadata import version; print('litellm', version('litellm'))"
_VERSION_COMMANDS: dict[str, list[str | Path]] = {
    GO.program: ["go", "version"],
    NGINX.program: ["nginx", "-v"],
    LITELLM.program: [LITELLM_BIN / "python", "-c", _LITELLM_VERSION],
    "redis-server": ["redis-server", "--version"],
}


def package_version(name: str) -> str:
    """Return a package's name and version."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} (none)"


def _program_version(program: str) -> str:
    if not program:
        return ""
    done = subprocess.run(_VERSION_COMMANDS[program], capture_output=True, text=True, check=True)
    words = (done.stdout + done.stderr).strip().removeprefix("go version ")
    return words.removeprefix("nginx version: ")


@asynccontextmanager
async def serving(kind: Kind, ollama: str, *flags: str) -> AsyncIterator[Server]:
    """Run a server in front of `ollama`; `flags` are dripline's."""
    if kind is NONE:
        yield Server(kind, f"{ollama}{kind.path}", None)
        return
    port = free_port()
    environment = {
        **os.environ,
        "OLLAMA_HOST": ollama,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # it would ask the network for prices
        **dict(kind.environment),
    }
    with tempfile.TemporaryDirectory() as folder:
        command = _command(kind, port, ollama, Path(folder), flags)
        async with running(command, environment=environment) as process:
            await until_listening(port)
            yield Server(kind, f"http://127.0.0.1:{port}{kind.path}", process)


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
    if kind in (DRIPLINE, RELAY):
        return [BIN / "dripline-server", "--port", str(port), "--ollama", ollama, *flags]
    if kind is FASTAPI:
        return [*uvicorn, "fastapi_ollama:app"]
    if kind is SSE_STARLETTE:
        return [*uvicorn, "sse_starlette_ollama:app"]
    if kind is AIOHTTP_SSE:
        return [sys.executable, PEERS / "aiohttp_sse_ollama.py", str(port)]
    if kind is FLOOR:
        return [sys.executable, PEERS / "uvloop_floor.py", str(port)]
    if kind in (GO, GO_TWO):
        subprocess.run(["go", "build", "-o", folder / "relay", PEERS / "relay.go"], check=True)
        return [folder / "relay", str(port)]
    if kind is LITELLM:
        config = _config("litellm.yaml", port, ollama, folder)
        return [kind.program, "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    config = _config("nginx.conf", port, ollama, folder)
    return ["nginx", "-p", folder, "-e", "stderr", "-c", config]


def _config(name: str, port: int, ollama: str, folder: Path) -> Path:
    """Write a peer's configuration."""
    text = (PEERS / name).read_text().replace("PORT", str(port)).replace("OLLAMA", ollama)
    config = folder / name
    config.write_text(text)
    return config
