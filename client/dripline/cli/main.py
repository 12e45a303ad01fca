"""The `dripline` command: chats in the terminal and in scripts.

The code of a command is imported only when the command runs. `--help` and `--version` need neither
aiohttp nor asyncio, and are three times as fast without them.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from dripline.cli import help_texts
from dripline.cli.client_settings import load
from dripline.cli.fake_command import add_fake_command
from dripline.cli.recording_commands import CommandParser, Subparsers
from dripline.cli.recording_commands import add_commands as add_recording_commands
from dripline.default_url import DEFAULT_URL
from dripline.errors import (
    DriplineError,
    RequestError,
    RunFailed,
    ServerUnreachable,
    TransportError,
)
from dripline.visible import visible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    _complete_streams()
    options = _parser().parse_args(arguments)
    from dripline.cli.signals import unwind_on_signals

    unwind_on_signals()
    try:
        run: Callable[[argparse.Namespace], int] = options.run
        code = run(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except DriplineError as error:  # some are an OSError too
        print(f"dripline: {visible(str(error))}", file=sys.stderr)
        return _exit_code(error)
    except BrokenPipeError:
        # The reader of our output, such as `head`, has exited. The answer is already stopped.
        _drop_output()
        return 0
    except OSError as error:
        _drop_output()
        print(f"dripline: {visible(str(error))}", file=sys.stderr)
        return 4


def _complete_streams() -> None:
    """Make sure that all standard streams exist, and that every character can be printed."""
    sys.stdin = sys.stdin or os.fdopen(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = sys.stdout or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error does


def _drop_output() -> None:
    """Redirect the broken output to the null device, so that Python's flush at exit succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit_code(error: DriplineError) -> int:
    match error:
        case RunFailed():
            return 1
        case RequestError():
            return 2
        case ServerUnreachable():
            return 3
        case TransportError():
            return 4
        case _:
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dripline",
        description="Chat with Ollama through a dripline server, record streams, replay them.",
        epilog=f"{help_texts.EXAMPLES}\n{help_texts.EXIT_CODES}\n{help_texts.ENVIRONMENT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dripline {version('dripline')}")
    _add_server(parser, load().server)
    commands = parser.add_subparsers(
        required=True,
        title="commands",
        description="Run dripline COMMAND --help for details.",
        metavar="COMMAND",
        parser_class=CommandParser,
    )
    _add_ask(commands)
    _add_chat(commands)
    _add_models(commands)
    _add_run_commands(commands)
    _add_model_changes(commands)
    add_recording_commands(commands, _run_recorded)
    add_fake_command(commands)
    parser.set_defaults(middlewares=())
    return parser


def _add_server(parser: argparse.ArgumentParser, default: str) -> None:
    """Add `--server`, which is allowed before the command, and after those that use the server."""
    parser.add_argument(
        "--server",
        metavar="URL",
        default=default,
        help=f"the server's address [DRIPLINE_SERVER or {DEFAULT_URL}]",
    )


def _add_ask(commands: Subparsers) -> None:
    ask = commands.add_parser(
        "ask",
        help="ask one question and print the answer",
        description=help_texts.ASK,
        epilog=f"{help_texts.ASK_EXAMPLES}\n{help_texts.EXIT_CODES}\n{help_texts.ENVIRONMENT}",
    )
    ask.add_argument("prompt", nargs="?", default="", help="your question")
    ask.add_argument("--model", metavar="NAME", help="the model [the server's default]")
    ask.add_argument("--system", metavar="TEXT", help="instructions for the model")
    ask.add_argument("--thinking", action="store_true", help="also print the reasoning, to stderr")
    ask.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    ask.add_argument(
        "-n", "--no-stdin", action="store_true", help="do not read standard input, as in a loop"
    )
    _add_server(ask, argparse.SUPPRESS)
    ask.set_defaults(run=_ask)


def _add_chat(commands: Subparsers) -> None:
    chat = commands.add_parser(
        "chat",
        help="chat in the terminal",
        description=help_texts.CHAT,
        epilog=f"{help_texts.CHAT_EXAMPLES}\n{help_texts.EXIT_CODES}\n{help_texts.ENVIRONMENT}",
    )
    chat.add_argument(
        "--model", metavar="NAME", default="", help="the model [the server's default]"
    )
    chat.add_argument("--system", metavar="TEXT", default="", help="instructions for the model")
    _add_server(chat, argparse.SUPPRESS)
    chat.set_defaults(run=_chat)


