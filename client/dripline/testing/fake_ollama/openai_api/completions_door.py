"""`/v1/chat/completions` and `/v1/completions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.door import Door
from dripline.testing.fake_ollama.go.go_reading import GoError, read_json
from dripline.testing.fake_ollama.go.go_types import NOT_AN_OBJECT, decode_base64
from dripline.testing.fake_ollama.go.go_writing import go_json, quoted
from dripline.testing.fake_ollama.json_value import Fields, JsonObject, JsonValue
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.wire import AnswerStep, MadeCall


def openai_error(status: int, message: str) -> bytes:
    """Return the body of an error of OpenAI's."""
    kinds = {400: "invalid_request_error", 404: "not_found_error"}
    error: JsonValue = {
        "message": message,
        "type": kinds.get(status, "api_error"),
        "param": None,
        "code": None,
    }
    return go_json({"error": error})


class OpenAiDoor(Door):
    """What OpenAI's endpoints have in common: how they refuse."""

    whole_type = wire.PLAIN_JSON
    stream_type = wire.EVENTS

    def garbage(self, line: bytes) -> bytes:
        """Return a line that is not Ollama's as one of the stream."""
        return b"data: " + line + b"\n\n"

    def refusal(self, refused: ApiError) -> tuple[str, bytes]:
        """Return the type and the body of an error status."""
        if refused.native:
            return super().refusal(refused)
        body = openai_error(refused.status, refused.message)
        # Ollama's own errors are written over as they pass; these are written at once.
        return (wire.JSON, body) if refused.early else (wire.PLAIN_JSON, body + b"\n")


class ChatCompletionsDoor(OpenAiDoor):
    """`/v1/chat/completions`.

    Args:
        number: What the answer's id ends with.
        include_usage: Whether a stream ends with the counts of tokens.
        finish_apart: Whether a stream's end is a chunk of its own, as it is today; before, each
            chunk named the role, and the last one had the reason.
    """

    def __init__(self, number: int, *, include_usage: bool, finish_apart: bool = True) -> None:
        self._id = f"chatcmpl-{number}"
        self._include_usage = include_usage
        self._finish_apart = finish_apart
        self._created: int | None = None
        self._begun = False
        self._called = False

    def line(self, step: AnswerStep) -> bytes:
        """Return the events for one step of a stream."""
        if self._created is None:
            self._created = step.seconds
        if not self._finish_apart:
            return self._old_line(step)
        trailer = step.done_reason and not (
            step.content or step.thinking or step.calls or step.logprobs
        )
        chunks: list[JsonValue] = []
        if not (trailer and self._begun):
            chunks += self._chunks(step)
            self._begun = True
        if step.done_reason:
            called = step.done_reason == "stop" and self._called
            finish = self._chunk(step.model, {}, "tool_calls" if called else step.done_reason)
            chunks.append(finish)
            if self._include_usage:
                chunks.append(finish | {"choices": [], "usage": usage(step)})
        events = b"".join(b"data: " + go_json(chunk) + b"\n\n" for chunk in chunks)
        return events + (b"data: [DONE]\n\n" if step.done_reason else b"")

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        message: Fields = {"role": "assistant", "content": step.content}
        if step.thinking:
            message["reasoning"] = step.thinking
        if step.calls:
            message["tool_calls"] = list(map(openai_call, step.calls))
        reason = "tool_calls" if step.done_reason == "stop" and step.calls else step.done_reason
        choice: Fields = {"index": 0, "message": message, "finish_reason": reason or None}
        if step.logprobs:
            choice["logprobs"] = {"content": list(step.logprobs)}
        body: Fields = {
            "id": self._id,
            "object": "chat.completion",
            "created": step.seconds,
            "model": step.model,
            "system_fingerprint": "fp_ollama",
            "choices": [choice],
            "usage": usage(step),
        }
        return go_json(body) + b"\n"

    def error_line(self, message: str) -> bytes:
        """Return what becomes of an error inside a stream: Ollama loses it, and writes this."""
        return self.line(AnswerStep(time_ns=(self._created or 0) * 1_000_000_000))

    def _old_line(self, step: AnswerStep) -> bytes:
        """Return the events for one step as Ollama 0.25 writes them."""
        calls: Fields = {"tool_calls": list(map(openai_call, step.calls))} if step.calls else {}
        thinking: Fields = {"reasoning": step.thinking} if step.thinking else {}
        self._called = self._called or bool(step.calls)
        reason = ("tool_calls" if self._called else step.done_reason) if step.done_reason else None
        logprobs: JsonValue = {"content": list(step.logprobs)} if step.logprobs else None
        said: Fields = {"role": "assistant", "content": step.content}
        if thinking and (step.content or step.calls):
            thought: Fields = {"role": "assistant", "content": "", **thinking}
            chunks = [
                self._chunk(step.model, thought, None, logprobs),
                self._chunk(step.model, said | calls, reason),
            ]
        else:
            chunks = [self._chunk(step.model, said | thinking | calls, reason, logprobs)]
        if step.done_reason and self._include_usage:
            chunks.append(chunks[-1] | {"choices": [], "usage": usage(step)})
        events = b"".join(b"data: " + go_json(chunk) + b"\n\n" for chunk in chunks)
        return events + (b"data: [DONE]\n\n" if step.done_reason else b"")

    def _chunks(self, step: AnswerStep) -> list[JsonValue]:
        """Return a step as chunks: thinking does not share one with what follows it."""
        delta: Fields = {}
        if not self._begun:
            delta["role"] = "assistant"
        logprobs: JsonValue = {"content": list(step.logprobs)} if step.logprobs else None
        self._called = self._called or bool(step.calls)
        rest: Fields = {"content": step.content}
        thinking: Fields = {"reasoning": step.thinking} if step.thinking else {}
        calls: Fields = {"tool_calls": list(map(openai_call, step.calls))} if step.calls else {}
        if thinking and (step.content or step.calls):
            return [
                self._chunk(step.model, delta | thinking, None, logprobs),
                self._chunk(step.model, rest | calls, None),
            ]
        return [self._chunk(step.model, delta | rest | thinking | calls, None, logprobs)]

    def _chunk(
        self, model: str, delta: Fields, reason: str | None, logprobs: JsonValue = None
    ) -> Fields:
        choice: Fields = {"index": 0, "delta": delta, "finish_reason": reason}
        if logprobs:
            choice["logprobs"] = logprobs
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": model,
            "system_fingerprint": "fp_ollama",
            "choices": [choice],
        }


