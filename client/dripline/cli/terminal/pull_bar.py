"""The progress bar of `dripline pull`, drawn by rich."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from dripline.events import Status
from dripline.visible import visible


class PullBar:
    """A bar on standard error, from entering to leaving the context."""

    def __init__(self, name: str) -> None:
        self._name = visible(name)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task(f"pulling {self._name}", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, status: Status) -> None:
        """Draw a status of the pull."""
        self._progress.update(
            self._task,
            description=f"{visible(status.phase)} {self._name}",
            completed=status.completed or 0,
            total=status.total or None,
        )
