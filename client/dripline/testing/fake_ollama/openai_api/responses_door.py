"""`/v1/responses`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from dripline.testing.fake_ollama.api_types import TOOL_PARAMETERS
from dripline.testing.fake_ollama.door import UNCACHED
from dripline.testing.fake_ollama.go.go_reading import GoError, read_json
from dripline.testing.fake_ollama.go.go_types import NOT_AN_OBJECT, unmarshal
from dripline.testing.fake_ollama.go.go_writing import go_json, go_number
from dripline.testing.fake_ollama.json_value import Fields, JsonObject, JsonValue
from dripline.testing.fake_ollama.openai_api.completions_door import (
    OpenAiDoor,
    arguments_text,
    image_of,
    refuse,
    think_of,
)
from dripline.testing.fake_ollama.wire import AnswerStep


class ResponsesDoor(OpenAiDoor):
    """`/v1/responses`.

    Args:
        number: What the ids are made of.
        fields: The request's.
    """

    def __init__(self, number: int, fields: JsonObject) -> None:
        self._id = f"resp_{number}"
        self._item = f"msg_{number + 1}"
        self._thought = f"rs_{number + 2}"
        self._number = number
        self._fields = fields
        if fields.get("stream"):
            self.stream_headers = UNCACHED
        self._sequence = 0
        self._created = 0
        self._index = 0  # of the item that is being made
        self._thinking = ""
        self._text = ""
        self._texting = False
        self._called = False
        self._made: list[JsonValue] = []  # items that are complete

    def line(self, step: AnswerStep) -> bytes:
        """Return the events for one step of a stream."""
        events: list[bytes] = []
        self._created = step.seconds or self._created
        if not self._sequence:
            for kind in ("response.created", "response.in_progress"):
                response = self._response("in_progress", [], None)
                events.append(self._event(kind, {"response": response}))
        if step.thinking:
            events += self._think(step.thinking)
        if step.calls:
            events += self._finish_thinking()
            events += self._call(step)
            self._called = True
        elif step.content and not self._called:
            events += self._finish_thinking()
            events += self._say(step.content)
        if step.done_reason:
            events += self._finish_thinking()
            events += self._complete(step)
        return b"".join(events)

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        output: list[JsonValue] = []
        if step.thinking:
            output.append(
                {
                    "id": f"rs_{self._id}",
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": step.thinking}],
                    "encrypted_content": step.thinking,
                }
            )
        for index, call in enumerate(step.calls):
            output.append(
                {
                    "id": f"fc_{self._id}_{index}",
                    "type": "function_call",
                    "status": "completed",
                    "call_id": call.id,
                    "name": call.name,
                    "arguments": arguments_text(call),
                }
            )
        if not step.calls:
            part: JsonValue = {
                "type": "output_text",
                "text": step.content,
                "annotations": [],
                "logprobs": [],
            }
            output.append(
                {
                    "id": self._item,
                    "type": "message",
                    "status": "completed",
                    "role": "assistant",
                    "content": [part],
                }
            )
        self._created = step.seconds
        body = self._response("completed", output, usage_of(step), self._created)
        return go_json({name: body[name] for name in _ORDER}) + b"\n"

    def error_line(self, message: str) -> bytes:
        """Return what becomes of an error inside a stream: Ollama loses it."""
        return self.line(AnswerStep())

    def _event(self, kind: str, data: Fields) -> bytes:
        body: Fields = data | {"type": kind, "sequence_number": self._sequence}
        self._sequence += 1
        return f"event: {kind}\ndata: ".encode() + go_json(_sorted(body)) + b"\n\n"

    def _place(self, item: str, **more: JsonValue) -> Fields:
        return {"item_id": item, "output_index": self._index, **more}

    def _think(self, thinking: str) -> list[bytes]:
        events = []
        if not self._thinking:
            item: JsonValue = {"id": self._thought, "type": "reasoning", "summary": []}
            events.append(self._added(item))
        self._thinking += thinking
        delta = self._place(self._thought, summary_index=0, delta=thinking)
        return [*events, self._event("response.reasoning_summary_text.delta", delta)]

    def _finish_thinking(self) -> list[bytes]:
        if not self._thinking:
            return []
        text, self._thinking = self._thinking, ""
        done = self._place(self._thought, summary_index=0, text=text)
        item: JsonValue = {
            "id": self._thought,
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text}],
            "encrypted_content": text,
        }
        events = [self._event("response.reasoning_summary_text.done", done), self._done(item)]
        self._made.append(item)
        self._index += 1
        return events

    def _say(self, text: str) -> list[bytes]:
        events = []
        if not self._texting:
            self._texting = True
            item: JsonValue = {
                "id": self._item,
                "type": "message",
                "status": "in_progress",
                "role": "assistant",
                "content": [],
            }
            part = self._place(self._item, content_index=0, part=_part(""))
            events = [self._added(item), self._event("response.content_part.added", part)]
        self._text += text
        delta = self._place(self._item, content_index=0, delta=text, logprobs=[])
        return [*events, self._event("response.output_text.delta", delta)]

    def _call(self, step: AnswerStep) -> list[bytes]:
        events = []
        for index, call in enumerate(step.calls):
            arguments = arguments_text(call)
            item: Fields = {
                "id": f"fc_{self._number + self._index}_{index}",
                "type": "function_call",
                "status": "completed",
                "call_id": call.id,
                "name": call.name,
                "arguments": arguments,
            }
            begun = item | {"status": "in_progress", "arguments": ""}
            place = self._place(str(item["id"]))
            events += [
                self._added(begun),
                self._event("response.function_call_arguments.delta", place | {"delta": arguments}),
                self._event(
                    "response.function_call_arguments.done", place | {"arguments": arguments}
                ),
                self._done(item),
            ]
            self._made.append(item)
            self._index += 1
        return events

    def _complete(self, step: AnswerStep) -> list[bytes]:
        events = []
        output = list(self._made)
        if self._texting:
            item: JsonValue = {
                "id": self._item,
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [_part(self._text)],
            }
            output.append(item)
            if not self._called:
                done = self._place(self._item, content_index=0, text=self._text, logprobs=[])
                part = self._place(self._item, content_index=0, part=_part(self._text))
                events = [
                    self._event("response.output_text.done", done),
                    self._event("response.content_part.done", part),
                    self._done(item),
                ]
        response = self._response("completed", output, usage_of(step), self._created)
        return [*events, self._event("response.completed", {"response": response})]

    def _added(self, item: JsonValue) -> bytes:
        return self._event(
            "response.output_item.added", {"output_index": self._index, "item": item}
        )

    def _done(self, item: JsonValue) -> bytes:
        return self._event("response.output_item.done", {"output_index": self._index, "item": item})

    def _response(
        self,
        status: str,
        output: Sequence[JsonValue],
        usage: JsonValue,
        completed_at: int | None = None,
    ) -> Fields:
        fields = self._fields
        reasoning = cast("JsonObject", fields.get("reasoning") or {})
        effort, summary = reasoning.get("effort") or None, reasoning.get("summary") or None
        whole = not fields.get("stream")
        thought: JsonValue = None
        if effort or summary:
            # One piece leaves out what is not there, and a stream says null.
            both: Fields = {"effort": effort, "summary": summary}
            thought = {name: one for name, one in both.items() if one or not whole}
        text = cast("JsonObject", fields.get("text") or {})
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "completed_at": completed_at,
            "status": status,
            "incomplete_details": None,
            "model": fields.get("model") or "",
            "previous_response_id": None,
            "instructions": fields.get("instructions") or None,
            "output": list(output),
            "error": None,
            "tools": [_shown_tool(tool, whole=whole) for tool in _tools(fields)],
            "tool_choice": "auto",
            "truncation": fields.get("truncation") or "disabled",
            "parallel_tool_calls": True,
            "text": {"format": _shown_format(text.get("format"))},
            "top_p": _number(fields.get("top_p")),
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "temperature": _number(fields.get("temperature")),
            "reasoning": thought,
            "usage": usage,
            "max_output_tokens": fields.get("max_output_tokens"),
            "max_tool_calls": None,
            "store": False,
            "background": bool(fields.get("background")),
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }


_ORDER = (
    *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model"),
    *("previous_response_id", "instructions", "output", "error", "tools", "tool_choice"),
    *("truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty"),
    *("frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage"),
    *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier"),
    *("metadata", "safety_identifier", "prompt_cache_key"),
)


def _sorted(value: JsonValue) -> JsonValue:
    """Return objects with their names in order, as Go writes maps."""
    if isinstance(value, Mapping):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _number(value: JsonValue) -> JsonValue:
    return go_number(value) if isinstance(value, int | float) else 1


def _part(text: str) -> JsonValue:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _tools(fields: JsonObject) -> list[JsonObject]:
    return cast("list[JsonObject]", fields.get("tools") or [])


def _shown_tool(tool: JsonObject, *, whole: bool) -> JsonValue:
    shown: Fields = {
        "type": tool.get("type") or "",
        "name": tool.get("name") or "",
        "description": tool.get("description"),
        "strict": tool.get("strict"),
        "parameters": _sorted(tool.get("parameters")),
    }
    if whole and tool.get("tools"):
        shown["tools"] = [
            _shown_tool(inner, whole=True) for inner in cast("list[JsonObject]", tool["tools"])
        ]
    return shown


def _shown_format(wanted: JsonValue) -> JsonValue:
    if not isinstance(wanted, Mapping):
        return {"type": "text"}
    shown: Fields = {"type": wanted.get("type") or ""}
    for name in ("name", "schema", "strict"):
        if wanted.get(name) not in (None, ""):
            shown[name] = wanted[name]
    return shown


def usage_of(step: AnswerStep) -> JsonValue:
    """Return the counts of tokens."""
    prompt = step.figures.prompt_tokens if step.figures else 0
    completion = step.figures.completion_tokens if step.figures else 0
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def responses_fields(fields: JsonObject) -> Fields:
    """Return the fields of an `api.ChatRequest` for those of a response.

    Raises:
        ApiError: It cannot become one.
    """
    options: Fields = {"temperature": fields.get("temperature")}
    if options["temperature"] is None:
        options["temperature"] = 1.0
    for name, option in (("top_p", "top_p"), ("max_output_tokens", "num_predict")):
        if fields.get(name) is not None:
            options[option] = fields[name]
    reasoning = cast("JsonObject", fields.get("reasoning") or {})
    text = cast("JsonObject", fields.get("text") or {})
    wanted = cast("JsonObject", text.get("format") or {})
    return {
        "model": fields.get("model") or "",
        "messages": _messages(fields),
        "options": options,
        "tools": [made for tool in _tools(fields) for made in _native_tools(tool)] or None,
        "format": wanted.get("schema") if wanted.get("type") == "json_schema" else None,
        "think": think_of(str(reasoning.get("effort") or "")),
        "stream": bool(fields.get("stream")),
    }


def _native_tools(tool: JsonObject, prefix: str = "") -> list[JsonValue]:
    """Return a tool as Ollama's; a namespace is all of its members."""
    name = str(tool.get("name") or "")
    if tool.get("type") == "web_search":
        query: JsonValue = {"type": "string", "description": "The search query."}
        parameters: JsonValue = {
            "type": "object",
            "required": ["query"],
            "properties": {"query": query},
        }
        description = "Search the web for current information."
        function: JsonValue = {
            "name": "web_search",
            "description": description,
            "parameters": parameters,
        }
        return [{"type": "function", "function": function}]
    if tool.get("type") == "namespace":
        inner = cast("list[JsonObject]", tool.get("tools") or [])
        within = f"{name}." if name else ""
        return [made for one in inner for made in _native_tools(one, prefix + within)]
    full = name if name.startswith(prefix) else prefix + name
    try:
        unmarshal(tool.get("parameters"), TOOL_PARAMETERS)
    except GoError as error:
        raise refuse(f"failed to unmarshal tool parameters: {error.message}") from error
    made: JsonValue = {
        "name": full,
        "description": tool.get("description") or "",
        "parameters": tool.get("parameters") or {},
    }
    return [{"type": tool.get("type") or "", "function": made}]


