"""The commands that read and write files."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from dripline.bounded_read import MIB, read_file
from dripline.cli.terminal.conversation import BadConversation, Conversation, from_json, to_json
from dripline.cli.terminal.images import read_image
from dripline.cli.terminal.terminal_chat import CommandError, TerminalChat

# The size limit of a saved conversation, including its images.
MAX_FILE = 256 * MIB
# How much of a loaded conversation is shown.
_SHOWN_MESSAGES = 6


async def image(chat: TerminalChat, argument: str) -> None:
    """`/image FILE`: send a picture with the next message."""
    path = _path(argument, "/image")
    chat.check_vision()
    try:
        chat.images[path.name] = await asyncio.to_thread(read_image, path)
    except (OSError, ValueError) as error:
        raise CommandError(f"/image: {error}") from error
    chat.output.note(f"{path.name} goes with the next message")


async def save(chat: TerminalChat, argument: str) -> None:
    """`/save [FILE]`: save the conversation; without a name, to the same file as before."""
    path = _path(argument or chat.file, "/save")
    try:
        content = to_json(chat.conversation)
        await asyncio.to_thread(_write, path, content)
    except (OSError, ValueError) as error:
        raise CommandError(f"/save: {error}") from error
    chat.file = str(path)
    chat.output.note(f"saved to {path}")


async def load(chat: TerminalChat, argument: str) -> None:
    """`/load FILE`: continue a saved conversation."""
    path = _path(argument, "/load")
    try:
        conversation = from_json(await asyncio.to_thread(read_file, path, MAX_FILE))
    except (OSError, ValueError) as error:
        raise CommandError(f"/load: {path}: {error}") from error
    chat.conversation = conversation
    chat.buttons.clear()
    chat.images.clear()
    chat.file = str(path)
    _show(chat, conversation)


def _show(chat: TerminalChat, conversation: Conversation) -> None:
    earlier = len(conversation.messages) - _SHOWN_MESSAGES
    if earlier > 0:
        chat.output.note(f"... {earlier} earlier messages")
    for message in conversation.messages[-_SHOWN_MESSAGES:]:
        if message["role"] == "user":
            chat.output.question(message.get("content", ""))
        elif message["role"] == "assistant":
            chat.output.markdown(message.get("content", ""))
    chat.output.note(f"{len(conversation.messages)} messages; {chat.model or 'no model'} answers")


def _path(argument: str, command: str) -> Path:
    """Return the path in a command; a terminal puts quotes around a file that is dropped on it."""
    if not argument:
        raise CommandError(f"{command}: name a file")
    quoted = len(argument) > 1 and argument[0] == argument[-1] and argument[0] in "'\""
    try:
        return Path(argument[1:-1] if quoted else argument).expanduser()
    except RuntimeError as error:  # ~name, but there is no such user
        raise CommandError(f"{command}: {error}") from error


def _write(path: Path, content: bytes) -> None:
    """Write a file that only the user can read, completely or not at all.

    It replaces only files of the same kind.
    """
    if path.exists():
        try:
            from_json(read_file(path, MAX_FILE))
        except BadConversation as error:
            raise ValueError(f"{path} exists, but is not a saved conversation; {error}") from error
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
