"""The command `dripline fake-ollama`, which runs the fake Ollama on its own."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from dripline.cli import help_texts
from dripline.cli.arguments import host, port
from dripline.cli.recording_commands import Subparsers

if TYPE_CHECKING:
    from dripline.testing import FakeOllama

DEFAULT_PORT = 11435  # a copy of the fake Ollama's constant, because importing that is slow


def add_fake_command(commands: Subparsers) -> None:
    """Add the command to those of `dripline`."""
    fake = commands.add_parser(
        "fake-ollama",
        help="run a fake Ollama with demo models",
        description=help_texts.FAKE,
        epilog=help_texts.FAKE_EXAMPLES,
    )
    fake.add_argument(
        "--host", type=host, default="127.0.0.1", help="address to listen on [127.0.0.1]"
    )
    fake.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        help=f"port to listen on; 0 chooses a free one [{DEFAULT_PORT}]",
    )
    fake.add_argument(
        "--ollama-version",
        metavar="VERSION",
        default="",
        help="the Ollama version to imitate, such as 0.25.0 [0.33.0]",
    )
    fake.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from dripline.cli.signals import run_loop
    from dripline.testing import FakeOllama, demo_models

    version = {"version": options.ollama_version} if options.ollama_version else {}
    try:
        ollama = FakeOllama(host=options.host, port=options.port, registry=demo_models(), **version)
    except ValueError as error:
        print(f"dripline fake-ollama: {error}", file=sys.stderr)
        return 2
    run_loop(_serve(ollama))
    return 0


async def _serve(ollama: FakeOllama) -> None:
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ollama:
        print(f"a fake Ollama is at {ollama.url}", flush=True)
        await stop.wait()
