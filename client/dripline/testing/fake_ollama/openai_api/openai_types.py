"""The types of OpenAI's requests, as Ollama's source declares them in `openai/`."""

from __future__ import annotations

from collections.abc import Mapping

from dripline.testing.fake_ollama.api_types import TOOL
from dripline.testing.fake_ollama.go.go_reading import GoError
from dripline.testing.fake_ollama.go.go_types import (
    ANY,
    BOOL,
    FLOAT32,
    FLOAT64,
    INT,
    RAW,
    STRING,
    CustomType,
    GoType,
    Map,
    Slice,
    Struct,
    anonymous_struct,
    unmarshal,
)
from dripline.testing.fake_ollama.go.go_writing import quoted
from dripline.testing.fake_ollama.json_value import JsonValue

_STREAM_OPTIONS = Struct("openai.StreamOptions", {"include_usage": BOOL})
_TOOL_CALL = Struct(
    "openai.ToolCall",
    {
        "id": STRING,
        "index": INT,
        "type": STRING,
        "function": anonymous_struct({"name": STRING, "arguments": STRING}),
    },
)
_MESSAGE = Struct(
    "openai.Message",
    {
        "role": STRING,
        "content": ANY,
        "reasoning": STRING,
        "tool_calls": Slice(_TOOL_CALL),
        "name": STRING,
        "tool_call_id": STRING,
    },
)
CHAT_COMPLETION_REQUEST = Struct(
    "openai.ChatCompletionRequest",
    {
        "model": STRING,
        "messages": Slice(_MESSAGE),
        "stream": BOOL,
        "stream_options": _STREAM_OPTIONS,
        "max_tokens": INT,
        "seed": INT,
        "stop": ANY,
        "temperature": FLOAT64,
        "frequency_penalty": FLOAT64,
        "presence_penalty": FLOAT64,
        "top_p": FLOAT64,
        "response_format": Struct(
            "openai.ResponseFormat",
            {"type": STRING, "json_schema": Struct("openai.JsonSchema", {"schema": ANY})},
        ),
        "tools": Slice(TOOL),
        "reasoning": Struct("openai.Reasoning", {"effort": STRING}),
        "reasoning_effort": STRING,
        "logprobs": BOOL,
        "top_logprobs": INT,
        "_debug_render_only": BOOL,
    },
)
COMPLETION_REQUEST = Struct(
    "openai.CompletionRequest",
    {
        "model": STRING,
        "prompt": STRING,
        "frequency_penalty": FLOAT32,
        "max_tokens": INT,
        "presence_penalty": FLOAT32,
        "seed": INT,
        "stop": ANY,
        "stream": BOOL,
        "stream_options": _STREAM_OPTIONS,
        "temperature": FLOAT32,
        "top_p": FLOAT32,
        "suffix": STRING,
        "logprobs": INT,
        "_debug_render_only": BOOL,
    },
)
EMBEDDINGS_REQUEST = Struct(
    "openai.EmbedRequest",
    {"input": ANY, "model": STRING, "dimensions": INT, "encoding_format": STRING},
)


_RAW_LIST = Slice(RAW)
_CONTENT: dict[str, GoType] = {
    "input_text": Struct("openai.ResponsesTextContent", {"type": STRING, "text": STRING}),
    "output_text": Struct("openai.ResponsesOutputTextContent", {"type": STRING, "text": STRING}),
    "input_image": Struct(
        "openai.ResponsesImageContent",
        {"type": STRING, "detail": STRING, "file_id": STRING, "image_url": STRING},
    ),
    "input_file": Struct(
        "openai.ResponsesFileContent",
        {
            "type": STRING,
            "file_data": STRING,
            "file_id": STRING,
            "file_url": STRING,
            "filename": STRING,
        },
    ),
}
_TYPE = anonymous_struct({"type": STRING})
_TYPE_AND_ROLE = anonymous_struct({"type": STRING, "role": STRING})
_RAW_MESSAGE = anonymous_struct({"type": STRING, "role": STRING, "content": RAW})
_RAW_OUTPUT = anonymous_struct({"type": STRING, "call_id": STRING, "output": RAW})
_SUMMARY = Struct("openai.ResponsesReasoningSummary", {"type": STRING, "text": STRING})
_ITEMS: dict[str, GoType] = {
    "function_call": Struct(
        "openai.ResponsesFunctionCall",
        {
            "id": STRING,
            "type": STRING,
            "call_id": STRING,
            "name": STRING,
            "arguments": STRING,
        },
    ),
    "reasoning": Struct(
        "openai.ResponsesReasoningInput",
        {
            "id": STRING,
            "type": STRING,
            "summary": Slice(_SUMMARY),
            "encrypted_content": STRING,
        },
    ),
    "web_search_call": Struct(
        "openai.ResponsesWebSearchCall",
        {
            "id": STRING,
            "type": STRING,
            "status": STRING,
            "action": Struct("openai.ResponsesWebSearchAction", {"type": STRING, "query": STRING}),
        },
    ),
}


