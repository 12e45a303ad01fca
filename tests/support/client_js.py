"""The JavaScript client as its users have it: packed, and installed into a project of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.programs import ROOT, require_npm_packages, require_program

Json = dict[str, Any]

PACKAGE = ROOT / "packages/client-js"
PROGRAMS = ROOT / "tests/js/client"


def pack(folder: Path) -> Path:
    """Build the package and return its tarball, as `make npm-pack` does."""
    require_npm_packages("tests/js")
    built = folder / "built"
    subprocess.run([require_program("node"), PACKAGE / "build.mjs", built], check=True)
    npm("pack", "--pack-destination", folder, cwd=built)
    (tarball,) = folder.glob("*.tgz")
    return tarball


def install(tarball: Path, folder: Path) -> Path:
    """Install the tarball into an empty project, beside the programs that use it."""
    shutil.copytree(PROGRAMS, folder)
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    npm("install", tarball, cwd=folder)
    return folder


def npm(*arguments: str | Path, cwd: Path) -> None:
    """Have npm do something, without the network."""
    quiet = ("--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run(
        [require_program("npm"), *arguments, *quiet], cwd=cwd, check=True, capture_output=True
    )


class ClientJs:
    """A process of Node.js that chats with the installed package, one chat after the other.

    It has nothing that Node.js 18 lacks.
    """

    def __init__(self, project: Path) -> None:
        self._process = subprocess.Popen(
            [require_program("node"), "--import", "./as_node_18.mjs", "driver.mjs"],
            cwd=project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    async def read(self, url: str, messages: Any = "Hi", **parameters: Any) -> ReadByJs:
        """Read a chat, or a run that is named by `run`, to its end or as far as it is told.

        Args:
            url: The server's.
            messages: The chat's.
            parameters: `fields` of the chat and of its stream; `options` of the client; `after` so
                many events, what the loop `does`: "break", "throw", "abort", "stop".
        """
        self.begin(url, messages=messages, **parameters)
        return await self.outcome()

    def begin(self, url: str, **parameters: Any) -> None:
        """Begin to read a chat."""
        assert self._process.stdin
        line = json.dumps({"url": url, **parameters})
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    async def outcome(self) -> ReadByJs:
        """What came of the chat, once it is over."""
        return ReadByJs(**await self.said())

    async def said(self) -> Json:
        """The next thing that is told."""
        assert self._process.stdout
        try:
            line = await asyncio.to_thread(self._process.stdout.readline)
        except BaseException:
            self._process.kill()  # else the thread would wait for ever
            raise
        said: Json = json.loads(line)
        return said


@dataclass(frozen=True, slots=True)
class ReadByJs:
    """What a loop over a stream came to.

    Attributes:
        events: The events, in their JSON form.
        error: What iterating threw: `name`, `code`, `message`, `retryable` and more; None where it
            came to its end.
        drops: What `onDrop` was told.
        run: The run's id.
        last: The stream's last event ID.
        reconnects: How often it has resumed.
        text: The answer's text.
        unhandled: Rejections that nobody handled.
    """

    events: list[Json]
    error: Json | None
    drops: list[str]
    unhandled: list[str]
    run: str = ""
    last: str = ""
    reconnects: int = 0
    text: str = ""

    @property
    def types(self) -> list[str]:
        """The events' types."""
        return [event["type"] for event in self.events]

    @property
    def code(self) -> str:
        """The error's code; "" where there is none."""
        return self.error["code"] if self.error else ""
