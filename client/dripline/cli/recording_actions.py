"""The commands `dripline record`, `dripline replay` and `dripline show`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable

import aiohttp

from dripline.bounded_read import MIB, read_file
from dripline.cli.signals import run_loop
from dripline.http.response_body import Body, BodyBroken
from dripline.http.sending import why_not_sent
from dripline.recordings.exchange import Exchange
from dripline.recordings.matching import UnexpectedRequest
from dripline.recordings.plot import PlotUnavailable, plot
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import BadRecording, Recording
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.view import comparison, report
from dripline.visible import visible, visible_on

MAX_DATA = 64 * MIB


def record(
    options: argparse.Namespace,
    run_recorded: Callable[[list[str], aiohttp.ClientMiddlewareType], int],
) -> int:
    """Record a stream into a file, and return the exit code.

    Args:
        options: The parsed command line.
        run_recorded: Runs another dripline command, given as a list of words, with a middleware in
            its HTTP client.
    """
    return _checked("record", _record, options, run_recorded)


def replay(options: argparse.Namespace) -> int:
    """Serve a recording until a signal comes, and return the exit code."""
    return _checked("replay", _replay, options)


def show(options: argparse.Namespace) -> int:
    """Print a recording, or compare two, and return the exit code."""
    return _checked("show", _show, options)


def _checked(name: str, run: Callable[..., int], *arguments: object) -> int:
    """Run a command; an error with its files becomes a one-line message and exit code 2."""
    try:
        return run(*arguments)
    except BrokenPipeError:
        raise  # `main` handles it
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


def _record(
    options: argparse.Namespace,
    run_recorded: Callable[[list[str], aiohttp.ClientMiddlewareType], int],
) -> int:
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
    """Return a name that distinguishes an exchange from the others on the screen."""
    return path if len(recording.exchanges) == 1 else f"{path} {exchange.part}"