def _messages(fields: JsonObject) -> list[JsonValue]:
    read: list[Fields] = []
    if instructions := fields.get("instructions"):
        read.append({"role": "system", "content": instructions})
    given = fields.get("input")
    if isinstance(given, str) and given:
        read.append({"role": "user", "content": given})
    thinking = ""
    for item in given if isinstance(given, list) else ():
        thinking = _add_item(read, cast("JsonObject", item or {}), thinking)
    if thinking:
        read.append({"role": "assistant", "content": "", "thinking": thinking})
    return list(read)


def _add_item(read: list[Fields], item: JsonObject, thinking: str) -> str:
    """Add an item to the messages; return the thinking that waits for a message of its own."""
    match item.get("type"):
        case "reasoning":
            return str(item.get("encrypted_content") or "")
        case "message":
            content, images = _content(item.get("content"))
            message: Fields = {"role": item.get("role") or "", "content": content}
            if images:
                message["images"] = images
            if thinking and message["role"] == "assistant":
                message["thinking"] = thinking
                thinking = ""
            read.append(message)
        case "function_call":
            call = _native_call(item)
            if not (read and read[-1].get("role") == "assistant"):
                read.append({"role": "assistant", "content": ""})
            read[-1].setdefault("tool_calls", [])
            cast("list[JsonValue]", read[-1]["tool_calls"]).append(call)
            if thinking:
                read[-1]["thinking"] = thinking
                thinking = ""
        case "function_call_output":
            content, images = _content(item.get("output"))
            output: Fields = {
                "role": "tool",
                "content": content,
                "tool_call_id": item.get("call_id") or "",
                "tool_name": _tool_called(read, item.get("call_id")),
            }
            if images:
                output["images"] = images
            read.append(output)
    return thinking


