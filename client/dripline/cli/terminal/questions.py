"""Read the user's messages, from a prompt or from piped lines."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.buffer import Buffer, CompletionState
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, to_filter
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style

from dripline.bounded_read import MIB
from dripline.errors import RequestError

Complete = Callable[[Document, CompleteEvent], Iterator[Completion]]
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse ansibrightblack"})
_QUOTES = '"""'
_MAX_LINE = 64 * MIB


class Questions(Protocol):
    """Asks the user for the next message."""

    async def read(self, default: str = "") -> str:
        """Return the next message; `default` is put into the prompt, to be edited.

        Raises:
            RequestError: It is too long.
            EOFError: There is no more.
            KeyboardInterrupt: Ctrl-C.
        """
        ...


class PipedQuestions:
    '''Each line is a message; one of several lines stands between `"""` and `"""`.'''

    async def read(self, default: str = "") -> str:
        """See `Questions`."""
        line = await self._line()
        if not line.lstrip().startswith(_QUOTES):
            return line
        lines = [line.lstrip().removeprefix(_QUOTES)]
        while not lines[-1].rstrip().endswith(_QUOTES):
            lines.append(await self._line())
        lines[-1] = lines[-1].rstrip().removesuffix(_QUOTES)
        return "\n".join(lines).strip("\n")

    async def _line(self) -> str:
        line: bytes = await asyncio.to_thread(sys.stdin.buffer.readline, _MAX_LINE)
        if not line:
            raise EOFError
        if len(line) == _MAX_LINE:
            raise RequestError(f"a line of {_MAX_LINE // MIB} MiB or more was piped in")
        return line.decode("utf-8", "replace").rstrip("\r\n")


class PromptQuestions:
    """The prompt: Enter sends, Alt-Enter and Ctrl-J begin a new line."""

    def __init__(
        self,
        *,
        keyboard: Input,
        history: History,
        complete: Complete,
        toolbar: Callable[[], StyleAndTextTuples],
        prompt: Callable[[], StyleAndTextTuples],
        show_thinking: Callable[[], None],
    ) -> None:
        self._session: PromptSession[str] = PromptSession(
            message=prompt,
            input=keyboard,
            history=history,
            multiline=True,
            prompt_continuation=lambda width, _number, _wraps: " " * width,
            completer=_CommandCompleter(complete),
            complete_while_typing=Condition(_types_a_command),
            bottom_toolbar=toolbar,
            key_bindings=_bindings(show_thinking),
            style=_STYLE,
            enable_open_in_editor=True,
            tempfile_suffix=".md",
        )
        # The toolbar is right below the text, like the rest of the chat.
        self._session.layout.current_window.dont_extend_height = to_filter(True)

    async def read(self, default: str = "") -> str:
        """See `Questions`."""
        return await self._session.prompt_async(default=default, handle_sigint=False)


class _CommandCompleter(Completer):
    """Adapts the commands' completions for the prompt."""

    def __init__(self, complete: Complete) -> None:
        self._complete = complete

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield the possible completions at the cursor."""
        return self._complete(document, complete_event)


def _types_a_command() -> bool:
    return get_app().current_buffer.text.startswith("/")


def _complete_next(typed: Buffer) -> None:
    """Insert the first completion, or the next one.

    prompt_toolkit's Tab only starts a task, and does nothing where one goes on already. It would be
    lost whenever it comes right after a letter, or right before one.
    """
    if not typed.complete_state:
        event = CompleteEvent(completion_requested=True)
        found = list(typed.completer.get_completions(typed.document, event))
        typed.complete_state = CompletionState(typed.document, found) if found else None
    typed.complete_next()


def _bindings(show_thinking: Callable[[], None]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        typed = event.current_buffer
        # Bytes that are not UTF-8 can neither be sent nor be stored in the history.
        typed.text = typed.text.encode("utf-8", "replace").decode()
        typed.validate_and_handle()

    @bindings.add("tab")
    def _(event: KeyPressEvent) -> None:
        _complete_next(event.current_buffer)

    @bindings.add("escape", "enter")
    @bindings.add("c-j")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt(), style="class:aborting")

    @bindings.add("c-t")
    def _(event: KeyPressEvent) -> None:  # noqa: ARG001
        from prompt_toolkit.application import run_in_terminal

        run_in_terminal(show_thinking)

    return bindings