class CompletionsDoor(OpenAiDoor):
    """`/v1/completions`.

    Args:
        number: What the answer's id ends with.
        include_usage: Whether a stream ends with the counts of tokens.
    """

    def __init__(self, number: int, *, include_usage: bool) -> None:
        self._id = f"cmpl-{number}"
        self._include_usage = include_usage
        self._created = 0

    def line(self, step: AnswerStep) -> bytes:
        """Return the events for one step of a stream."""
        self._created = step.seconds or self._created
        body: Fields = {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "choices": [self._choice(step)],
            "model": step.model,
            "system_fingerprint": "fp_ollama",
        }
        nothing: JsonValue = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        chunks = [body | ({"usage": nothing} if self._include_usage else {})]
        if step.done_reason and self._include_usage:
            chunks.append(body | {"choices": [], "usage": usage(step)})
        events = b"".join(b"data: " + go_json(chunk) + b"\n\n" for chunk in chunks)
        return events + (b"data: [DONE]\n\n" if step.done_reason else b"")

    def whole(self, step: AnswerStep) -> bytes:
        """Return the whole answer in one piece."""
        body: Fields = {
            "id": self._id,
            "object": "text_completion",
            "created": step.seconds,
            "model": step.model,
            "system_fingerprint": "fp_ollama",
            "choices": [self._choice(step)],
            "usage": usage(step),
        }
        return go_json(body) + b"\n"

    def error_line(self, message: str) -> bytes:
        """Return what becomes of an error inside a stream: Ollama loses it, and writes this."""
        return self.line(AnswerStep())

    def _choice(self, step: AnswerStep) -> Fields:
        return {"text": step.content, "index": 0, "finish_reason": step.done_reason or None}


