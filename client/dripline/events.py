"""The chat vocabulary: what a run says, as frozen classes, and their JSON form.

On the wire each event is one JSON object `{"type": ..., "data": {...}}`. `to_json` and `from_json`
are inverse. Types and fields that this version does not know are ignored, so that servers can grow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast, get_args

import orjson

from dripline.errors import MalformedEvent
from dripline.json_fields import BadField, json_field
from dripline.nesting import SAFE_LENGTH, too_deep

EndStatus = Literal["completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True)
class ChangeTheme:
    """A `ui_control` event: the page takes this colour.

    Attributes:
        color: "#RRGGBB".
    """

    color: str


@dataclass(frozen=True, slots=True)
class AddButton:
    """A `ui_control` event: the page gets a button.

    Attributes:
        label: What stands on the button.
        message: What pressing it sends.
    """

    label: str
    message: str


@dataclass(frozen=True, slots=True)
class Start:
    """The run has begun; comes once, after the `ui_control` events that rules made."""

    agent: str
    run_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the run waits for while there is nothing else to say.

    Attributes:
        phase: "loading": Ollama reads the model into memory, which can take a minute. "waiting":
            nothing is known to load; Ollama reads the prompt, or answers somebody else first.
        model: The model's name.
    """

    phase: str
    model: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's reasoning.

    Attributes:
        content: The piece; joined, all pieces are the reasoning.
        logprobs: Ollama's list of token log probabilities, where the request asked for them.
    """

    content: str
    logprobs: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, init=False)
class TextMessage:
    """A piece of the answer's text.

    Attributes:
        content: The piece; joined, all pieces are the answer. "" where there are log probabilities
            of tokens that are no text, such as those of a tool call.
        logprobs: Ollama's list of token log probabilities, where the request asked for them.
    """

    content: str
    logprobs: list[dict[str, Any]] | None = None

    def __init__(self, content: str, logprobs: list[dict[str, Any]] | None = None) -> None:
        # There is one for nearly each token: 0.22 and not 0.31 µs, as a frozen class sets fields.
        _set_content(self, content)
        _set_logprobs(self, logprobs)


_set_content = TextMessage.__dict__["content"].__set__
_set_logprobs = TextMessage.__dict__["logprobs"].__set__


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool: the client's own, or one of the server's (a `ToolResult` follows).

    Attributes:
        id: Names the call; Ollama's own where it gives one.
        name: The tool's name.
        arguments: The tool's arguments.
        unreadable: What the model gave instead of a JSON object; `arguments` is empty then.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool of the server's gave; the model is told it, and goes on.

    Attributes:
        id: The call's.
        name: The tool's name.
        content: What the model is told.
        failed: Whether it is an error: the tool's, or one in the call's arguments.
    """

    id: str
    name: str
    content: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Error:
    """The run failed; comes at most once, right before `End("failed")`.

    Attributes:
        code: See `dripline.errors.ErrorCode`.
        message: What happened and what to do, for a person.
        retryable: Whether the same request can succeed later.
    """

    code: str
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What an answer cost; None where it is not known. Times are in seconds.

    Where the model called tools, tokens and loading are those of all its messages.

    Attributes:
        prompt_tokens: Tokens of the prompt that Ollama evaluated.
        completion_tokens: Tokens of the answer.
        load_time: Time to load the model.
        first_token_time: From the start of the run to the first piece of text or thinking.
        total_time: From the start of the run to its end.
        prompt_cut: Whether Ollama's count of the prompt's tokens shows that it dropped a part of
            the prompt, because that was longer than its context (`num_ctx`).

    `+` gives what two runs cost together, one after the other.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    load_time: float | None = None
    first_token_time: float | None = None
    total_time: float | None = None
    prompt_cut: bool = False

    def __add__(self, later: Usage) -> Usage:
        first = self.first_token_time
        if first is None:
            first = _sum(self.total_time, later.first_token_time)
        return Usage(
            prompt_tokens=_sum(self.prompt_tokens, later.prompt_tokens),
            completion_tokens=_sum(self.completion_tokens, later.completion_tokens),
            load_time=_sum(self.load_time, later.load_time),
            first_token_time=first,
            total_time=_sum(self.total_time, later.total_time),
            prompt_cut=self.prompt_cut or later.prompt_cut,
        )


N = TypeVar("N", int, float)


def _sum(one: N | None, other: N | None) -> N | None:
    """Return the sum of what is known."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass(frozen=True, slots=True)
class End:
    """The run is over: exactly one in each stream, and the last event of it.

    Attributes:
        status: How it ended.
        reason: Ollama's `done_reason` ("stop", "length", ...); "" where it gave none.
        usage: What it cost.
    """

    status: EndStatus
    reason: str = ""
    usage: Usage = field(default_factory=Usage)


UiControl = ChangeTheme | AddButton
Event = UiControl | Start | Status | Thinking | TextMessage | ToolCall | ToolResult | Error | End


# What `to_json` returns for a text without log probabilities, of whose JSON the inside is given.
TEXT_JSON = b'{"type":"text_message","data":{"content":"%b"}}'


def to_json(event: Event) -> bytes:
    """Return the event's wire form: one line of JSON, UTF-8."""
    # What orjson returns may hold 4 KiB however short it is, and logs keep many of these; what is
    # formatted is as long as it looks. 100,000 tokens kept: 9 MB and 0.1 µs each, not 410 and 4.
    if type(event) is TextMessage and event.logprobs is None:  # nearly all are: 0.16 and not 0.7 µs
        return b'{"type":"text_message","data":{"content":%b}}' % orjson.dumps(event.content)
    return b'{"type":"%b","data":%b}' % (_TYPES[type(event)], orjson.dumps(data_of(event)))


