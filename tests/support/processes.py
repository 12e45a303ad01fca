"""Commands as real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

BIN = Path(sys.executable).parent
EMPTY: Mapping[str, str] = {}


@asynccontextmanager
async def command(
    name: str,
    *arguments: str,
    stdin: int = DEVNULL,
    stderr: int | None = PIPE,
    environment: Mapping[str, str] = EMPTY,
    folder: Path | None = None,
) -> AsyncIterator[Process]:
    """Start one of the project's commands, or any by its path; it is killed if it is still there.

    It runs in `folder`. With `stderr=None` what it logs is shown where the test fails.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("DRIPLINE_", "OLLAMA_"))}
    process = await asyncio.create_subprocess_exec(
        BIN / name,
        *arguments,
        stdin=stdin,
        stdout=PIPE,
        stderr=stderr,
        env={**clean, **environment},
        cwd=folder,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def run(
    name: str,
    *arguments: str,
    stdin: bytes = b"",
    environment: Mapping[str, str] = EMPTY,
    folder: Path | None = None,
) -> tuple[int | None, str, str]:
    """Run a command to its end; return its exit code, standard output and standard error."""
    async with command(
        name, *arguments, stdin=PIPE, environment=environment, folder=folder
    ) as process:
        out, err = await process.communicate(stdin)
        return process.returncode, out.decode(), err.decode()


async def run_python(code: str) -> tuple[int | None, str, str]:
    """Run Python code in a process of its own; return what `run` returns."""
    return await run("python", "-c", code)


async def line(process: Process) -> str:
    """Return the next line of a process's standard output."""
    assert process.stdout
    return (await process.stdout.readline()).decode().rstrip("\n")
