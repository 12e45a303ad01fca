"""The body of `POST /chat`: checked field by field, then turned into a run's request."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from dripline.events import UiControl
from dripline_server.routes.request_body import bad_field
from dripline_server.runs.run_request import RunRequest
from dripline_server.tools import ui_control
from dripline_server.tools.server_tools import Tool, tool_names
from dripline_server.tools.ui_tools import PAGE_TOOLS

MAX_MESSAGES = 10_000
# Ollama's own limits: 350 for the host; 80 for namespace, model and tag each; what is between.
MAX_MODEL = 600


class ChatMessage(BaseModel):
    """One message, as Ollama takes it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = ""
    images: list[str] | None = Field(None, fail_fast=True)
    tool_calls: list[dict[str, Any]] | None = Field(None, fail_fast=True)
    tool_name: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None


class ChatRequest(BaseModel):
    """The whole body: Ollama's fields, and dripline's own."""

    model_config = ConfigDict(extra="forbid", strict=True)

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)
    model: str = Field("", max_length=MAX_MODEL)
    # What is inside of these is JSON by now, and Ollama's to check.
    options: dict[str, Any] | None = None
    format: Any = None
    keep_alive: str | float | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    tools: list[dict[str, Any]] | None = Field(None, fail_fast=True)
    logprobs: bool | None = None
    top_logprobs: int | None = None

    stream: bool = True
    ui_control: Literal["auto", "rules", "tools", "off"] = "auto"
    on_disconnect: Literal["stop", "continue"] | None = None
    # As hard to guess as the server's own, which have 22 characters.
    run_id: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]{22,64}$")


OWN_FIELDS = {"stream", "ui_control", "on_disconnect", "run_id"}


# What a run without readers does: seconds for which it goes on.
_GRACE: dict[str | None, float] = {"stop": 0, "continue": math.inf}


def run_request(
    chat: ChatRequest, default_model: str, grace: float, tools: Sequence[Tool] = ()
) -> RunRequest:
    """Return what the run is to do.

    Args:
        chat: What is asked for.
        default_model: The model where the request names none.
        grace: For requests that do not say their own.
        tools: The server's tools.

    Raises:
        Problem: No model is named, and there is no default.
    """
    model = chat.model or default_model
    if not model:
        raise bad_field("model", "name one; this server has no default (--model)")
    body: dict[str, Any] = chat.model_dump(exclude=OWN_FIELDS, exclude_none=True)
    body |= {"model": model, "stream": True}
    controls = _ui_controls(chat)
    if controls:
        note = {"role": "system", "content": ui_control.describe(controls)}
        body["messages"].insert(-1, note)
    client_tools = frozenset(tool_names(chat.tools or ()))
    if not (chat.stream or chat.run_id):
        grace = 0  # its id is told at the end alone, so nobody could come back to it
    return RunRequest(
        model,
        b"%b" % orjson.dumps(body),  # as long as it looks; orjson's own bytes hold 4 KiB at least
        controls,
        _offered(chat, tools, client_tools, ruled=bool(controls)),
        client_tools,
        _GRACE.get(chat.on_disconnect, grace),
    )


def _offered(
    chat: ChatRequest, tools: Sequence[Tool], client_tools: Collection[str], *, ruled: bool
) -> list[Tool]:
    """Return which of the server's tools the model may call.

    None where `format` is asked for: a grammar that forces the answer leaves no room for calls. The
    page's only if no rule has done what the user wants already, and, unless they are asked for,
    only if the request brings no tools of its own, because such a client is no plain page. The
    client's own tools go before the server's of the same name.
    """
    if chat.format:
        return []
    with_page = chat.ui_control == "tools" or (
        chat.ui_control == "auto" and not ruled and not chat.tools
    )
    offered = [*tools, *PAGE_TOOLS] if with_page else tools
    return [tool for tool in offered if tool.name not in client_tools]


def _ui_controls(chat: ChatRequest) -> list[UiControl]:
    last = chat.messages[-1]
    if chat.ui_control not in ("auto", "rules") or last.role != "user":
        return []
    return ui_control.read_commands(last.content or "")