def usage(step: AnswerStep) -> Fields:
    """Return the counts of tokens as OpenAI has them."""
    prompt = step.figures.prompt_tokens if step.figures else 0
    completion = step.figures.completion_tokens if step.figures else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def arguments_text(call: MadeCall) -> str:
    """Return a call's arguments as the text that OpenAI's clients parse."""
    return go_json(call.arguments).decode()


def openai_call(call: MadeCall) -> JsonValue:
    """Return a call of a tool as OpenAI has it."""
    function: JsonValue = {"name": call.name, "arguments": arguments_text(call)}
    return {"id": call.id, "index": call.index, "type": "function", "function": function}


def refuse(message: str) -> ApiError:
    """Return the refusal of a request that cannot become one of Ollama's."""
    return ApiError(400, message, early=True)


def chat_fields(fields: JsonObject) -> Fields:
    """Return the fields of an `api.ChatRequest` for those of a chat completion.

    Raises:
        ApiError: It cannot become one.
    """
    messages = cast("list[JsonObject]", fields.get("messages") or [])
    if not messages:
        raise refuse("[] is too short - 'messages'")
    read: list[JsonValue] = []
    for message in messages:
        read += _messages(message or {}, messages)
    native: Fields = {
        "model": fields.get("model") or "",
        "messages": read,
        "options": _options(fields),
        "stream": bool(fields.get("stream")),
        "tools": fields.get("tools"),
        "format": _format(fields.get("response_format")),
        "think": think_of(_effort(fields)),
        "logprobs": bool(fields.get("logprobs")),
        "top_logprobs": fields.get("top_logprobs") or 0,
    }
    return native


def _effort(fields: JsonObject) -> str:
    reasoning = fields.get("reasoning")
    if isinstance(reasoning, Mapping):
        return str(reasoning.get("effort") or "")
    return str(fields.get("reasoning_effort") or "")


def think_of(effort: str) -> JsonValue:
    """Return `think` for OpenAI's effort.

    Raises:
        ApiError: There is no such effort.
    """
    match effort:
        case "":
            return None
        case "none":
            return False
        case "minimal":
            return "low"
        case "low" | "medium" | "high" | "max":
            return effort
        case "xhigh" | "ultra":
            return "max"
        case _:
            levels = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
            raise refuse(f"invalid reasoning value: {quoted(effort)} (must be {levels})")


def _format(wanted: JsonValue) -> JsonValue:
    if not isinstance(wanted, Mapping):
        return None
    match str(wanted.get("type") or "").strip().lower():
        case "json_object":
            return "json"
        case "json_schema":
            schema = wanted.get("json_schema")
            return schema.get("schema") if isinstance(schema, Mapping) else None
        case _:
            return None


def _options(fields: JsonObject) -> Fields:
    options: Fields = {}
    match fields.get("stop"):
        case str() as stop:
            options["stop"] = [stop]
        case list() as stops:
            options["stop"] = [one for one in stops if isinstance(one, str)]
    for name, option in (
        ("max_tokens", "num_predict"),
        ("seed", "seed"),
        ("frequency_penalty", "frequency_penalty"),
        ("presence_penalty", "presence_penalty"),
    ):
        if fields.get(name) is not None:
            options[option] = fields[name]
    for name in ("temperature", "top_p"):
        value = fields.get(name)
        options[name] = 1.0 if value is None else value
    return options


_GO_NAMES = {
    bool: "bool",
    int: "float64",
    float: "float64",
    list: "[]interface {}",
    type(None): "<nil>",
}


def _messages(message: JsonObject, all_messages: list[JsonObject]) -> list[JsonValue]:
    """Return a message as Ollama's: one for each part of its content."""
    role = str(message.get("role") or "")
    calls = message.get("tool_calls")
    call_id = str(message.get("tool_call_id") or "")
    thinking = str(message.get("reasoning") or "")
    tool_name = ""
    if role.lower() == "tool":
        tool_name = str(message.get("name") or "") or _name_of(all_messages, call_id)
    more: Fields = {
        "thinking": thinking,
        "tool_calls": _calls(calls),
        "tool_call_id": call_id,
    }
    match message.get("content"):
        case str() as text:
            return [{"role": role, "content": text, "tool_name": tool_name, **more}]
        case list() as parts:
            read: list[JsonValue] = [_part(role, part) for part in parts]
            if read and calls:
                read[-1] = {**cast("Fields", read[-1]), "tool_name": tool_name, **more}
            return read
        case content:
            if calls is None:
                kind = _GO_NAMES.get(type(content), "map[string]interface {}")
                raise refuse(f"invalid message content type: {kind}")
            return [{"role": role, **more}]


