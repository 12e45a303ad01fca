"""The body of `POST /v1/chat/completions`, OpenAI's, as a chat request.

A field that Ollama cannot honour is refused by name, so that no program gets another answer than it
asked for. Fields that do not concern the model (user, billing, caching) are accepted and ignored.

https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dripline_server.dialects import Json
from dripline_server.routes.chat_request import ChatRequest
from dripline_server.routes.data_url import image_of_data_url
from dripline_server.routes.request_body import bad_field, invalid, text_field

# OpenAI's name -> Ollama's option. Some are Ollama's own: programs for local models send them too.
_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
# Fields that do not concern the model; they are ignored.
_PASSED_OVER = frozenset(
    (
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "user",
        # Where a program keeps the chat: Open WebUI's, which its filters and pipes may leave in.
        *("background_tasks", "chat_id", "id", "message_id", "model_item", "parent_id"),
        *("parent_message", "session_id", "variables"),
    )
)
# The value of each field that asks for nothing special.
_USUAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "parallel_tool_calls": (True,),
    "store": (False,),
    "modalities": (["text"],),
    "logit_bias": ({},),
    "verbosity": ("medium",),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "files": ([],),
    "tool_ids": ([],),
    "tool_servers": ([],),
    "filter_ids": ([],),
    "features": ({},),
}


def _as_list(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


class StreamOptions(BaseModel):
    """The extra contents of a stream."""

    model_config = ConfigDict(extra="ignore", strict=True)

    include_usage: bool = False


class ResponseFormat(BaseModel):
    """The format of the answer."""

    model_config = ConfigDict(extra="ignore", strict=True)

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None


class Reasoning(BaseModel):
    """How much the model should think; some clients nest this field."""

    model_config = ConfigDict(extra="ignore", strict=True)

    effort: str | None = None


class CompletionRequest(BaseModel):
    """The whole body: OpenAI's fields, and Ollama's fields that OpenAI lacks."""

    model_config = ConfigDict(extra="allow", strict=True)

    model: str = ""
    messages: Annotated[list[dict[str, Any]], Field(fail_fast=True)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=0)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: Annotated[list[str] | None, BeforeValidator(_as_list)] = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None

    # Ollama's own.
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    options: dict[str, Any] | None = None
    keep_alive: str | float | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None

    @property
    def include_usage(self) -> bool:
        """Whether the stream's last chunk reports the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage


def chat_request(asked: CompletionRequest, on_disconnect: str) -> ChatRequest:
    """Convert the body to a chat request.

    Args:
        asked: The body.
        on_disconnect: What the run does when its reader leaves: "stop", "grace" or "continue".

    Raises:
        Problem: A field cannot be honoured (400, named).
    """
    if not asked.messages:
        raise bad_field("messages", "[] is too short")  # as OpenAI and Ollama put it
    _refuse_unusual(asked)
    if on_disconnect not in ("stop", "grace", "continue"):
        raise bad_field(
            "X-On-Disconnect", f"should be stop, grace or continue, is {on_disconnect[:40]!r}"
        )
    fields: Json = {
        "model": asked.model,
        "messages": list(_messages(asked.messages)),
        "options": _options(asked) or None,
        "format": _format(asked.response_format),
        "keep_alive": asked.keep_alive,
        "think": _think(asked),
        "tools": _tools(asked),
        "logprobs": asked.logprobs,
        "top_logprobs": asked.top_logprobs,
        "stream": bool(asked.stream),
        "ui_control": "off",
    }
    if on_disconnect != "grace":
        fields["on_disconnect"] = on_disconnect
    try:
        return ChatRequest.model_validate(fields)
    except ValidationError as error:
        raise invalid(error) from error


def _refuse_unusual(asked: CompletionRequest) -> None:
    """Refuse fields that ask for something that Ollama cannot do."""
    for name, value in (asked.model_extra or {}).items():
        if value is None or name in _PASSED_OVER or value in _USUAL.get(name, ()):
            continue
        if name in _USUAL:
            (usual, *_) = _USUAL[name]
            raise bad_field(
                name, f"Ollama can only do {orjson.dumps(usual).decode()}; leave it out"
            )
        raise bad_field(name[:100], "this server does not know the field; leave it out")


def _options(asked: CompletionRequest) -> Json:
    options = dict(asked.options or {})
    for name, option in _OPTIONS.items():
        if (value := getattr(asked, name)) is not None:
            options[option] = value
    if isinstance(options.get("stop"), str):
        options["stop"] = [options["stop"]]  # from `options`
    # The newer name takes precedence over the older one.
    for limit in (asked.max_tokens, asked.max_completion_tokens):
        if limit is not None:
            options["num_predict"] = limit
    return options


