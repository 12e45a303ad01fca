"""The commands about recordings: `dripline record`, `dripline replay`, `dripline show`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp

from dripline.bounded_read import MIB, read_file
from dripline.cli import help_texts
from dripline.cli.arguments import header, host, port, seconds, speed, split, unicode_text
from dripline.cli.signals import run_loop
from dripline.http.response_body import Body, BodyBroken
from dripline.http.sending import why_not_sent
from dripline.recordings.exchange import Exchange
from dripline.recordings.matching import MATCHES, UnexpectedRequest
from dripline.recordings.plot import PlotUnavailable, plot
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import BadRecording, Recording
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.view import comparison, report
from dripline.visible import visible, visible_on

Subparsers = Any  # argparse has no public name for what add_subparsers returns
RunRecorded = Callable[[list[str], aiohttp.ClientMiddlewareType], int]

DEFAULT_PORT = 8001
MAX_DATA = 64 * MIB


class CommandParser(argparse.ArgumentParser):
    """A parser that can leave what stands after `--` alone, as `command`.

    argparse would take options before `--` for the end of the positional arguments.
    """

    takes_command = False

    def __init__(self, **options: Any) -> None:
        """Take what `ArgumentParser` takes; descriptions and examples keep their lines."""
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
        commands: What `add_subparsers` returned.
        run_recorded: Runs another of dripline's commands, given as its words, with a middleware in
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
    record.add_argument("file", metavar="FILE", help="the file to make")
    record.add_argument("--url", help="what to get")
    record.add_argument("--data", help="a body to POST; @FILE takes it from a file")
    record.add_argument("--method", help="GET, POST ... [POST with --data, else GET]")
    record.add_argument(
        *("--header", "-H"),
        metavar="'NAME: VALUE'",
        action="append",
        default=[],
        type=header,
        help="a header to send; for several, say it again",
    )
    record.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, help="how long nothing may come [for ever]"
    )
    record.add_argument(
        "--about",
        metavar="TEXT",
        default="",
        type=unicode_text,
        help="what it shows, for the file",
    )
    record.add_argument("--force", action="store_true", help="replace the file if it is there")
    record.takes_command = True
    record.set_defaults(run=lambda options: _checked("record", _record, options, run_recorded))


def _add_replay(commands: Subparsers) -> None:
    replay = commands.add_parser(
        "replay",
        help="serve a recording over HTTP",
        description=help_texts.REPLAY,
        epilog=help_texts.REPLAY_EXAMPLES,
    )
    replay.add_argument("file", metavar="FILE", help="the recording")
    replay.add_argument(
        "--part", metavar="NAME", help="play this exchange alone, where the file has several"
    )
    replay.add_argument(
        "--match",
        choices=MATCHES,
        default="path",
        help="how a request finds its answer: by method and path, by the body too, or in the"
        " recorded order [path]",
    )
    replay.add_argument(
        "--repeat",
        action="store_true",
        help="when all answers to a request have been played, play them again",
    )
    replay.add_argument(
        "--speed",
        metavar="TIMES",
        type=speed,
        default=1.0,
        help="10 is ten times as fast, inf without pauses [1]",
    )
    replay.add_argument(
        "--split",
        metavar="PLAN",
        type=split,
        default="as_recorded",
        help="how to cut the bytes: whole, every_byte, inside_characters, 'fixed(7)', 'seeded(1)',"
        " 'cut_at(17)' [as_recorded]",
    )
    replay.add_argument(
        "--host", type=host, default="127.0.0.1", help="address to listen on [127.0.0.1]"
    )
    replay.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        help=f"port to listen on; 0 takes a free one [{DEFAULT_PORT}]",
    )
    replay.set_defaults(run=lambda options: _checked("replay", _replay, options))


def _add_show(commands: Subparsers) -> None:
    show = commands.add_parser(
        "show",
        help="show a recording, or compare two",
        description=help_texts.SHOW,
        epilog=help_texts.SHOW_EXAMPLES,
    )
    show.add_argument("file", metavar="FILE", help="the recording")
    show.add_argument("other", metavar="OTHER", nargs="?", help="another one, to compare with")
    show.add_argument("--part", metavar="NAME", help="show this exchange alone")
    show.add_argument("--plot", metavar="PICTURE", help="draw the tokens over time: .png, .svg ...")
    show.set_defaults(run=lambda options: _checked("show", _show, options))


def _checked(name: str, run: Callable[..., int], *arguments: object) -> int:
    """Run a command; what is wrong with its files is a sentence and exit code 2."""
    try:
        return run(*arguments)
    except BrokenPipeError:
        raise  # dripline's own way to end
    except FileExistsError as error:
        return _fail(name, f"{error.filename} exists; --force replaces it, where it is a file")
    except (BadRecording, OSError, PlotUnavailable) as error:
        return _fail(name, str(error))


def _fail(name: str, problem: str, code: int = 2) -> int:
    sys.stderr.write(f"dripline {name}: {visible(problem)}\n")
    return code


def _say(text: str) -> None:
    sys.stdout.write(visible_on(sys.stdout, f"{text}\n"))
    sys.stdout.flush()


def _record(options: argparse.Namespace, run_recorded: RunRecorded) -> int:
    if bool(options.url) == bool(options.command):
        return _fail("record", "give either --url or -- and a command")
    body = _body(options.data)
    recorder = Recorder(options.file, overwrite=options.force, about=options.about)
    with recorder.writer:
        if options.command:
            return run_recorded(["--server", options.server, *options.command], recorder)
        return run_loop(_record_url(options, body, recorder))


def _body(data: str | None) -> bytes | None:
    if data is None:
        return None
    return read_file(data[1:], MAX_DATA) if data.startswith("@") else os.fsencode(data)


async def _record_url(options: argparse.Namespace, body: bytes | None, recorder: Recorder) -> int:
    headers = dict(options.header)
    if body is not None and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    timeout = aiohttp.ClientTimeout(total=None, sock_read=options.timeout)
    method = options.method or ("GET" if body is None else "POST")
    async with recorder, aiohttp.ClientSession(middlewares=[recorder], timeout=timeout) as http:
        try:
            async with http.request(method, options.url, data=body, headers=headers) as response:
                async for piece in Body(response):
                    sys.stdout.buffer.write(piece)
                    sys.stdout.flush()
        except (aiohttp.NonHttpUrlClientError, ValueError) as error:
            return _fail("record", why_not_sent(error))
        except aiohttp.ClientConnectorError as error:
            return _fail("record", str(error), 3)
        except (aiohttp.ClientError, BodyBroken, TimeoutError) as error:
            return _fail("record", f"the stream broke: {error}", 4)
    return 0


def _replay(options: argparse.Namespace) -> int:
    recording = Recording.load(options.file, part=options.part)
    run_loop(_serve(options, recording))
    return 0


async def _serve(options: argparse.Namespace, recording: Recording) -> None:
    def say_unexpected(unexpected: UnexpectedRequest) -> None:
        _fail("replay", str(unexpected))

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ReplayServer(
        recording,
        split=options.split,
        speed=options.speed,
        match=options.match,
        repeat=options.repeat,
        host=options.host,
        port=options.port,
        on_unexpected=say_unexpected,
    ) as server:
        _say(f"{options.file} is at {server.url}")
        await stop.wait()


def _show(options: argparse.Namespace) -> int:
    recordings = {path: Recording.load(path, part=options.part) for path in _paths(options)}
    shown = {
        _label(path, exchange, recording): (exchange, recording)
        for path, recording in recordings.items()
        for exchange in recording.exchanges
    }
    if options.other:
        if len(shown) != 2 or len(recordings) != 2:
            raise BadRecording(options.file, 0, "name one --part of each to compare")
        _say(comparison({name: exchange for name, (exchange, _) in shown.items()}))
    else:
        _say("\n\n".join(f"{name}\n{report(*found)}" for name, found in shown.items()))
    if options.plot:
        try:
            plot({name: exchange for name, (exchange, _) in shown.items()}, options.plot)
        except ValueError as error:
            return _fail("show", str(error))
    return 0


def _paths(options: argparse.Namespace) -> list[str]:
    return [options.file, *([options.other] if options.other else [])]


def _label(path: str, exchange: Exchange, recording: Recording) -> str:
    """Return a name that tells an exchange from the others that are shown."""
    return path if len(recording.exchanges) == 1 else f"{path} {exchange.part}"
