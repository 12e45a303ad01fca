"""A conversation: its messages, the options of its requests, and the file that it is saved in.

A saved conversation is one JSON object::

    {"format": "dripline-conversation", "version": 1, "saved_at": "2026-01-31T12:00:00+00:00",
     "model": "mistral:latest", "system": "Be brief.", "options": {"temperature": 0.2},
     "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}

`messages` are as `POST /chat` takes them, with `thinking` and `images` where there are any. Fields
that this version does not know are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from dripline.answer import Answer
from dripline.cli.terminal.request_options import check_option
from dripline.json_fields import BadField, json_field, load_object

FORMAT = "dripline-conversation"
VERSION = 1
_ROLES = ("system", "user", "assistant", "tool")


class BadConversation(ValueError):
    """A file is not a saved conversation; the message says why."""


@dataclass(slots=True)
class Conversation:
    """The messages so far, and the options of the next request.

    Attributes:
        model: The model that answers; "" for the server's default.
        system: Instructions that go before all else; "" for none.
        options: What `/set` has set: Ollama's options, and `think` and `keep_alive`.
        messages: As `POST /chat` takes them, without the system message; answers have `thinking`.
    """

    model: str = ""
    system: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def request_messages(self) -> list[dict[str, Any]]:
        """The messages that the model gets, without its own thinking."""
        said = [{k: v for k, v in one.items() if k != "thinking"} for one in self.messages]
        return [{"role": "system", "content": self.system}, *said] if self.system else said

    @property
    def last_answer(self) -> dict[str, Any] | None:
        """The last message from the model."""
        return next((m for m in reversed(self.messages) if m["role"] == "assistant"), None)

    @property
    def last_question(self) -> dict[str, Any] | None:
        """The last message from the user."""
        return next((m for m in reversed(self.messages) if m["role"] == "user"), None)

    def ask(self, text: str, images: list[str]) -> None:
        """Add a message from the user; its images are in base64."""
        self.messages.append(
            {"role": "user", "content": text, **({"images": images} if images else {})}
        )

    def add_answer(self, answer: Answer) -> None:
        """Add the received part of an answer; an empty one adds no message."""
        if answer.text or answer.thinking:
            thinking = {"thinking": answer.thinking} if answer.thinking else {}
            self.messages.append({"role": "assistant", "content": answer.text, **thinking})

    def drop_answer(self) -> bool:
        """Remove the messages after the last question; False if there is no question."""
        question = self.last_question
        if question is None:
            return False
        while self.messages[-1] is not question:
            self.messages.pop()
        return True

    def undo(self) -> dict[str, Any] | None:
        """Remove the last question and the messages after it; return the question."""
        return self.messages.pop() if self.drop_answer() else None


def to_json(conversation: Conversation) -> bytes:
    """Return a conversation as the content of a file.

    Raises:
        ValueError: Something in it is no Unicode.
    """
    record = {
        "format": FORMAT,
        "version": VERSION,
        "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": conversation.model,
        "system": conversation.system,
        "options": conversation.options,
        "messages": conversation.messages,
    }
    try:
        return orjson.dumps(record, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError as error:
        raise ValueError(f"the conversation cannot be JSON: {error}") from error


def from_json(content: bytes) -> Conversation:
    """Return the conversation in the content of a file.

    Raises:
        BadConversation: It holds none; names the field that is wrong.
    """
    try:
        return _conversation(load_object(content))
    except BadField as error:
        raise BadConversation(str(error)) from error


def _conversation(record: dict[str, Any]) -> Conversation:
    if record.get("format") != FORMAT:
        raise BadField("format", f'should be "{FORMAT}"')
    if record.get("version") != VERSION:
        raise BadField("version", f"should be {VERSION}, is {record.get('version')!r}")
    messages = json_field(record, "messages", list, [])
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}")
    options = json_field(record, "options", dict, {})
    for name, value in options.items():
        try:
            check_option(name, value)
        except ValueError as error:
            raise BadConversation(f"options.{error}") from error
    return Conversation(
        model=json_field(record, "model", str, ""),
        system=json_field(record, "system", str, ""),
        options=options,
        messages=messages,
    )


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, dict):
        raise BadField(where, "should be an object")
    if message.get("role") not in _ROLES:
        raise BadField(f"{where}.role", f"should be one of {', '.join(_ROLES)}")
    json_field(message, "content", str, where=where)
    json_field(message, "thinking", str, "", where=where)
    if not all(
        isinstance(one, str) for one in json_field(message, "images", list, [], where=where)
    ):
        raise BadField(f"{where}.images", "should be strings of base64")
