"""The history of typed messages: a file in the user's state folder that only the user can read."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_state_path
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

_MAX_BYTES = 1024 * 1024
# prompt_toolkit writes an empty line and a date before each entry.
_ENTRY = b"\n# "


def history_path() -> Path:
    """Return the path of the history: below XDG_STATE_HOME, or in the system's usual place."""
    return user_state_path("dripline", appauthor=False) / "history"


def open_history(path: Path) -> tuple[History, str]:
    """Return the history, and the reason if it cannot be saved; "" if it can."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        path.chmod(0o600)
        _forget_oldest(path)
    except OSError as error:
        return InMemoryHistory(), f"your input history cannot be saved: {error}"
    return FileHistory(path), ""


def _forget_oldest(path: Path) -> None:
    """Drop the older half of a file that has become too long."""
    if path.stat().st_size <= _MAX_BYTES:
        return
    content = path.read_bytes()[-_MAX_BYTES // 2 :]
    path.write_bytes(content[max(0, content.find(_ENTRY)) :])