def _add_models(commands: Subparsers) -> None:
    models = commands.add_parser(
        "models",
        help="list the server's models",
        description=help_texts.MODELS,
        epilog=f"{help_texts.MODELS_EXAMPLES}\n{help_texts.ENVIRONMENT}",
    )
    models.add_argument("--json", action="store_true", help="print each model as a line of JSON")
    _add_server(models, argparse.SUPPRESS)
    models.set_defaults(run=_models)


def _add_run_commands(commands: Subparsers) -> None:
    runs = commands.add_parser(
        "runs",
        help="list the answers that any program has asked for",
        description=help_texts.RUNS,
        epilog=f"{help_texts.RUNS_EXAMPLES}\n{help_texts.ENVIRONMENT}",
    )
    runs.add_argument("--json", action="store_true", help="print each run as a line of JSON")
    runs.set_defaults(run=_runs)
    attach = commands.add_parser(
        "attach",
        help="print the answer of a run, also of another program",
        description=help_texts.ATTACH,
        epilog=f"{help_texts.RUNS_EXAMPLES}\n{help_texts.EXIT_CODES}\n{help_texts.ENVIRONMENT}",
    )
    attach.add_argument(
        "run_id", metavar="RUN_ID", nargs="?", default="", help="the run [the newest one running]"
    )
    attach.add_argument(
        "--thinking", action="store_true", help="also print the reasoning, to stderr"
    )
    attach.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    attach.set_defaults(run=_attach)
    stop = commands.add_parser(
        "stop",
        help="stop a run, also of another program",
        description=help_texts.STOP,
        epilog=f"{help_texts.RUNS_EXAMPLES}\n{help_texts.ENVIRONMENT}",
    )
    stop.add_argument("run_id", metavar="RUN_ID", help="the run")
    stop.set_defaults(run=_stop)
    for command in (runs, attach, stop):
        _add_server(command, argparse.SUPPRESS)


def _add_model_changes(commands: Subparsers) -> None:
    pull = commands.add_parser(
        "pull",
        help="get a model",
        description=help_texts.PULL,
        epilog=f"{help_texts.PULL_EXAMPLES}\n{help_texts.EXIT_CODES}\n{help_texts.ENVIRONMENT}",
    )
    pull.add_argument("name", metavar="NAME", help="the model, such as llama3.2")
    pull.set_defaults(run=_pull)
    remove = commands.add_parser(
        "rm",
        help="delete models",
        description=help_texts.RM,
        epilog=f"{help_texts.RM_EXAMPLES}\n{help_texts.ENVIRONMENT}",
    )
    remove.add_argument("names", metavar="NAME", nargs="+", help="a model")
    remove.set_defaults(run=_remove)
    memory = commands.add_parser(
        "ps",
        help="list the models in memory",
        description=help_texts.PS,
        epilog=f"{help_texts.PS_EXAMPLES}\n{help_texts.ENVIRONMENT}",
    )
    memory.add_argument("--json", action="store_true", help="print each model as a line of JSON")
    memory.set_defaults(run=_in_memory)
    for command in (pull, remove, memory):
        _add_server(command, argparse.SUPPRESS)


def _run_recorded(arguments: list[str], recorder: Any) -> int:
    options = _parser().parse_args(arguments)
    options.middlewares = (recorder,)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _ask(options: argparse.Namespace) -> int:
    from dripline.cli.ask_actions import ask

    return ask(options)


def _chat(options: argparse.Namespace) -> int:
    try:
        # Imported here because it is slow, and only this command needs it.
        from dripline.cli.terminal.conversation import Conversation
        from dripline.cli.terminal.launch import run_chat
    except ModuleNotFoundError as missing:
        package = (missing.name or "").split(".")[0]
        print(f"dripline chat needs {package}: pip install 'dripline[terminal]'", file=sys.stderr)
        return 2
    conversation = Conversation(options.model, options.system)
    return run_chat(options.server, load().token, conversation, middlewares=options.middlewares)


def _runs(options: argparse.Namespace) -> int:
    from dripline.cli.ask_actions import runs

    return runs(options)


def _attach(options: argparse.Namespace) -> int:
    from dripline.cli.ask_actions import attach

    return attach(options)


def _stop(options: argparse.Namespace) -> int:
    from dripline.cli.ask_actions import stop

    return stop(options)


def _pull(options: argparse.Namespace) -> int:
    from dripline.cli.model_actions import pull

    return pull(options)


def _remove(options: argparse.Namespace) -> int:
    from dripline.cli.model_actions import remove

    return remove(options)


def _in_memory(options: argparse.Namespace) -> int:
    from dripline.cli.model_actions import in_memory

    return in_memory(options)


def _models(options: argparse.Namespace) -> int:
    from dripline.cli.ask_actions import models

    return models(options)