def _fields(value: JsonValue, struct: Struct) -> dict[str, JsonValue]:
    fields = unmarshal(value, struct)
    return dict(fields) if isinstance(fields, Mapping) else {}


def _contents(value: JsonValue, what: str) -> JsonValue:
    """Return a text, or a list of typed contents."""
    if value is None or isinstance(value, str):
        return value
    try:
        raw = unmarshal(value, _RAW_LIST)
    except GoError as error:
        raise GoError(f"{what} must be a string or array: {error.message}") from error
    contents: list[JsonValue] = []
    for index, one in enumerate(raw if isinstance(raw, list) else ()):
        try:
            kind = str(_fields(one, _TYPE).get("type") or "")
            if kind not in _CONTENT:
                raise GoError(f"unknown content type: {kind}")
            contents.append(unmarshal(one, _CONTENT[kind]))
        except GoError as error:
            raise GoError(f"{what}[{index}]: {error.message}") from error
    return contents


def _item(value: JsonValue) -> JsonValue:
    fields = _fields(value, _TYPE_AND_ROLE)
    kind = str(fields.get("type") or "") or ("message" if fields.get("role") else "")
    if kind == "message":
        message = _fields(value, _RAW_MESSAGE)
        return message | {"type": kind, "content": _contents(message.get("content"), "content")}
    if kind == "function_call_output":
        output = _fields(value, _RAW_OUTPUT)
        return output | {"output": _contents(output.get("output"), "output")}
    if kind in _ITEMS:
        return unmarshal(value, _ITEMS[kind])
    if not kind:
        raise GoError("input item missing required 'type' field")
    raise GoError(f"unknown input item type: {quoted(kind)}")


def _input(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value
    try:
        raw = unmarshal(value, _RAW_LIST)
    except GoError as error:
        raise GoError(f"input must be a string or array: {error.message}") from error
    items: list[JsonValue] = []
    for index, one in enumerate(raw if isinstance(raw, list) else ()):
        try:
            items.append(_item(one))
        except GoError as error:
            raise GoError(f"input[{index}]: {error.message}") from error
    return items


_RESPONSES_TOOL = Struct("openai.ResponsesTool", {})
_RESPONSES_TOOL.define(
    {
        "type": STRING,
        "name": STRING,
        "description": STRING,
        "strict": BOOL,
        "parameters": Map(ANY),
        "tools": Slice(_RESPONSES_TOOL),
    }
)
RESPONSES_REQUEST = Struct(
    "openai.ResponsesRequest",
    {
        "model": STRING,
        "background": BOOL,
        "conversation": ANY,
        "include": Slice(STRING),
        "input": CustomType("openai.ResponsesInput", _input),
        "instructions": STRING,
        "max_output_tokens": INT,
        "reasoning": Struct(
            "openai.ResponsesReasoning",
            {"effort": STRING, "generate_summary": STRING, "summary": STRING},
        ),
        "temperature": FLOAT64,
        "text": Struct(
            "openai.ResponsesText",
            {
                "format": Struct(
                    "openai.ResponsesTextFormat",
                    {"type": STRING, "name": STRING, "schema": ANY, "strict": BOOL},
                )
            },
        ),
        "top_p": FLOAT64,
        "truncation": STRING,
        "tools": Slice(_RESPONSES_TOOL),
        "stream": BOOL,
    },
)