def data_of(event: Event) -> object:
    """Return what stands under "data" in the event's JSON form, ready for orjson."""
    match event:
        case TextMessage(content, None) | Thinking(content, None):
            return {"content": content}
        case ToolCall(call_id, name, arguments, ""):
            return {"id": call_id, "name": name, "arguments": arguments}
        case ChangeTheme(color):
            return {"action": "change_theme", "color": color}
        case AddButton(label, message):
            return {"action": "add_button", "label": label, "message": message}
        case _:
            return event


def from_json(payload: str | bytes) -> Event | None:
    """Return the event of a wire form, or None where its type is not known to this version.

    Raises:
        MalformedEvent: It is not JSON, not an object, or a field has a wrong type; names the field.
            Or it is nested so deep that `to_json` could not write it again.
    """
    try:
        record = orjson.loads(payload)
        if type(record) is not dict:
            raise BadField("data", "not a JSON object")
        data = record.get("data")
        if (  # Nearly all are these: 0.8 and not 1.0 µs.
            record.get("type") == "text_message"
            and len(record) == 2
            and type(data) is dict
            and len(data) == 1
            and type(content := data.get("content")) is str
        ):
            return TextMessage(content)
        if len(payload) > SAFE_LENGTH and too_deep(payload, record, around=0):
            raise BadField("data", "nested too deep")
        parse = _PARSERS.get(json_field(record, "type", str))
        return parse(json_field(record, "data", dict, {})) if parse else None
    except orjson.JSONDecodeError as error:
        raise MalformedEvent("data", f"not JSON: {error}") from error
    except BadField as error:
        raise MalformedEvent(error.field, error.problem) from error


def _parse_ui_control(data: dict[str, Any]) -> UiControl | None:
    match json_field(data, "action", str):
        case "change_theme":
            return ChangeTheme(json_field(data, "color", str))
        case "add_button":
            return AddButton(json_field(data, "label", str), json_field(data, "message", str))
        case _:
            return None


def _parse_start(data: dict[str, Any]) -> Start:
    return Start(
        json_field(data, "agent", str, ""),
        json_field(data, "run_id", str, ""),
        json_field(data, "model", str, ""),
    )


def _parse_status(data: dict[str, Any]) -> Status:
    return Status(json_field(data, "phase", str), json_field(data, "model", str, ""))


def _parse_text(data: dict[str, Any]) -> TextMessage:
    return TextMessage(json_field(data, "content", str), _logprobs(data))


def _parse_thinking(data: dict[str, Any]) -> Thinking:
    return Thinking(json_field(data, "content", str), _logprobs(data))


def _logprobs(data: dict[str, Any]) -> list[dict[str, Any]] | None:
    return json_field(data, "logprobs", list, []) if "logprobs" in data else None


def _parse_tool_call(data: dict[str, Any]) -> ToolCall:
    return ToolCall(
        json_field(data, "id", str),
        json_field(data, "name", str),
        json_field(data, "arguments", dict, {}),
        json_field(data, "unreadable", str, ""),
    )


def _parse_tool_result(data: dict[str, Any]) -> ToolResult:
    return ToolResult(
        json_field(data, "id", str),
        json_field(data, "name", str),
        json_field(data, "content", str),
        json_field(data, "failed", bool, False),
    )


def _parse_error(data: dict[str, Any]) -> Error:
    return Error(
        json_field(data, "code", str),
        json_field(data, "message", str, ""),
        json_field(data, "retryable", bool, False),
    )


def _parse_end(data: dict[str, Any]) -> End:
    status = json_field(data, "status", str)
    if status not in get_args(EndStatus):
        raise BadField("status", f"should be one of {get_args(EndStatus)}, is {status!r}")
    return End(
        cast("EndStatus", status),
        json_field(data, "reason", str, ""),
        _parse_usage(json_field(data, "usage", dict, {})),
    )


def _parse_usage(data: dict[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=json_field(data, "prompt_tokens", int, None, where="usage"),
        completion_tokens=json_field(data, "completion_tokens", int, None, where="usage"),
        load_time=json_field(data, "load_time", float, None, where="usage"),
        first_token_time=json_field(data, "first_token_time", float, None, where="usage"),
        total_time=json_field(data, "total_time", float, None, where="usage"),
        prompt_cut=json_field(data, "prompt_cut", bool, False, where="usage"),
    )


_TYPES: dict[type, bytes] = {
    ChangeTheme: b"ui_control",
    AddButton: b"ui_control",
    Start: b"start",
    Status: b"status",
    Thinking: b"thinking",
    TextMessage: b"text_message",
    ToolCall: b"tool_call",
    ToolResult: b"tool_result",
    Error: b"error",
    End: b"end",
}

_PARSERS: dict[str, Callable[[dict[str, Any]], Event | None]] = {
    "ui_control": _parse_ui_control,
    "start": _parse_start,
    "status": _parse_status,
    "thinking": _parse_thinking,
    "text_message": _parse_text,
    "tool_call": _parse_tool_call,
    "tool_result": _parse_tool_result,
    "error": _parse_error,
    "end": _parse_end,
}
