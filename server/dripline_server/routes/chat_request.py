"""The body of `POST /chat`: checked field by field, then turned into a run's request."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from hashlib import blake2b
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from dripline.events import UiControl
from dripline.tool import Tool
from dripline_server.routes.data_url import image_of_data_url
from dripline_server.routes.request_body import bad_field
from dripline_server.runs.run_request import Prompt, RunRequest
from dripline_server.tools import ui_control
from dripline_server.tools.server_tools import tool_names
from dripline_server.tools.ui_tools import page_tools

MAX_MESSAGES = 10_000
# The words of the prompt are counted only in this many characters.
MAX_COUNTED = 200_000
# Ollama's own limits: 350 for the host; 80 each for namespace, model and tag; and the separators.
MAX_MODEL = 600
# As hard to guess as the server's own ids, which have 22 characters.
RUN_ID = r"^[A-Za-z0-9_-]{22,64}$"


# These belong inside `options`. Beside it Ollama silently ignores them, so they are refused.
_OPTIONS = frozenset({
    "frequency_penalty", "min_p", "num_batch", "num_ctx", "num_gpu", "num_keep", "num_predict",
    "num_thread", "presence_penalty", "repeat_last_n", "repeat_penalty", "seed", "stop",
    "temperature", "top_k", "top_p", "typical_p",
})  # fmt: skip
_SERVERS_CHOICE = frozenset(("ollama", "upstream"))


class ChatMessage(BaseModel):
    """One message in Ollama's format. Unknown fields are passed on to Ollama."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = ""
    images: list[str] | None = Field(None, fail_fast=True)
    tool_calls: list[dict[str, Any]] | None = Field(None, fail_fast=True)
    tool_name: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None


class ChatRequest(BaseModel):
    """The whole body: Ollama's fields, and dripline's own.

    Unknown fields are passed on to Ollama, because newer versions have fields that this file lacks.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    messages: list[ChatMessage] = Field(max_length=MAX_MESSAGES, fail_fast=True)
    model: str = Field("", max_length=MAX_MODEL)
    # These are known to be JSON here. Ollama checks their contents.
    options: dict[str, Any] | None = None
    format: Any = None
    keep_alive: str | float | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    tools: list[dict[str, Any]] | None = Field(None, fail_fast=True)
    logprobs: bool | None = None
    top_logprobs: int | None = None

    stream: bool = True
    # Only a client that sends "auto" or "tools" has a page that obeys the model.
    ui_control: Literal["auto", "rules", "tools", "off"] = "rules"
    on_disconnect: Literal["stop", "continue"] | None = None
    run_id: str | None = Field(None, pattern=RUN_ID)


OWN_FIELDS = {"stream", "ui_control", "on_disconnect", "run_id"}


# Seconds that a run continues without readers.
GRACE: dict[str | None, float] = {"stop": 0, "continue": math.inf}


def run_request(
    chat: ChatRequest,
    default_model: str,
    grace: float,
    tools: Sequence[Tool] = (),
    *,
    by_agent: bool = False,
) -> RunRequest:
    """Convert a chat request to the request of a run.

    Args:
        chat: The chat request.
        default_model: The model for a request that names none.
        grace: The grace time for a request that does not choose.
        tools: The server's tools.
        by_agent: Whether an agent answers: it gets the messages as they are, and no tools of the
            server's.

    Raises:
        Problem: The request names no model, and there is no default; or a field is invalid.
    """
    _check(chat)
    model = chat.model or default_model
    if not model:
        raise bad_field("model", "name one; this server has no default (--model)")
    body: dict[str, Any] = chat.model_dump(exclude=OWN_FIELDS, exclude_none=True)
    body |= {"model": model, "stream": True}
    _unwrap_images(body["messages"])
    controls = _ui_controls(chat)
    if controls and not by_agent:
        note = {"role": "system", "content": ui_control.describe(controls)}
        body["messages"].insert(-1, note)
    client_tools = frozenset(tool_names(chat.tools or ()))
    if not (chat.stream or chat.run_id):
        grace = 0  # the client gets its id only at the end, so it could not come back
    return RunRequest(
        model,
        b"%b" % orjson.dumps(body),  # a copy: bytes made by orjson occupy at least 4 KiB
        controls,
        [] if by_agent else _offered(chat, tools, client_tools, ruled=bool(controls)),
        client_tools,
        GRACE.get(chat.on_disconnect, grace),
        _prompt(chat),
        blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest(),
    )


def _check(chat: ChatRequest) -> None:
    for name in chat.model_extra or ():
        if (known := name.casefold()) in ChatRequest.model_fields:
            # Ollama would read it as that field: Go ignores the case of JSON's names.
            raise bad_field(name, f"is written {known!r}")
        if name in _OPTIONS:
            raise bad_field(name, f'is one of the options: {{"options": {{"{name}": ...}}}}')
        if name in _SERVERS_CHOICE:
            raise bad_field(name, "is for the server to choose (--ollama)")
    if not chat.messages and chat.keep_alive is None:
        raise bad_field(
            "messages",
            "there is no message to answer; with keep_alive, [] loads or unloads the model",
        )


def _unwrap_images(messages: Sequence[dict[str, Any]]) -> None:
    """Replace images in `data:` URLs by their bare Base64, as Ollama expects it."""
    for index, message in enumerate(messages):
        for at, image in enumerate(message.get("images") or ()):
            if image[:5].lower() == "data:":
                field = f"messages.{index}.images.{at}"
                message["images"][at] = image_of_data_url(image, field)


def _prompt(chat: ChatRequest) -> Prompt:
    words, left = 0, MAX_COUNTED
    for message in chat.messages:
        text = (message.content or "")[:left]
        words += len(text.split())
        left -= len(text)
        if left <= 0:
            break
    context = (chat.options or {}).get("num_ctx")
    return Prompt(words, context if type(context) is int and context > 0 else 0)


def _offered(
    chat: ChatRequest, tools: Sequence[Tool], client_tools: Collection[str], *, ruled: bool
) -> list[Tool]:
    """Return the server's tools that the model may call.

    With `format` there are none: the grammar that forces the answer leaves no room for calls. The
    page's tools are offered if the client asks for them with "tools". With "auto" they are offered
    only if no rule has changed the page already and the request has no tools of its own, because a
    client with tools is not a plain page. A client's tool replaces a server's tool of the same
    name.
    """
    if chat.format or not chat.messages:
        return []
    with_page = chat.ui_control == "tools" or (
        chat.ui_control == "auto" and not ruled and not chat.tools
    )
    offered = [*tools, *page_tools()] if with_page else tools
    return [tool for tool in offered if tool.name not in client_tools]


def _ui_controls(chat: ChatRequest) -> list[UiControl]:
    if chat.ui_control not in ("auto", "rules"):
        return []
    last = chat.messages[-1] if chat.messages else None
    return ui_control.read_commands(last.content or "") if last and last.role == "user" else []