def _tool_called(read: list[Fields], call_id: JsonValue) -> str:
    """Return the tool that a call of this id has called; Ollama leaves that to the template."""
    for message in reversed(read):
        for call in cast("list[JsonObject]", message.get("tool_calls") or []):
            if call.get("id") == call_id:
                return str(cast("JsonObject", call["function"]).get("name") or "")
    return ""


def _native_call(item: JsonObject) -> JsonValue:
    text = str(item.get("arguments") or "")
    arguments: JsonValue = {}
    if text:
        try:
            arguments = read_json(text.encode())
            if not isinstance(arguments, Mapping | None):
                raise GoError(NOT_AN_OBJECT)
        except GoError as error:
            cut = error.message == "unexpected EOF"
            problem = "unexpected end of JSON input" if cut else error.message
            raise refuse(f"failed to parse function call arguments: {problem}") from error
    function: JsonValue = {"name": item.get("name") or "", "arguments": arguments or {}}
    return {"id": item.get("call_id") or "", "function": function}


def _content(value: JsonValue) -> tuple[str, list[JsonValue]]:
    """Return the text and the pictures of a content."""
    if not isinstance(value, list):
        return str(value or ""), []
    text, images = "", list[JsonValue]()
    for part in cast("list[JsonObject]", value):
        match part.get("type"):
            case "input_text" | "output_text":
                text += str(part.get("text") or "")
            case "input_image":
                if url := part.get("image_url"):
                    images.append(image_of(str(url)))
            case "input_file":
                raise refuse("file inputs are not currently supported")
    return text, images
