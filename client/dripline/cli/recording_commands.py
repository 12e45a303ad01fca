"""The options of the commands `dripline record`, `dripline replay` and `dripline show`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any

from dripline.cli import help_texts
from dripline.cli.arguments import header, host, port, seconds, speed, split, unicode_text

Subparsers = Any  # argparse has no public name for what add_subparsers returns
RunRecorded = Callable[[list[str], Any], int]

DEFAULT_PORT = 8001


class CommandParser(argparse.ArgumentParser):
    """A parser that can store the words after `--` unparsed as `command`.

    argparse alone cannot: with options before `--`, it stops collecting positional arguments.
    """

    takes_command = False

    def __init__(self, **options: Any) -> None:
        """Accept the options of `ArgumentParser`; descriptions and examples keep their lines."""
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] (it has overloads)
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """Parse the arguments before `--`."""
        words = list(sys.argv[1:] if args is None else args)
        command: list[str] = []
        if self.takes_command and "--" in words:
            at = words.index("--")
            words, command = words[:at], words[at + 1 :]
        options, unknown = super().parse_known_args(words, namespace)
        if self.takes_command:
            options.command = command
        return options, unknown


def add_commands(commands: Subparsers, run_recorded: RunRecorded) -> None:
    """Add the commands to those of `dripline`.

    Args:
        commands: The result of `add_subparsers`.
        run_recorded: Runs another dripline command, given as a list of words, with a middleware in
            its HTTP client.
    """
    _add_record(commands, run_recorded)
    _add_replay(commands)
    _add_show(commands)


def _add_record(commands: Subparsers, run_recorded: RunRecorded) -> None:
    record = commands.add_parser(
        "record",
        help="record a stream into a file",
        usage="%(prog)s [options] FILE (-- COMMAND ... | --url URL)",
        description=help_texts.RECORD,
        epilog=help_texts.RECORD_EXAMPLES,
    )
    record.add_argument("file", metavar="FILE", help="the file to create")
    record.add_argument("--url", help="the URL to record")
    record.add_argument("--data", help="a body to POST; @FILE reads it from a file")
    record.add_argument("--method", help="GET, POST ... [POST with --data, otherwise GET]")
    record.add_argument(
        *("--header", "-H"),
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        type=header,
        help="a header to send; repeat it for several",
    )
    record.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        help="stop if nothing arrives for so long [no limit]",
    )
    record.add_argument(
        "--about",
        metavar="TEXT",
        default="",
        type=unicode_text,
        help="a description to store in the file",
    )
    record.add_argument("--force", action="store_true", help="replace an existing file")
    record.takes_command = True
    record.set_defaults(run=lambda options: _record(options, run_recorded))


def _add_replay(commands: Subparsers) -> None:
    replay = commands.add_parser(
        "replay",
        help="serve a recording over HTTP",
        description=help_texts.REPLAY,
        epilog=help_texts.REPLAY_EXAMPLES,
    )
    replay.add_argument("file", metavar="FILE", help="the recording")
    replay.add_argument(
        "--part", metavar="NAME", help="play only this exchange, if the file has several"
    )
    replay.add_argument(
        "--match",
        choices=["order", "path", "body"],  # a copy: importing `recordings.matching` is slow
        default="path",
        help="how a request finds its answer: by method and path, also by body, or in the"
        " recorded order [path]",
    )
    replay.add_argument(
        "--repeat",
        action="store_true",
        help="play the answers to a request again after the last one",
    )
    replay.add_argument(
        "--speed",
        metavar="TIMES",
        type=speed,
        default=1.0,
        help="10 is ten times as fast, inf has no pauses [1]",
    )
    replay.add_argument(
        "--split",
        metavar="PLAN",
        type=split,
        default="as_recorded",
        help="how to split the bytes: whole, every_byte, inside_characters, 'fixed(7)',"
        " 'seeded(1)', 'cut_at(17)' [as_recorded]",
    )
    replay.add_argument(
        "--host", type=host, default="127.0.0.1", help="address to listen on [127.0.0.1]"
    )
    replay.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        help=f"port to listen on; 0 chooses a free one [{DEFAULT_PORT}]",
    )
    replay.set_defaults(run=_replay)


def _add_show(commands: Subparsers) -> None:
    show = commands.add_parser(
        "show",
        help="show a recording, or compare two",
        description=help_texts.SHOW,
        epilog=help_texts.SHOW_EXAMPLES,
    )
    show.add_argument("file", metavar="FILE", help="the recording")
    show.add_argument(
        "other", metavar="OTHER", nargs="?", help="another recording, to compare with"
    )
    show.add_argument("--part", metavar="NAME", help="show only this exchange")
    show.add_argument(
        "--plot", metavar="PICTURE", help="draw the tokens over time into a .png, .svg ..."
    )
    show.set_defaults(run=_show)


def _record(options: argparse.Namespace, run_recorded: RunRecorded) -> int:
    from dripline.cli.recording_actions import record

    return record(options, run_recorded)


def _replay(options: argparse.Namespace) -> int:
    from dripline.cli.recording_actions import replay

    return replay(options)


def _show(options: argparse.Namespace) -> int:
    from dripline.cli.recording_actions import show

    return show(options)
