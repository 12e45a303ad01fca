"""`/v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.api_types import TOOL_PARAMETERS
from dripline.testing.fake_ollama.door import UNCACHED, Door
from dripline.testing.fake_ollama.go.go_reading import GoError
from dripline.testing.fake_ollama.go.go_types import (
    ANY,
    BOOL,
    FLOAT64,
    INT,
    RAW,
    STRING,
    CustomType,
    Slice,
    Struct,
    anonymous_struct,
    decode_base64,
    ordered_map,
    unmarshal,
)
from dripline.testing.fake_ollama.go.go_writing import go_json, quoted
from dripline.testing.fake_ollama.json_value import Fields, JsonObject, JsonValue
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.wire import AnswerStep

_SOURCE = Struct(
    "anthropic.ImageSource",
    {"type": STRING, "media_type": STRING, "data": STRING, "url": STRING},
)
_CITATION = Struct(
    "anthropic.Citation",
    {
        "type": STRING,
        "url": STRING,
        "title": STRING,
        "encrypted_index": STRING,
        "cited_text": STRING,
    },
)
_BLOCK = Struct(
    "anthropic.ContentBlock",
    {
        "type": STRING,
        "text": STRING,
        "citations": Slice(_CITATION),
        "source": _SOURCE,
        "id": STRING,
        "name": STRING,
        "input": ordered_map(ANY),
        "tool_use_id": STRING,
        "content": ANY,
        "is_error": BOOL,
        "thinking": STRING,
        "signature": STRING,
    },
)
_RAW_MESSAGE = anonymous_struct({"role": STRING, "content": RAW})


def _read_message(value: JsonValue) -> JsonValue:
    fields = dict(cast("JsonObject", unmarshal(value, _RAW_MESSAGE) or {}))
    given = value if isinstance(value, Mapping) else {}
    if not any(name.casefold() == "content" for name in given):
        raise GoError("unexpected end of JSON input")
    content = fields.get("content")
    if content is None or isinstance(content, str):
        fields["content"] = [{"type": "text", "text": content or ""}]
    else:
        fields["content"] = unmarshal(content, Slice(_BLOCK))
    return fields


MESSAGES_REQUEST = Struct(
    "anthropic.MessagesRequest",
    {
        "model": STRING,
        "max_tokens": INT,
        "messages": Slice(CustomType("anthropic.MessageParam", _read_message)),
        "system": ANY,
        "stream": BOOL,
        "temperature": FLOAT64,
        "top_p": FLOAT64,
        "top_k": INT,
        "stop_sequences": Slice(STRING),
        "tools": Slice(
            Struct(
                "anthropic.Tool",
                {
                    "type": STRING,
                    "name": STRING,
                    "description": STRING,
                    "input_schema": ANY,
                    "max_uses": INT,
                },
            )
        ),
        "tool_choice": Struct(
            "anthropic.ToolChoice",
            {"type": STRING, "name": STRING, "disable_parallel_tool_use": BOOL},
        ),
        "thinking": Struct("anthropic.ThinkingConfig", {"type": STRING, "budget_tokens": INT}),
        "metadata": Struct("anthropic.Metadata", {"user_id": STRING}),
        "output_config": Struct("anthropic.OutputConfig", {"effort": STRING}),
    },
)

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


class MessagesDoor(Door):
    """`/v1/messages`.

    Args:
        ident: What the ids are made of: 24 hexadecimal digits.
        fields: The request's.
    """

    stream_type = wire.EVENTS
    whole_type = wire.PLAIN_JSON

    def __init__(self, ident: str, fields: JsonObject) -> None:
        self._ident = ident
        self._model = fields.get("model") or ""
        self._estimate = estimate(fields)
        if fields.get("stream"):
            self.stream_headers = UNCACHED
        self._begun = False
        self._index = 0
        self._open = ""  # the kind of the block that is being made
        self._thought = False
        self._called = False

    def line(self, step: AnswerStep) -> bytes:
        """Return the events for one step of a stream."""
        events: list[bytes] = []
        if not self._begun:
            self._begun = True
            prompt = step.figures.prompt_tokens if step.figures else self._estimate
            events.append(_event("message_start", {"message": self._message([], prompt, 0)}))
        if step.thinking and not self._thought:
            events += self._block("thinking", {"type": "thinking", "thinking": ""})
            events.append(self._delta({"type": "thinking_delta", "thinking": step.thinking}))
        if step.content:
            events += self._block("text", {"type": "text", "text": ""})
            events.append(self._delta({"type": "text_delta", "text": step.content}))
        for call in step.calls:
            self._called = True
            used: JsonValue = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            events += self._block("tool_use", used)
            arguments = go_json(call.arguments).decode()
            events.append(self._delta({"type": "input_json_delta", "partial_json": arguments}))
            events += self._close()
        if step.done_reason:
            events += self._close()
            figures = step.figures
            usage: JsonValue = {
                "input_tokens": figures.prompt_tokens if figures else 0,
                "output_tokens": figures.completion_tokens if figures else 0,
            }
            reason = _stop_reason(step.done_reason, called=self._called)
            delta: JsonValue = {"stop_reason": reason}
            events.append(_event("message_delta", {"delta": delta, "usage": usage}))
            events.append(_event("message_stop", {}))
        return b"".join(events)

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        content: list[JsonValue] = []
        if step.thinking:
            content.append({"type": "thinking", "thinking": step.thinking})
        if step.content:
            content.append({"type": "text", "text": step.content})
        for call in step.calls:
            used: JsonValue = {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": call.arguments,
            }
            content.append(used)
        figures = step.figures
        reason = _stop_reason(step.done_reason, called=bool(step.calls))
        body = self._message(
            content or None,
            figures.prompt_tokens if figures else 0,
            figures.completion_tokens if figures else 0,
            reason,
        )
        return go_json(body) + b"\n"

    def error_line(self, message: str) -> bytes:
        """Return what becomes of an error inside a stream: Ollama loses it."""
        return self.line(AnswerStep())

    def garbage(self, line: bytes) -> bytes:
        """Return a line that is not Ollama's as one of the stream."""
        return b"data: " + line + b"\n\n"

    def refusal(self, refused: ApiError) -> tuple[str, bytes]:
        """Return the type and the body of an error status."""
        if refused.native:
            return super().refusal(refused)
        kind = _KINDS.get(refused.status, "api_error")
        body: JsonValue = {
            "type": "error",
            "error": {"type": kind, "message": refused.message},
            "request_id": f"req_{self._ident}",
        }
        return (
            (wire.JSON, go_json(body))
            if refused.early
            else (
                wire.PLAIN_JSON,
                go_json(body) + b"\n",
            )
        )

    def _message(
        self, content: JsonValue, prompt: int, completion: int, reason: str = ""
    ) -> Fields:
        return {
            "id": f"msg_{self._ident}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            **({"stop_reason": reason} if reason else {}),
            "usage": {"input_tokens": prompt, "output_tokens": completion},
        }

    def _block(self, kind: str, block: JsonValue) -> list[bytes]:
        """Open a block, unless one of its kind is open."""
        if self._open == kind != "tool_use":
            return []
        events = self._close()
        self._open = kind
        started: Fields = {"index": self._index, "content_block": block}
        return [*events, _event("content_block_start", started)]

    def _close(self) -> list[bytes]:
        if not self._open:
            return []
        self._thought = self._thought or self._open == "thinking"
        self._open = ""
        self._index += 1
        return [_event("content_block_stop", {"index": self._index - 1})]

    def _delta(self, delta: JsonValue) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})


