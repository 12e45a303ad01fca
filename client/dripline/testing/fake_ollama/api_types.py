"""The types of Ollama's requests, as its source declares them in `api/types.go`."""

from __future__ import annotations

import math

from dripline.testing.fake_ollama.go.go_reading import GoError
from dripline.testing.fake_ollama.go.go_types import (
    ANY,
    BOOL,
    INT,
    STRING,
    Base64,
    CustomType,
    Map,
    Slice,
    Struct,
    kind_of,
    ordered_map,
    read_duration,
    unmarshal,
)
from dripline.testing.fake_ollama.go.go_writing import quoted
from dripline.testing.fake_ollama.json_value import JsonValue

LEVELS = ("high", "medium", "low", "max")
_CHOICE = '"high", "medium", "low", "max", true, or false'
FOREVER = math.inf  # a `keep_alive` below 0


def _duration(value: JsonValue) -> JsonValue:
    """Return seconds: a number of them, or one of Go's durations; below 0 is for ever."""
    if isinstance(value, str):
        seconds = read_duration(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        names = {"bool": "bool", "array": "[]interface {}", "object": "map[string]interface {}"}
        raise GoError(f"Unsupported type: '{names[kind_of(value)]}'")
    return seconds if seconds >= 0 else FOREVER


def _think(value: JsonValue) -> JsonValue:
    if isinstance(value, bool) or value in LEVELS:
        return value
    if isinstance(value, str):
        raise GoError(f"invalid think value: {quoted(value)} (must be {_CHOICE})")
    raise GoError(f"think must be a boolean or string ({_CHOICE})")


def _property_type(value: JsonValue) -> JsonValue:
    return value if isinstance(value, str) else unmarshal(value, Slice(STRING))


def _message(value: JsonValue) -> JsonValue:
    message = unmarshal(value, _MESSAGE_FIELDS)
    if isinstance(message, dict) and isinstance(role := message.get("role"), str):
        return message | {"role": role.lower()}
    return message


DURATION = CustomType("api.Duration", _duration)
THINK = CustomType("api.ThinkValue", _think)
OPTIONS = Map(ANY)
IMAGES = Slice(Base64("api.ImageData"))

# Ollama drops what else a JSON schema says. Scripts see it, and demo models obey it.
TOOL_PROPERTY = Struct("api.ToolProperty", {}, keeps_unknown=True)
_PROPERTIES = ordered_map(TOOL_PROPERTY)
TOOL_PROPERTY.define(
    {
        "anyOf": Slice(TOOL_PROPERTY),
        "type": CustomType("api.PropertyType", _property_type),
        "items": ANY,
        "description": STRING,
        "enum": Slice(ANY),
        "properties": _PROPERTIES,
        "required": Slice(STRING),
    }
)
TOOL_PARAMETERS = Struct(
    "api.ToolFunctionParameters",
    {
        "type": STRING,
        "$defs": ANY,
        "items": ANY,
        "required": Slice(STRING),
        "properties": _PROPERTIES,
    },
    keeps_unknown=True,
)
TOOL = Struct(
    "api.Tool",
    {
        "type": STRING,
        "items": ANY,
        "function": Struct(
            "api.ToolFunction",
            {"name": STRING, "description": STRING, "parameters": TOOL_PARAMETERS},
        ),
    },
)
TOOL_CALL = Struct(
    "api.ToolCall",
    {
        "id": STRING,
        "function": Struct(
            "api.ToolCallFunction",
            {"index": INT, "name": STRING, "arguments": ordered_map(ANY)},
        ),
    },
)
_MESSAGE_FIELDS = Struct(
    "api.Alias",
    {
        "role": STRING,
        "content": STRING,
        "thinking": STRING,
        "images": IMAGES,
        "tool_calls": Slice(TOOL_CALL),
        "tool_name": STRING,
        "tool_call_id": STRING,
    },
)
MESSAGE = CustomType("api.Message", _message)

_ANSWER_FIELDS = {
    "model": STRING,
    "stream": BOOL,
    "format": ANY,
    "keep_alive": DURATION,
    "options": OPTIONS,
    "think": THINK,
    "truncate": BOOL,
    "shift": BOOL,
    "_debug_render_only": BOOL,
    "logprobs": BOOL,
    "top_logprobs": INT,
}
CHAT_REQUEST = Struct(
    "api.ChatRequest",
    {**_ANSWER_FIELDS, "messages": Slice(MESSAGE), "tools": Slice(TOOL, "api.Tools")},
)
GENERATE_REQUEST = Struct(
    "api.GenerateRequest",
    {
        **_ANSWER_FIELDS,
        "prompt": STRING,
        "suffix": STRING,
        "system": STRING,
        "template": STRING,
        "context": Slice(INT),
        "raw": BOOL,
        "images": IMAGES,
    },
)
EMBED_REQUEST = Struct(
    "api.EmbedRequest",
    {
        "model": STRING,
        "input": ANY,
        "keep_alive": DURATION,
        "truncate": BOOL,
        "dimensions": INT,
        "options": OPTIONS,
    },
)
EMBEDDING_REQUEST = Struct(
    "api.EmbeddingRequest",
    {"model": STRING, "prompt": STRING, "keep_alive": DURATION, "options": OPTIONS},
)
SHOW_REQUEST = Struct(
    "api.ShowRequest",
    {
        "model": STRING,
        "system": STRING,
        "template": STRING,
        "verbose": BOOL,
        "options": OPTIONS,
        "name": STRING,
    },
)
_TRANSFER_FIELDS = {
    "model": STRING,
    "insecure": BOOL,
    "username": STRING,
    "password": STRING,
    "stream": BOOL,
    "name": STRING,
}
PULL_REQUEST = Struct("api.PullRequest", _TRANSFER_FIELDS)
PUSH_REQUEST = Struct("api.PushRequest", _TRANSFER_FIELDS)
COPY_REQUEST = Struct("api.CopyRequest", {"source": STRING, "destination": STRING})
DELETE_REQUEST = Struct("api.DeleteRequest", {"model": STRING, "name": STRING})
CREATE_REQUEST = Struct(
    "api.CreateRequest",
    {
        "model": STRING,
        "stream": BOOL,
        "quantize": STRING,
        "draft_quantize": STRING,
        "from": STRING,
        "remote_host": STRING,
        "files": Map(STRING),
        "draft_files": Map(STRING),
        "adapters": Map(STRING),
        "template": STRING,
        "license": ANY,
        "system": STRING,
        "parameters": OPTIONS,
        "messages": Slice(MESSAGE),
        "renderer": STRING,
        "parser": STRING,
        "requires": STRING,
        "info": Map(ANY),
        "name": STRING,
        "quantization": STRING,
    },
)
