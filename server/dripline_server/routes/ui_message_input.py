"""The body of `POST /ai-sdk/chat`, the AI SDK's, as a chat request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from dripline_server.dialects import Json
from dripline_server.routes.chat_request import ChatRequest
from dripline_server.routes.data_url import image_of_data_url
from dripline_server.routes.dialect_query import MAX_NAME
from dripline_server.routes.request_body import bad_field, invalid, text_field


class UiMessage(BaseModel):
    """One message; its parts are checked where they are read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    id: Annotated[str, Field(max_length=MAX_NAME)] = ""  # it is part of an address
    role: Literal["system", "user", "assistant"]
    parts: list[dict[str, JsonValue]]


class UiChatRequest(BaseModel):
    """The whole body: the SDK's fields, and those of `POST /chat` that the page adds to them."""

    model_config = ConfigDict(extra="allow", strict=True)

    id: Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
    messages: Annotated[list[UiMessage], Field(min_length=1)]
    trigger: str | None = None
    messageId: str | None = None  # noqa: N815  (the SDK's name)
    on_disconnect: Literal["stop", "continue"] | None = None


def chat_request(asked: UiChatRequest) -> ChatRequest:
    """Convert the body to a chat request.

    Raises:
        Problem: A field cannot be mapped (400, named).
    """
    messages = [
        one
        for index, message in enumerate(asked.messages)
        for one in _messages(message, f"messages.{index}")
    ]
    own: Json = {"on_disconnect": asked.on_disconnect, **(asked.model_extra or {})}
    if "stream" in own:
        raise bad_field("stream", "there is nothing else; use POST /chat for whole answers")
    try:
        return ChatRequest.model_validate({**own, "messages": messages})
    except ValidationError as error:
        raise invalid(error) from error


def continued(asked: UiChatRequest) -> UiMessage | None:
    """Return the assistant's message that the answer continues; None for a new message.

    The SDK sends the results of the page's tools as parts of the message that called them.
    """
    last = asked.messages[-1]
    return last if last.role == "assistant" and last.id else None


def _messages(message: UiMessage, where: str) -> Iterator[Json]:
    if message.role == "assistant":
        yield from _assistant_messages(message, where)
        return
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(message.parts):
        here = f"{where}.parts.{index}"
        match part.get("type"):
            case "text":
                texts.append(text_field(part, "text", here))
            case "file" if message.role == "user":
                images.append(image_of_data_url(text_field(part, "url", here), f"{here}.url"))
            case kind:
                _pass_over(kind, here)
    more = {"images": images} if images else {}
    yield {"role": message.role, "content": "\n".join(texts), **more}


@dataclass(slots=True)
class _Turn:
    """One turn of the model. Ollama has a message for each step, and one for each result."""

    texts: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)

    def messages(self) -> Iterator[Json]:
        if self.texts or self.thinking or self.calls:
            message: Json = {"role": "assistant", "content": "".join(self.texts)}
            if self.thinking:
                message["thinking"] = "".join(self.thinking)
            if self.calls:
                message["tool_calls"] = self.calls
            yield message
        yield from self.results


def _assistant_messages(message: UiMessage, where: str) -> Iterator[Json]:
    turn = _Turn()
    for index, part in enumerate(message.parts):
        here = f"{where}.parts.{index}"
        kind = part.get("type")
        if kind == "step-start" or (kind in ("text", "reasoning") and turn.calls):
            yield from turn.messages()
            turn = _Turn()
        match kind:
            case "text":
                turn.texts.append(text_field(part, "text", here))
            case "reasoning":
                turn.thinking.append(text_field(part, "text", here))
            case "step-start":
                pass
            case "dynamic-tool":
                _add_call(turn, part, text_field(part, "toolName", here), here)
            case str() if kind.startswith("tool-"):
                _add_call(turn, part, kind.removeprefix("tool-"), here)
            case _:
                _pass_over(kind, here)
    yield from turn.messages()


def _add_call(turn: _Turn, part: Json, name: str, where: str) -> None:
    """Add a call to the turn, and its result if there is one."""
    state = text_field(part, "state", where)
    if state == "input-streaming":
        return  # the call broke off inside its arguments
    call_id = text_field(part, "toolCallId", where)
    arguments = part.get("input")
    function = {"name": name, "arguments": arguments if isinstance(arguments, dict) else {}}
    turn.calls.append({"id": call_id, "type": "function", "function": function})
    result = {"role": "tool", "tool_name": name, "tool_call_id": call_id}
    match state:
        case "output-available":
            output = part.get("output")
            content = output if isinstance(output, str) else orjson.dumps(output).decode()
            turn.results.append(result | {"content": content})
        case "output-error":
            turn.results.append(
                result | {"content": f"Error: {text_field(part, 'errorText', where)}"}
            )
        case "output-denied":
            turn.results.append(result | {"content": "The user did not allow this call."})


def _pass_over(kind: object, where: str) -> None:
    """Skip a part that is for the page only.

    Raises:
        Problem: The part is for the model, and Ollama has no place for it (400).
    """
    if not (isinstance(kind, str) and kind.startswith(("data-", "source-", "step-start"))):
        raise bad_field(f"{where}.type", f"there is no place for {kind!r} in a message to Ollama")