def _event(kind: str, data: Fields) -> bytes:
    return f"event: {kind}\ndata: ".encode() + go_json({"type": kind} | data) + b"\n\n"


def _stop_reason(reason: str, *, called: bool) -> str:
    if called:
        return "tool_use"
    return {"": "", "stop": "end_turn", "length": "max_tokens"}.get(reason, "stop_sequence")


def refuse(message: str) -> ApiError:
    """Return the refusal of a request that cannot become one of Ollama's."""
    return ApiError(400, message, early=True)


def messages_fields(fields: JsonObject) -> Fields:
    """Return the fields of an `api.ChatRequest` for those of Anthropic's request.

    Raises:
        ApiError: It cannot become one.
    """
    max_tokens = fields.get("max_tokens") or 0
    messages = cast("list[JsonObject]", fields.get("messages") or [])
    if not fields.get("model"):
        raise refuse("model is required")
    if not isinstance(max_tokens, int) or max_tokens <= 0:
        raise refuse("max_tokens is required and must be positive")
    if not messages:
        raise refuse("messages is required")
    read: list[JsonValue] = []
    if system := _system(fields.get("system")):
        read.append({"role": "system", "content": system})
    names: dict[str, str] = {}
    for message in messages:
        read += _messages(message or {}, names)
    options: Fields = {"num_predict": max_tokens}
    for name in ("temperature", "top_p", "top_k"):
        if fields.get(name) is not None:
            options[name] = fields[name]
    if stops := fields.get("stop_sequences"):
        options["stop"] = stops
    return {
        "model": fields["model"],
        "messages": read,
        "options": options,
        "stream": bool(fields.get("stream")),
        "tools": _tools(cast("list[JsonObject]", fields.get("tools") or [])) or None,
        "think": _think(fields),
    }


def _system(value: JsonValue) -> str:
    if isinstance(value, list):
        blocks = (one for one in value if isinstance(one, Mapping) and one.get("type") == "text")
        return "".join(text for one in blocks if isinstance(text := one.get("text"), str))
    return value if isinstance(value, str) else ""


def _think(fields: JsonObject) -> JsonValue:
    thinking = cast("JsonObject", fields.get("thinking") or {}).get("type")
    if thinking in ("enabled", "disabled"):
        return thinking == "enabled"
    config = cast("JsonObject", fields.get("output_config") or {})
    effort = str(config.get("effort") or "").strip().lower()
    effort = "high" if effort == "xhigh" else effort
    return effort if effort in ("high", "medium", "low", "max") else None


