"""A real terminal: tmux draws it, and tells what is on it."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.processes import BIN, EMPTY
from tests.support.programs import require_program

SECONDS = 30.0


class Terminal:
    """One program on a terminal of its own.

    Attributes:
        home: The folder in which the program runs and keeps what it keeps.
    """

    def __init__(self, tmux: str, home: Path, socket: Path) -> None:
        self.home = home
        self._tmux = tmux
        self._socket = str(socket)

    async def run(self, *arguments: str) -> str:
        """Run a tmux command; return what it prints."""
        process = await asyncio.create_subprocess_exec(
            self._tmux, "-S", self._socket, "-f", os.devnull, *arguments, stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def press(self, *keys: str) -> None:
        """Press keys, by tmux's names: "Enter", "C-c", "M-Enter"."""
        await self.run("send-keys", *keys)

    async def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys; by default Enter."""
        await self.run("send-keys", "-l", text)
        await self.press(*(keys or ("Enter",)))

    async def type_bytes(self, raw: bytes) -> None:
        """Type bytes as they are, be they text or not."""
        await self.run("send-keys", "-H", *(f"{byte:x}" for byte in raw))

    async def paste(self, text: str) -> None:
        """Paste, with brackets where the program asked for them."""
        await self.run("set-buffer", "--", text)
        await self.run("paste-buffer", "-p", "-d")

    async def resize(self, width: int, height: int) -> None:
        """Make the window another size, while the program waits and tmux has drawn all it wrote.

        What is on its way meanwhile is drawn for a size that is no more, which no program can help.
        """
        pid = int(await self.ask("pane_pid"))
        await self._stop_waiting(pid)
        try:
            drawn = await self.text(styles=True)
            while drawn != (drawn := await self.text(styles=True)):
                pass
            await self.run("resize-window", "-x", str(width), "-y", str(height))
        finally:
            os.kill(pid, signal.SIGCONT)

    async def _stop_waiting(self, pid: int) -> None:
        """Stop the program when it waits, where Linux tells, and so not within a frame."""
        state = ""
        async with asyncio.timeout(SECONDS):
            while state != "S":
                await asyncio.sleep(0.001)
                state = _state(pid)
        os.kill(pid, signal.SIGSTOP)

    async def text(self, *, styles: bool = False) -> str:
        """All that can be read, the scrollback first; lines that the terminal broke are joined."""
        return await self.run("capture-pane", "-p", "-J", "-S", "-", *(["-e"] if styles else []))

    async def ask(self, variable: str) -> str:
        """A variable of tmux's, such as "pane_title"."""
        return (await self.run("display-message", "-p", f"#{{{variable}}}")).strip()

    async def wait(self, shown: str | Callable[[str], bool]) -> str:
        """Wait until a text can be read, or what can be read is as it should be; returns it."""
        text = ""
        try:
            async with asyncio.timeout(SECONDS):
                while not (shown in text if isinstance(shown, str) else shown(text)):
                    await asyncio.sleep(0.03)
                    text = await self.text()
        except TimeoutError:
            raise AssertionError(f"never shown: {shown}\n{text}") from None
        return text

    async def exit_code(self) -> int:
        """Wait until the program has ended, and return its exit code."""
        async with asyncio.timeout(SECONDS):
            while not (code := await self.ask("pane_dead_status")):
                await asyncio.sleep(0.03)
                if await self.ask("pane_dead") == "1":
                    # tmux 3.3a misses every tenth end or so, and leaves a zombie, until it is told.
                    os.kill(int(await self.ask("pid")), signal.SIGCHLD)
        return int(code)


def _state(pid: int) -> str:
    """Return a process's state in Linux's /proc; "S", which is waiting, where there is none."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.read_text().rpartition(")")[2].split()[0] if stat.exists() else "S"


@asynccontextmanager
async def terminal(
    *arguments: str,
    width: int = 80,
    height: int = 24,
    home: Path | None = None,
    environment: Mapping[str, str] = EMPTY,
) -> AsyncIterator[Terminal]:
    """Run one of the project's commands on a terminal; it is gone at the end."""
    tmux = require_program("tmux")
    with TemporaryDirectory() as folder:
        where = home or Path(folder)
        # A socket of its own: the tmux of a terminal before, in the same home, may still be ending.
        one = Terminal(tmux, where, Path(folder) / "tmux")
        # A sure PATH: a clipboard program of the machine's would take what goes to the terminal's.
        variables = {
            "HOME": str(where),
            "XDG_STATE_HOME": str(where / "state"),
            "PATH": str(where),
            "LANG": "C.UTF-8",
            **environment,
        }
        settings = [f"{name}={value}" for name, value in variables.items()]
        unset = ["-u", "NO_COLOR"]
        command = shlex.join(
            ["/usr/bin/env", *unset, *settings, str(BIN / arguments[0]), *arguments[1:]]
        )
        size = ["-x", str(width), "-y", str(height)]
        await one.run(
            *("set-option", "-g", "history-limit", "20000", ";"),
            *("set-option", "-g", "remain-on-exit", "on", ";"),
            *("set-option", "-g", "set-clipboard", "on", ";"),
            *("set-option", "-g", "default-terminal", "tmux-256color", ";"),
            *("new-session", "-d", "-c", str(where), *size, f"exec {command}"),
        )
        try:
            yield one
        finally:
            await one.run("kill-server")
