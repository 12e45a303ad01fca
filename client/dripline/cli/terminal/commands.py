"""The slash commands, in one table that `/help` and completion read too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from prompt_toolkit.completion import CompleteEvent, Completion, PathCompleter
from prompt_toolkit.document import Document

from dripline.chat.client import ModelInfo
from dripline.cli.terminal import file_commands
from dripline.cli.terminal.clipboard import CannotCopy, copy
from dripline.cli.terminal.conversation import Conversation
from dripline.cli.terminal.markdown_blocks import code_of
from dripline.cli.terminal.request_options import OPTIONS, Value, read_option
from dripline.cli.terminal.terminal_chat import CommandError, TerminalChat

Takes = Literal["nothing", "text", "model", "option", "path"]


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """One command.

    Attributes:
        run: Does it, with what stands after its name.
        meaning: What it does, in a few words.
        argument: What may stand after its name; "" for nothing.
        takes: What that is, for completion.
    """

    run: Callable[[TerminalChat, str], Awaitable[None]]
    meaning: str
    argument: str = ""
    takes: Takes = "nothing"


async def run_command(chat: TerminalChat, line: str) -> None:
    """Run the command in a line that begins with a slash.

    Raises:
        CommandError: There is no such command, or it cannot do that.
        DriplineError: The server cannot.
    """
    name, _, argument = line[1:].partition(" ")
    command = COMMANDS.get(_ALIASES.get(name, name))
    if command is None:
        near = get_close_matches(name, [*COMMANDS, *_ALIASES], 1, 0.5)
        hint = f"did you mean /{near[0]}?" if near else "/help lists the commands"
        raise CommandError(f"there is no /{name}; {hint} (a blank before it sends it as it is)")
    argument = argument.strip()
    if argument and command.takes == "nothing":
        raise CommandError(f"/{name} takes no argument")
    await command.run(chat, argument)


def complete(chat: TerminalChat, document: Document, event: CompleteEvent) -> Iterator[Completion]:
    """Yield the possible completions at the cursor."""
    line = document.text_before_cursor
    if not line.startswith("/") or "\n" in line:
        return
    name, blank, argument = line[1:].partition(" ")
    if not blank:
        for known, command in COMMANDS.items():
            if known.startswith(name):
                shown = f"/{known} {command.argument}".rstrip()
                yield Completion(known, -len(name), shown, command.meaning)
        return
    found = COMMANDS.get(_ALIASES.get(name, name))
    if found and found.takes == "path":
        yield from PathCompleter(expanduser=True).get_completions(Document(argument), event)
    elif found:
        for choice, meaning in _choices(chat, found.takes):
            if choice.startswith(argument):
                yield Completion(choice, -len(argument), display_meta=meaning)


def _choices(chat: TerminalChat, takes: Takes) -> Iterable[tuple[str, str]]:
    match takes:
        case "model":
            return [(model.name, model.about) for model in chat.server.models]
        case "option":
            return [(name, option.meaning) for name, option in OPTIONS.items()]
        case _:
            return []


async def _help(chat: TerminalChat, _: str) -> None:
    rows = [(f"/{name} {c.argument}".rstrip(), c.meaning) for name, c in COMMANDS.items()]
    keys = [
        ("Enter", "send; Alt-Enter or Ctrl-J: a new line"),
        ("Ctrl-C", "stop the answer; again: leave"),
        ("Ctrl-T", "show the thinking, or fold it"),
        ("Ctrl-X Ctrl-E", "write in your editor"),
        ("1, 2, ...", "press the button with that number"),
    ]
    chat.output.table([*rows, *keys])


async def _model(chat: TerminalChat, name: str) -> None:
    await chat.refresh_server()
    if not name:
        rows = [_model_row(m, chosen=m.name == _current(chat)) for m in chat.server.models]
        if not rows:
            raise CommandError("Ollama has no models yet; get one with: ollama pull llama3.2")
        chat.output.table(rows)
        return
    model = chat.server.find(name)
    if model is None:
        names = [model.name for model in chat.server.models]
        near = get_close_matches(name, names, 1, 0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names) or 'none'}"
        raise CommandError(f"there is no model {name}; {hint}")
    chat.conversation.model = model.name
    chat.output.note(f"{model.name} answers the next messages")


def _model_row(model: ModelInfo, *, chosen: bool) -> tuple[str, ...]:
    size = "agent" if model.agent else f"{model.size / 1e9:.1f} GB"
    state = "loaded" if model.loaded else ""
    return f"{'*' if chosen else ' '} {model.name}", size, state, model.about


def _current(chat: TerminalChat) -> str:
    model = chat.server.find(chat.model)
    return model.name if model else chat.model


async def _system(chat: TerminalChat, text: str) -> None:
    if not text:
        chat.output.note(chat.conversation.system or "there is no system prompt")
        return
    chat.conversation.system = "" if text == "off" else text
    chat.output.note("the system prompt is set" if text != "off" else "no system prompt any more")


async def _set(chat: TerminalChat, argument: str) -> None:
    name, _, value = argument.partition(" ")
    options = chat.conversation.options
    if not name:
        rows = [
            (n, str(options.get(n, "-")), f"{o.meaning}: {o.values}") for n, o in OPTIONS.items()
        ]
        chat.output.table(rows)
    elif not value.strip() and name in OPTIONS:
        options.pop(name, None)
        chat.output.note(f"{name} is the model's own again")
    else:
        options[name] = _read(name, value.strip())
        chat.output.note(f"{name} is {value.strip()}")


def _read(name: str, text: str) -> Value:
    try:
        return read_option(name, text)
    except ValueError as error:
        raise CommandError(f"/set {error}") from error


async def _retry(chat: TerminalChat, _: str) -> None:
    if not chat.conversation.drop_answer():
        raise CommandError("nothing has been asked yet")
    await chat.answer()


async def _edit(chat: TerminalChat, _: str) -> None:
    question = chat.conversation.last_question
    if question is None:
        raise CommandError("nothing has been asked yet")
    if not chat.interactive:
        raise CommandError("/edit needs a terminal")
    chat.draft = question["content"]


async def _undo(chat: TerminalChat, _: str) -> None:
    question = chat.conversation.undo()
    if question is None:
        raise CommandError("nothing has been asked yet")
    chat.output.note(f"taken back: {question['content']}")


async def _copy(chat: TerminalChat, what: str) -> None:
    answer = chat.conversation.last_answer
    if answer is None:
        raise CommandError("there is no answer yet")
    text = answer["content"]
    if what == "code":
        blocks = code_of(text)
        if not blocks:
            raise CommandError("there is no code in the last answer")
        text = blocks[-1]
    elif what:
        raise CommandError("use /copy, or /copy code for the last code block")
    try:
        chat.output.note(f"copied {len(text):,} characters {await copy(text)}")
    except CannotCopy as error:
        raise CommandError(f"cannot copy: {error}") from error


async def _thinking(chat: TerminalChat, state: str) -> None:
    if state in ("on", "off"):
        chat.output.unfold = state == "on"
        chat.output.note("thinking is shown" if state == "on" else "thinking is folded")
    elif state:
        raise CommandError("use /thinking on or /thinking off; /thinking alone shows the last one")
    else:
        show_thinking(chat)


def show_thinking(chat: TerminalChat) -> None:
    """Show what the model thought before its last answer."""
    thought = (chat.conversation.last_answer or {}).get("thinking", "")
    if thought:
        chat.output.thinking(thought)
    else:
        chat.output.note("the last answer has no thinking")


async def _new(chat: TerminalChat, _: str) -> None:
    old = chat.conversation
    chat.conversation = Conversation(old.model, old.system, old.options)
    chat.buttons.clear()
    chat.images.clear()
    chat.file = ""
    chat.output.note("a new conversation")


async def _quit(chat: TerminalChat, _: str) -> None:
    chat.leaving = True


COMMANDS: dict[str, SlashCommand] = {
    "help": SlashCommand(_help, "list the commands and keys"),
    "model": SlashCommand(_model, "list the models, or choose one", "[NAME]", "model"),
    "system": SlashCommand(_system, "show or set the system prompt; off: none", "[TEXT]", "text"),
    "set": SlashCommand(_set, "list the options, or set one", "[NAME [VALUE]]", "option"),
    "image": SlashCommand(
        file_commands.image, "send a picture with the next message", "FILE", "path"
    ),
    "retry": SlashCommand(_retry, "regenerate the last answer"),
    "edit": SlashCommand(_edit, "edit the last question and ask again"),
    "undo": SlashCommand(_undo, "remove the last question and its answer"),
    "copy": SlashCommand(_copy, "copy the last answer, or its last code block", "[code]", "text"),
    "thinking": SlashCommand(_thinking, "show the last thinking, or always", "[on|off]", "text"),
    "save": SlashCommand(file_commands.save, "save the conversation as JSON", "[FILE]", "path"),
    "load": SlashCommand(file_commands.load, "continue a saved conversation", "FILE", "path"),
    "new": SlashCommand(_new, "start a new conversation"),
    "quit": SlashCommand(_quit, "leave; Ctrl-D does too"),
}
_ALIASES = {"exit": "quit", "bye": "quit", "?": "help", "clear": "new"}
