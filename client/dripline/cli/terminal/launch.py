"""How `dripline chat` begins and ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import aiohttp
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input, create_input

from dripline.chat.client import ChatClient
from dripline.cli.signals import run_loop
from dripline.cli.terminal.answer_lines import button_line
from dripline.cli.terminal.commands import complete, run_command, show_thinking
from dripline.cli.terminal.conversation import Conversation
from dripline.cli.terminal.history import history_path, open_history
from dripline.cli.terminal.keys import raw
from dripline.cli.terminal.output import ChatOutput
from dripline.cli.terminal.plain_output import PlainOutput
from dripline.cli.terminal.questions import PipedQuestions, PromptQuestions, Questions
from dripline.cli.terminal.rich_output import RichOutput, terminal_console
from dripline.cli.terminal.terminal_chat import TerminalChat, sentence_of
from dripline.errors import DriplineError, TransportError
from dripline.visible import visible


def run_chat(
    url: str,
    token: str,
    conversation: Conversation,
    *,
    middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
) -> int:
    """Chat until the user leaves, and return the exit code.

    Raises:
        DriplineError: Something failed, and there is nobody to tell.
    """
    # What the library logs would be written over what is drawn; the chat says it itself.
    logging.getLogger("dripline").addHandler(logging.NullHandler())
    return run_loop(_run(url, token, conversation, middlewares))


async def _run(
    url: str,
    token: str,
    conversation: Conversation,
    middlewares: Sequence[aiohttp.ClientMiddlewareType],
) -> int:
    def dropped(_lost: TransportError) -> None:
        chat.dropped()

    console = terminal_console()
    can_draw = console.is_terminal and not console.is_dumb_terminal
    output: ChatOutput = RichOutput(console) if can_draw else PlainOutput()
    keyboard = create_input() if can_draw and sys.stdin.isatty() else None
    async with AsyncExitStack() as closing:
        if keyboard:
            closing.enter_context(raw(keyboard))
        client = await closing.enter_async_context(
            ChatClient(url, token, on_drop=dropped, middlewares=middlewares)
        )
        chat = TerminalChat(client, output, conversation, run_command, keyboard=keyboard)
        if keyboard:
            loop = asyncio.get_running_loop()
            signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(chat.interrupt))
        questions = _prompt(chat, keyboard) if keyboard else PipedQuestions()
        await _greet(chat)
        await chat.run(questions)
    return 0


async def _greet(chat: TerminalChat) -> None:
    try:
        await chat.refresh_server()
    except DriplineError as error:
        if not chat.interactive:
            raise
        chat.output.error(sentence_of(error).replace("; /retry asks again", ""))
    if chat.interactive:
        model = chat.model or "no model yet: /model chooses one"
        chat.output.note(f"dripline · {model} · {chat.client.url} · /help")
        if chat.server.demo:
            chat.output.note(chat.server.demo)


def _prompt(chat: TerminalChat, keyboard: Input) -> Questions:
    history, trouble = open_history(history_path())
    if trouble:
        chat.output.note(trouble)

    return PromptQuestions(
        keyboard=keyboard,
        history=history,
        complete=partial(complete, chat),
        prompt=partial(_prompt_sign, chat),
        toolbar=partial(_toolbar, chat),
        show_thinking=partial(show_thinking, chat),
    )


def _prompt_sign(chat: TerminalChat) -> StyleAndTextTuples:
    return [(f"bold {chat.color}", "> ")]


def _toolbar(chat: TerminalChat) -> StyleAndTextTuples:
    """Say what the next message goes to and with, and which buttons there are."""
    parts = [chat.model, *(f"+ {name}" for name in chat.images)]
    parts += [button_line(number, button) for number, button in chat.buttons.items()]
    return [("", " · ".join(visible(part) for part in parts if part) or "/help")]
