"""The `dripline-server` command: serve, run the fake Ollama alone, or change the tokens."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from dripline_server import settings as options
from dripline_server import token_cli
from dripline_server.service_manager import ServiceManager
from dripline_server.settings import BadSetting, Settings

logger = logging.getLogger(__name__)

# The signals of a supervisor, a terminal or a user; Windows has no SIGHUP.
_STOPPING = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

# Seconds for the remaining tasks to end after the last chat.
LEAVE_TIME = 3.0

_EPILOG = """\
environment:
  Each flag has a variable, and goes before it: --stall-timeout is
  DRIPLINE_STALL_TIMEOUT. DRIPLINE_TOKEN, which has no flag, is the token that
  requests must carry.

examples:
  dripline-server
  dripline-server --port 8080 --ollama http://127.0.0.1:11434 --model mistral
"""
_FAKE_EPILOG = """\
examples:
  dripline-server fake-ollama --port 11435
  dripline-server --ollama http://127.0.0.1:11435
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 could not listen, 2 bad usage."""
    parser = _parser()
    flags = vars(parser.parse_args(arguments))
    command = flags.pop("command", None)
    try:
        if command == "fake-ollama":
            if given := [name for name in flags if not name.startswith("fake_")]:
                parser.error(f"--{given[0].replace('_', '-')}: fake-ollama's flags go after it")
            return _run(_serve_fake(flags["fake_host"], flags["fake_port"]))
        if command == "token":
            if given := [name for name in flags if not name.startswith("token")]:
                parser.error(f"--{given[0].replace('_', '-')}: is for serving, not for token")
            token_cli.run(flags)
            return 0
        settings = options.load(flags)
        from dripline_server import access_log

        access_log.configure(settings.log_level)
        _allow_files()
        _spare_collector()
        return _run(_serve(settings))
    except BadSetting as error:
        parser.error(str(error))
    except OSError as error:
        print(f"dripline-server: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dripline-server",
        usage="%(prog)s [options]\n       %(prog)s fake-ollama [options]\n"
        "       %(prog)s token add|list|remove [options]",
        description="Serve Ollama's chats over Server-Sent Events, with a page at /.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dripline {version('dripline')}")
    options.add_flags(parser)
    commands = parser.add_subparsers(title="instead of serving", dest="command", metavar="COMMAND")
    _add_fake(commands)
    token_cli.add_parser(commands)
    return parser


def _add_fake(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fake = commands.add_parser(
        "fake-ollama",
        help="run the built-in fake Ollama alone",
        prog="dripline-server fake-ollama",
        description="Run the built-in fake Ollama alone, with its demo models, until Ctrl-C.",
        epilog=_FAKE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fake.add_argument(
        "--host",
        dest="fake_host",
        metavar="HOST",
        default="127.0.0.1",
        help="Address to listen on. [127.0.0.1]",
    )
    fake.add_argument(
        "--port",
        dest="fake_port",
        metavar="PORT",
        type=options.port_number,
        default=11435,
        help="Port to listen on; 0 picks a free one. [11435]",
    )


def _run(main: Coroutine[Any, Any, None]) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        code = 1
        try:
            runner.run(main)
            code = 0
        finally:
            # A task may never end, such as a tool that ignores its cancellation. Closing the
            # runner would wait for it for ever.
            left = threading.Timer(LEAVE_TIME, _leave, (runner.get_loop(), code))
            left.daemon = True
            left.start()
    left.cancel()
    return code


def _leave(loop: asyncio.AbstractEventLoop, code: int) -> None:
    """End the process, and log which tasks and threads are still running."""
    with suppress(RuntimeError):  # a task may be created meanwhile
        names = sorted(task.get_name() for task in asyncio.all_tasks(loop))
        threads = [one.name for one in threading.enumerate() if not one.daemon]
        logger.error("the server exits while these still run: %s", ", ".join([*names, *threads]))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _allow_files() -> None:
    """Raise the soft limit of open files to the hard one: each chat needs two sockets."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS rejects an unlimited soft limit, although it reports an unlimited hard one.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spare_collector() -> None:
    """Make the cycle collector run less often, and skip all imported objects.

    One read from a fast model creates thousands of short-lived dicts. With Python's threshold of
    700, collecting them takes a quarter of the CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop if it is installed; it does not exist for Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(settings: Settings) -> None:
    from dripline_server.app import serve  # slow to import, and `--help` does not need it

    stop, hurry = _stop_signals()
    manager = ServiceManager(options.service_manager())
    async with serve(settings) as server, manager.notified():
        _say(f"dripline is at {server.url}")
        if server.state.demo:
            _say(server.state.demo)
        await stop.wait()
        manager.stopping()
        runs, limit = server.state.runs, settings.drain_time
        if runs.active:
            _say(
                f"waiting for {runs.active} chat{'s' * (runs.active != 1)} to end,"
                f" at most {limit:g} s; a second signal stops at once"
            )
        await runs.drain(limit, hurry)


def _say(text: str) -> None:
    """Print a line at once; keep serving even if nobody reads the output."""
    with suppress(BrokenPipeError):
        print(text, flush=True)


async def _serve_fake(host: str, port: int) -> None:
    from dripline.testing import FakeOllama, demo_models

    stop, _ = _stop_signals()
    async with FakeOllama(host=host, port=port, registry=demo_models()) as fake:
        _say(f"a fake Ollama is at {fake.url}")
        await stop.wait()


def _stop_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return the events that the first Ctrl-C, SIGTERM or SIGHUP sets, and the second."""
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def caught() -> None:
        (second if first.is_set() else first).set()

    for number in _STOPPING:
        if signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: the server should outlive its terminal
        try:
            loop.add_signal_handler(number, caught)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(caught))
    return first, second