def _name_of(messages: list[JsonObject], call_id: str) -> str:
    """Return the name of the tool that the last call of an id calls."""
    for message in reversed(messages):
        for call in cast("list[JsonObject]", (message or {}).get("tool_calls") or []):
            if call_id and (call or {}).get("id") == call_id:
                return str(cast("JsonObject", call.get("function") or {}).get("name") or "")
    return ""


def _part(role: str, part: JsonValue) -> Fields:
    wrong = refuse("invalid message format")
    if not isinstance(part, Mapping):
        raise wrong
    match part.get("type"):
        case "text":
            if not isinstance(text := part.get("text"), str):
                raise wrong
            return {"role": role, "content": text}
        case "image_url":
            given = part.get("image_url")
            url = given.get("url") if isinstance(given, Mapping) else given
            if not isinstance(url, str):
                raise wrong
            return {"role": role, "images": [image_of(url)]}
        case "input_audio":
            audio = part.get("input_audio")
            if not isinstance(audio, Mapping):
                raise refuse("invalid input_audio format")
            if not isinstance(data := audio.get("data"), str):
                raise refuse("invalid input_audio format: missing data")
            try:
                decode_base64(data)
            except GoError as error:
                raise refuse(f"invalid input_audio base64 data: {error.message}") from error
            return {"role": role, "images": [data]}
        case _:
            raise wrong


_IMAGES = tuple(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp"))


def image_of(url: str) -> str:
    """Return the base64 of a data URL.

    Raises:
        ApiError: It is none, or not that of a picture.
    """
    if url.startswith(("http://", "https://")):
        raise refuse(
            "image URLs are not currently supported, please use base64 encoded data instead"
        )
    for prefix in ("data:;base64,", *_IMAGES):
        if url.startswith(prefix):
            data = url.removeprefix(prefix)
            try:
                decode_base64(data)
            except GoError:
                break
            return data
    raise refuse("invalid image input")


def _calls(calls: JsonValue) -> list[JsonValue]:
    """Return an assistant's calls as Ollama's, whose arguments are an object."""
    read: list[JsonValue] = []
    for call in cast("list[JsonObject]", calls or []):
        function = cast("JsonObject", (call or {}).get("function") or {})
        try:
            arguments = read_json(str(function.get("arguments") or "").encode())
            if not isinstance(arguments, Mapping | None):
                raise GoError(NOT_AN_OBJECT)
        except GoError as error:
            raise refuse("invalid tool call arguments") from error
        inner: JsonValue = {"name": function.get("name") or "", "arguments": arguments or {}}
        read.append({"id": (call or {}).get("id") or "", "function": inner})
    return read


def generate_fields(fields: JsonObject) -> Fields:
    """Return the fields of an `api.GenerateRequest` for those of a completion.

    Raises:
        ApiError: It cannot become one.
    """
    options = _options(fields)
    stop = fields.get("stop")
    for one in stop if isinstance(stop, list) else ():
        if not isinstance(one, str):
            kind = _GO_NAMES.get(type(one), "map[string]interface {}")
            raise refuse(f"invalid type for 'stop' field: {kind}")
    top = fields.get("logprobs") or 0
    wanted = isinstance(top, int) and top > 0
    return {
        "model": fields.get("model") or "",
        "prompt": fields.get("prompt") or "",
        "suffix": fields.get("suffix") or "",
        "options": options,
        "stream": bool(fields.get("stream")),
        "logprobs": wanted,
        "top_logprobs": top if wanted else 0,
    }


def includes_usage(fields: JsonObject) -> bool:
    """Return whether a stream is to end with the counts of tokens."""
    options = fields.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True