def _format(wanted: ResponseFormat | None) -> Any:
    match wanted:
        case None | ResponseFormat(type="text"):
            return None
        case ResponseFormat(type="json_object"):
            return "json"
    schema = (wanted.json_schema or {}).get("schema")
    if not isinstance(schema, dict):
        raise bad_field("response_format.json_schema.schema", "should be a JSON schema")
    return schema


def _think(asked: CompletionRequest) -> bool | str | None:
    nested = asked.reasoning.effort if asked.reasoning else None
    effort = asked.reasoning_effort or nested
    match effort:
        case None:
            return asked.think
        case "none":
            return False
        case "minimal":
            return "low"
        case "xhigh":
            return "high"
        case "low" | "medium" | "high" | "max":
            return effort
    named = "reasoning_effort" if asked.reasoning_effort else "reasoning.effort"
    raise bad_field(named, f"should be one of {', '.join(_EFFORTS)}, is {effort[:40]!r}")


def _tools(asked: CompletionRequest) -> list[Json] | None:
    for index, tool in enumerate(asked.tools or ()):
        if tool.get("type") != "function" or not isinstance(tool.get("function"), dict):
            raise bad_field(f"tools.{index}", "should be a function; Ollama has no other tools")
    match asked.tool_choice:
        case None | "auto":
            return asked.tools or None
        case "none":
            return None
    why = "Ollama cannot be made to call a tool: should be auto or none"
    raise bad_field("tool_choice", why)


def _messages(messages: list[Json]) -> Iterator[Json]:
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        match message.get("role"):
            case "system" | "developer":
                yield {"role": "system", **_content(message, where)}
            case "user":
                yield {"role": "user", **_content(message, where)}
            case "assistant":
                told = _assistant(message, where)
                for call in told.get("tool_calls", ()):
                    names[call["id"]] = call["function"]["name"]
                yield told
            case "tool":
                call_id = text_field(message, "tool_call_id", where)
                result = {"role": "tool", "tool_call_id": call_id, **_content(message, where)}
                if name := names.get(call_id, ""):
                    result["tool_name"] = name
                yield result
            case role:
                why = f"should be system, developer, user, assistant or tool, is {str(role)[:40]!r}"
                raise bad_field(f"{where}.role", why)


def _assistant(message: Json, where: str) -> Json:
    told: Json = {"role": "assistant", **_content(message, where)}
    if message.get("audio") is not None:
        raise bad_field(f"{where}.audio", "Ollama takes no audio in a message")
    for name in ("reasoning", "reasoning_content"):
        if isinstance(thinking := message.get(name), str) and thinking:
            told["thinking"] = thinking
            break
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise bad_field(f"{where}.tool_calls", "should be a list")
    if calls:
        told["tool_calls"] = [
            _tool_call(call, f"{where}.tool_calls.{number}") for number, call in enumerate(calls)
        ]
    return told


def _tool_call(call: object, where: str) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise bad_field(where, "should be a call of a function")
    try:
        arguments = orjson.loads(text_field(function, "arguments", f"{where}.function") or "{}")
    except orjson.JSONDecodeError as error:
        raise bad_field(f"{where}.function.arguments", f"should be JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise bad_field(f"{where}.function.arguments", "should be a JSON object")
    return {
        "id": text_field(call, "id", where),
        "type": "function",
        "function": {
            "name": text_field(function, "name", f"{where}.function"),
            "arguments": arguments,
        },
    }


def _content(message: Json, where: str) -> Json:
    """Return a message's text, and its images."""
    match message.get("content"):
        case None:
            return {"content": ""}
        case str(content):
            return {"content": content}
        case list(parts):
            return _parts(parts, f"{where}.content")
    raise bad_field(f"{where}.content", "should be a string or a list of parts")


def _parts(parts: list[Any], where: str) -> Json:
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(parts):
        here = f"{where}.{index}"
        match part:
            case {"type": "text" | "input_text", "text": str(text)}:
                texts.append(text)
            case {"type": "refusal", "refusal": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                images.append(image_of_data_url(url, f"{here}.image_url.url"))
            case {"type": str(kind)} if kind not in ("text", "image_url"):
                raise bad_field(f"{here}.type", f"Ollama takes no {kind[:40]} in a message")
            case _:
                raise bad_field(here, "should be a text or an image_url part")
    return {"content": "\n".join(texts), **({"images": images} if images else {})}