def _tools(tools: list[JsonObject]) -> list[JsonValue]:
    built_in = any(str(tool.get("type") or "").startswith("web_search") for tool in tools)
    read: list[JsonValue] = []
    for tool in tools:
        name = str(tool.get("name") or "")
        searches = str(tool.get("type") or "").startswith("web_search")
        if searches:
            about = "The search query to look up on the web"
            query: JsonValue = {"type": "string", "description": about}
            name, description = (
                "web_search",
                (
                    "Search the web for current information. Use this to find up-to-date "
                    "information about any topic."
                ),
            )
            schema: JsonValue = {
                "type": "object",
                "required": ["query"],
                "properties": {"query": query},
            }
        elif built_in and name == "web_search":
            continue
        else:
            description, schema = str(tool.get("description") or ""), tool.get("input_schema")
            try:
                unmarshal(schema, TOOL_PARAMETERS)
            except GoError as error:
                wrong = f"invalid input_schema for tool {quoted(name)}: {error.message}"
                raise refuse(wrong) from error
        function: JsonValue = {
            "name": name,
            "description": description,
            "parameters": schema or {},
        }
        read.append({"type": "function", "function": function})
    return read


def _messages(message: JsonObject, names: dict[str, str]) -> list[JsonValue]:
    """Return a message as Ollama's: results of tools are messages of their own.

    Args:
        message: With its content as blocks.
        names: The tools that have been called, by the ids of the calls; more are added.
    """
    role = str(message.get("role") or "").lower()
    said: Fields = {"role": role, "content": ""}
    results: list[JsonValue] = []
    for block in cast("list[JsonObject]", message.get("content") or []):
        match block.get("type"):
            case "text":
                said["content"] = f"{said['content']}{block.get('text') or ''}"
            case "image":
                _add(said, "images", _image(block.get("source"), "invalid image source"))
            case "tool_use" | "server_tool_use" as kind:
                _add(said, "tool_calls", _native_call(block, names, required=kind == "tool_use"))
            case "tool_result" | "web_search_tool_result":
                results.append(_result(block, names))
            case "thinking":
                said["thinking"] = block.get("thinking") or ""
    read: list[JsonValue] = [said] if any(said[name] for name in said if name != "role") else []
    return [*results, *read] if role == "user" else [*read, *results]


def _add(message: Fields, name: str, value: JsonValue) -> None:
    cast("list[JsonValue]", message.setdefault(name, [])).append(value)


def _native_call(block: JsonObject, names: dict[str, str], *, required: bool) -> JsonValue:
    call_id, name = str(block.get("id") or ""), str(block.get("name") or "")
    for field, value in (("id", call_id), ("name", name)):
        if required and not value:
            raise refuse(f"tool_use block missing required '{field}' field")
    names[call_id] = name
    function: JsonValue = {"name": name, "arguments": block.get("input") or {}}
    return {"id": call_id, "function": function}


def _result(block: JsonObject, names: Mapping[str, str]) -> JsonValue:
    content = block.get("content")
    text, images = "", list[JsonValue]()
    if isinstance(content, str):
        text = content
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, Mapping):
            continue
        match part.get("type"):
            case "text":
                text += one if isinstance(one := part.get("text"), str) else ""
            case "image":
                images.append(_image(part.get("source"), "invalid tool_result image source"))
            case "web_search_result":
                text += f"- {part.get('title') or ''}: {part.get('url') or ''}\n"
    call_id = str(block.get("tool_use_id") or "")
    result: Fields = {
        "role": "tool",
        "content": text,
        "tool_call_id": call_id,
        "tool_name": names.get(call_id, ""),
    }
    return result | ({"images": images} if images else {})


def _image(source: JsonValue, missing: str) -> str:
    if not isinstance(source, Mapping):
        raise refuse(missing)
    if source.get("type") != "base64":
        raise refuse(
            f"invalid image source type: {source.get('type') or ''}. "
            "Only base64 images are supported."
        )
    data = str(source.get("data") or "")
    try:
        decode_base64(data)
    except GoError as error:
        raise refuse(f"invalid base64 image data: {error.message}") from error
    return data


def estimate(fields: JsonObject) -> int:
    """Return how many tokens Ollama guesses that a request has, before it has counted them."""
    system = fields.get("system")
    size = _size(system)
    messages = cast("list[JsonObject]", fields.get("messages") or [])
    for message in messages:
        size += len(str((message or {}).get("role") or "").encode())
        size += _size((message or {}).get("content"))
    for tool in cast("list[JsonObject]", fields.get("tools") or []):
        schema = tool.get("input_schema")
        size += len(str(tool.get("name") or "")) + len(str(tool.get("description") or ""))
        size += len(json.dumps(schema)) if schema else 0
    return size // 4 or int(bool(messages) or system is not None)


def _size(content: JsonValue) -> int:
    if isinstance(content, str):
        return len(content.encode(errors="replace"))
    if not isinstance(content, list):
        return len(go_json(content)) if content else 0
    size = 0
    for block in content:
        if isinstance(block, Mapping):
            size += len(str(block.get("text") or "").encode(errors="replace"))
            size += len(str(block.get("thinking") or "").encode(errors="replace"))
            if block.get("type") in ("tool_use", "tool_result"):
                size += len(go_json(block))
    return size
