"""The commands `dripline pull`, `rm` and `ps`: get and delete models, and list those in memory."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import orjson

from dripline.chat.client import ChatClient, ModelInfo
from dripline.cli.client_settings import load
from dripline.cli.signals import run_loop
from dripline.events import Status
from dripline.visible import visible, visible_on

# Without a bar, a line is printed at each of these shares of a model.
STEP = 0.1


class Bar(Protocol):
    """Shows how far a pull is."""

    def show(self, status: Status) -> None:
        """Show a status of the pull."""


def pull(options: argparse.Namespace) -> int:
    """Get a model, and return the exit code."""
    paused = "dripline: paused; the same command goes on from there"
    try:
        completed = run_loop(_pull(options))
    except KeyboardInterrupt:
        print(f"\n{paused}", file=sys.stderr)
        raise
    if not completed:
        print(paused, file=sys.stderr)
        return 1
    print(visible_on(sys.stdout, f"{options.name} is there."))
    return 0


async def _pull(options: argparse.Namespace) -> bool:
    """Return whether the model is there; otherwise somebody else has stopped the pull."""
    with _bar(options.name) as bar:
        async with _client(options) as client, client.pull(options.name) as stream:
            async for event in stream:
                if isinstance(event, Status):
                    bar.show(event)
    return stream.answer.end is not None and stream.answer.end.status == "completed"


def remove(options: argparse.Namespace) -> int:
    """Delete models, and return the exit code."""
    run_loop(_remove(options))
    return 0


async def _remove(options: argparse.Namespace) -> None:
    async with _client(options) as client:
        for name in options.names:
            await client.delete_model(name)
            print(visible_on(sys.stdout, f"{name} is deleted."))


def in_memory(options: argparse.Namespace) -> int:
    """Print the models that are in memory, and return the exit code."""
    for model in run_loop(_models(options)):
        if model.loaded and options.json:
            print(orjson.dumps(model).decode())
        elif model.loaded:
            context = f"{model.context_length:,} tokens" if model.context_length else ""
            left = _time_left(model.loaded_until)
            row = f"{model.name:<32} {model.size / 1e9:>6.1f} GB  {context:<15}  {left}"
            print(visible_on(sys.stdout, row.rstrip()))
    return 0


async def _models(options: argparse.Namespace) -> list[ModelInfo]:
    async with _client(options) as client:
        return await client.models()


def _client(options: argparse.Namespace) -> ChatClient:
    return ChatClient(options.server, load().token, middlewares=options.middlewares)


def _time_left(until: float) -> str:
    """Say how long a model stays in memory; "" if Ollama does not say."""
    left = until - time.time()
    if until == 0:
        return ""
    if left > 100 * 365 * 86_400:
        return "for ever"
    return f"for {left / 60:.0f} min" if left >= 90 else f"for {max(left, 0):.0f} s"


class _Lines:
    """Prints a line at each new phase, and at each `STEP` of the model."""

    def __init__(self, name: str) -> None:
        self._name = visible(name)
        self._said = ("", -1)

    def show(self, status: Status) -> None:
        """See `Bar`."""
        completed, total = status.completed or 0, status.total or 0
        steps = int(completed / total / STEP) if total else 0
        if (status.phase, steps) != self._said:
            self._said = (status.phase, steps)
            far = f", {completed / total:.0%} of {total / 1e9:.1f} GB" if total else ""
            print(f"{visible(status.phase)} {self._name}{far}", flush=True)


def _bar(name: str) -> AbstractContextManager[Bar]:
    """Return a progress bar on a terminal that has `rich`, and plain lines elsewhere."""
    if sys.stderr.isatty():
        try:
            from dripline.cli.terminal.pull_bar import PullBar
        except ModuleNotFoundError:
            pass  # the extra [terminal] is not installed
        else:
            return PullBar(name)
    return nullcontext(_Lines(name))
