"""The commands `dripline ask`, `attach`, `stop`, `runs` and `models`."""

from __future__ import annotations

import argparse
import sys
import threading

import orjson

from dripline.bounded_read import MIB, read_rest
from dripline.chat.chat_stream import ChatStream
from dripline.chat.client import ChatClient, ChatFields, Messages, ModelInfo, RunInfo
from dripline.cli.client_settings import load
from dripline.cli.signals import run_loop
from dripline.errors import RequestError, TransportError
from dripline.events import End, Event, Status, TextMessage, Thinking, to_json
from dripline.visible import PieceWriter, visible, visible_on

# The limit for piped input. Servers accept 32 MiB by default, but can be configured for more.
MAX_PIPED = 64 * MIB
# After so many seconds of waiting for standard input, a notice says so.
WAIT_NOTICE = 1.0


def ask(options: argparse.Namespace) -> int:
    """Print an answer while it is generated, and return the exit code."""
    prompt = options.prompt if options.no_stdin else _with_piped(options.prompt)
    if not prompt:
        print("dripline ask: say what to ask, or pipe it in", file=sys.stderr)
        return 2
    messages = [{"role": "user", "content": prompt}]
    if options.system:
        messages.insert(0, {"role": "system", "content": options.system})
    fields: ChatFields = {"model": options.model} if options.model else {}
    return run_loop(_print_answer(options, messages, fields))


def _with_piped(prompt: str) -> str:
    """Return the prompt followed by the piped input.

    Raises:
        RequestError: The input cannot be read, or is too large.
    """
    if sys.stdin.isatty():
        return prompt
    notice = threading.Timer(WAIT_NOTICE, _say_waiting)
    notice.daemon = True
    notice.start()
    try:
        content = read_rest(sys.stdin.buffer, MAX_PIPED)
    except OSError as error:
        raise RequestError(f"the piped input cannot be read: {error.strerror}") from error
    finally:
        notice.cancel()
    piped = content.decode("utf-8", "replace").strip()
    return "\n\n".join(part for part in (prompt, piped) if part)


def _say_waiting() -> None:
    print(
        "dripline: waiting for standard input to end, to add it to the prompt (--no-stdin: don't)",
        file=sys.stderr,
        flush=True,
    )


async def _print_answer(options: argparse.Namespace, messages: Messages, fields: ChatFields) -> int:
    async with _client(options) as client:
        return await _print_stream(options, client.chat(messages, **fields))


def attach(options: argparse.Namespace) -> int:
    """Print the answer of a run that any program has started, and return the exit code."""
    return run_loop(_print_run(options))


async def _print_run(options: argparse.Namespace) -> int:
    async with _client(options) as client:
        run_id = options.run_id or await _newest(client)
        if not run_id:
            print("dripline attach: no chat is running", file=sys.stderr)
            return 2
        return await _print_stream(options, client.attach(run_id))


async def _newest(client: ChatClient) -> str:
    """Return the id of the newest run that has not ended; "" if there is none."""
    return next((run.run_id for run in await client.runs() if run.status == "running"), "")


def _client(options: argparse.Namespace) -> ChatClient:
    return ChatClient(
        options.server, load().token, on_drop=_say_reconnecting, middlewares=options.middlewares
    )


async def _print_stream(options: argparse.Namespace, answer: ChatStream) -> int:
    printer = _JsonPrinter() if options.json else _TextPrinter(thinking=options.thinking)
    async with answer as stream:
        try:
            async for event in stream:
                printer.show(event)
        finally:
            printer.close()
    end = stream.answer.end
    if end and end.status == "cancelled":
        print("dripline: the answer was stopped from elsewhere", file=sys.stderr)
        return 1
    if end:
        _say_what_was_cut(end)
    return 0


def _say_what_was_cut(end: End) -> None:
    """Report that the answer or the prompt was truncated, which the text itself does not show."""
    if end.reason == "length":
        cut = "the answer was cut off at its length limit (num_predict, or the context num_ctx)"
        print(f"dripline: {cut}", file=sys.stderr)
    if end.usage.prompt_cut:
        cut = "the prompt is longer than the model's context (num_ctx): Ollama dropped a part of it"
        print(f"dripline: {cut}", file=sys.stderr)


def _say_reconnecting(_lost: TransportError) -> None:
    if sys.stderr.isatty():
        print("\nreconnecting ...", file=sys.stderr, flush=True)


class _JsonPrinter:
    """Prints each event as one line of JSON, the same as on the wire."""

    def show(self, event: Event) -> None:
        sys.stdout.write(visible_on(sys.stdout, to_json(event).decode()) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        pass


class _TextPrinter:
    """Prints the answer while it arrives; everything else goes to stderr."""

    def __init__(self, *, thinking: bool) -> None:
        self._text = PieceWriter(sys.stdout)
        self._thinking = PieceWriter(sys.stderr) if thinking else None

    def show(self, event: Event) -> None:
        match event:
            case TextMessage(content):
                self._text.write(content)
            case Thinking(content) if self._thinking:
                self._thinking.write(content)
            case Status("loading", model) if sys.stderr.isatty():
                print(f"loading {visible(model)} ...", file=sys.stderr, flush=True)
            case Status("waiting", model) if sys.stderr.isatty():
                print(f"waiting for {visible(model)} ...", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._thinking:
            self._thinking.close()
        self._text.close()
        if self._text.line_is_open:
            print(flush=True)


def stop(options: argparse.Namespace) -> int:
    """Stop a run, and return the exit code."""
    run_loop(_stop(options))
    return 0


async def _stop(options: argparse.Namespace) -> None:
    async with _client(options) as client:
        await client.stop(options.run_id)


def runs(options: argparse.Namespace) -> int:
    """Print the server's runs, and return the exit code."""
    for run in run_loop(_list_runs(options)):
        if options.json:
            print(orjson.dumps(run).decode())
        else:
            began = run.began.astimezone().strftime("%H:%M:%S")
            row = f"{run.run_id:<24} {run.status:<10} {began}  {run.model}"
            print(visible_on(sys.stdout, row))
    return 0


async def _list_runs(options: argparse.Namespace) -> list[RunInfo]:
    async with _client(options) as client:
        return await client.runs()


def models(options: argparse.Namespace) -> int:
    """Print the server's models, and return the exit code."""
    for model in run_loop(_list_models(options)):
        if options.json:
            print(orjson.dumps(model).decode())
        else:
            size = "agent" if model.agent else f"{model.size / 1e9:.1f} GB"
            state = "loaded" if model.loaded else ""
            row = f"{model.name:<32} {size:>9}  {state:<6}  {model.about}"
            print(visible_on(sys.stdout, row))
    return 0


async def _list_models(options: argparse.Namespace) -> list[ModelInfo]:
    async with ChatClient(options.server, load().token, middlewares=options.middlewares) as client:
        return await client.models()
