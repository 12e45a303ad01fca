"""`dripline-server token`: adds, lists and removes named tokens."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dripline_server import settings as options
from dripline_server.settings import BadSetting

if TYPE_CHECKING:
    from dripline_server.callers import Caller

T = TypeVar("T")

_EPILOG = """\
examples:
  dripline-server token add alice --tokens tokens.toml
  dripline-server token list --tokens tokens.toml
  dripline-server token remove alice --tokens tokens.toml
"""
_ADD_EPILOG = """\
examples:
  dripline-server token add alice --tokens tokens.toml
  dripline-server token add ci --tokens tokens.toml --max-runs 2
"""
_LIST_EPILOG = """\
examples:
  dripline-server token add alice --tokens tokens.toml
  dripline-server token list --tokens tokens.toml
"""
_REMOVE_EPILOG = """\
examples:
  dripline-server token add alice --tokens tokens.toml
  dripline-server token remove alice --tokens tokens.toml
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `token` and its commands to those of `dripline-server`."""
    token = commands.add_parser(
        "token",
        help="add, list and remove named tokens",
        prog="dripline-server token",
        description="Add, list and remove the tokens in the file of --tokens.\n"
        "A running server reads the file again when it changes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = token.add_subparsers(dest="token_action", metavar="COMMAND", required=True)
    add = _action(actions, "add", "make a token and print it, once", _ADD_EPILOG)
    add.add_argument("token_name", metavar="NAME", help="Who gets the token.")
    add.add_argument(
        "--max-runs",
        dest="token_max_runs",
        metavar="NUMBER",
        help="How many chats may run at the same time with this token.",
    )
    add.add_argument(
        "--models",
        dest="token_models",
        metavar="NAMES",
        help="The only models that it may use, separated by commas; * is any text: llama3.2,qwen3:*"
        " [all]",
    )
    add.add_argument(
        "--allow-model-changes",
        dest="token_allow_model_changes",
        action="store_true",
        help="It may pull, create, copy and delete models.",
    )
    _action(actions, "list", "list the names and their limits", _LIST_EPILOG)
    remove = _action(actions, "remove", "remove a token, and stop its chats", _REMOVE_EPILOG)
    remove.add_argument("token_name", metavar="NAME", help="Whose token to remove.")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    meaning: str,
    epilog: str,
) -> argparse.ArgumentParser:
    action = actions.add_parser(
        name,
        help=meaning,
        description=f"{meaning[0].upper()}{meaning[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    action.add_argument(
        "--tokens",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="The file of tokens. [DRIPLINE_TOKENS]",
    )
    return action


def run(flags: Mapping[str, Any]) -> None:
    """Run one of the commands.

    Raises:
        BadSetting: No file is named, or the file or the name cannot be used.
        OSError: The file cannot be written.
    """
    from dripline_server import token_file  # only here: `--help` does not need it
    from dripline_server.callers import Caller

    path = Path(options.load_tokens({k: v for k, v in flags.items() if k == "tokens"}))
    try:
        match flags["token_action"]:
            case "add":
                name = token_file.check_name(flags["token_name"])
                caller = Caller(
                    name,
                    _parsed("--max-runs", flags["token_max_runs"], options.count),
                    _parsed("--models", flags["token_models"], _some_names) or (),
                    flags["token_allow_model_changes"],
                )
                token = token_file.add(path, caller)
                print(token, flush=True)
                print(f"Give it to {name}. It is not shown again.", file=sys.stderr)
            case "list":
                _list(token_file.read(path).values(), path)
            case _:
                token_file.remove(path, flags["token_name"])
                print(f"Removed {flags['token_name']}.")
    except ValueError as error:
        raise BadSetting(f"token {flags['token_action']}: {error}") from error


def _parsed(flag: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise ValueError(f"{flag}: {text!r}: {error}") from None


def _some_names(text: str) -> tuple[str, ...]:
    """Return the names in a list; an empty one, perhaps of an unset variable, is not "all"."""
    if not (found := options.names(text)):
        raise ValueError("name at least one model")
    return found


def _list(callers: Iterable[Caller], path: Path) -> None:
    rows = [("NAME", "MAX RUNS", "MODELS", "MODEL CHANGES")]
    for caller in sorted(callers, key=lambda caller: caller.name):
        runs = str(caller.max_runs or "")
        models = ",".join(caller.models) or "all"
        rows.append((caller.name, runs, models, "yes" if caller.allow_model_changes else ""))
    if len(rows) == 1:
        print(f"{path} has no tokens.", file=sys.stderr)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
