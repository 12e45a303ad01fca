"""The events of a run, as frozen classes, and their JSON form.

On the wire each event is one JSON object `{"type": ..., "data": {...}}`. `from_json` reverses
`to_json`. It ignores types and fields that this version does not know, so that newer servers can
add some.
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
TextSize = Literal["smaller", "larger", "normal"]
Undone = Literal["last", "all"]


@dataclass(frozen=True, slots=True)
class ChangeTheme:
    """A `ui_control` event: the page takes a tint of a colour, and an accent that goes with it.

    Attributes:
        color: "#RRGGBB".
    """

    color: str


@dataclass(frozen=True, slots=True)
class AddButton:
    """A `ui_control` event: the page gets a button.

    Attributes:
        label: The button's text.
        message: The chat message that pressing it sends.
    """

    label: str
    message: str


@dataclass(frozen=True, slots=True)
class ChangeAccent:
    """A `ui_control` event: what can be pressed on the page changes its colour.

    Attributes:
        color: "#RRGGBB".
    """

    color: str


@dataclass(frozen=True, slots=True)
class ChangeTextSize:
    """A `ui_control` event: the page changes the size of its text.

    Attributes:
        size: "larger" and "smaller" are one step from the size so far; "normal" is the first size.
    """

    size: TextSize


@dataclass(frozen=True, slots=True)
class RemoveButton:
    """A `ui_control` event: the page loses a button that a chat has added.

    Attributes:
        label: The button's text, in any case.
    """

    label: str


@dataclass(frozen=True, slots=True)
class UndoChange:
    """A `ui_control` event: the page undoes what `ui_control` events have changed.

    Attributes:
        what: "last" is the newest change, "all" is every change of the chat.
    """

    what: Undone


@dataclass(frozen=True, slots=True)
class Start:
    """The run has begun. It comes once, after the `ui_control` events from the server's rules."""

    agent: str
    run_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the run does before it has more to say.

    Attributes:
        phase: "loading": Ollama is loading the model into memory, which can take a minute.
            "waiting": Ollama is reading the prompt, or answering another request first.
            "pulling", "verifying", "writing", "removing": Ollama gets the model. An agent has its
            own phases, such as "searching".
        model: The model's name; "" if the phase is not about a model.
        completed: While it is being got: how many bytes are there; otherwise None.
        total: How many bytes it has, as far as Ollama knows yet; otherwise None.
    """

    phase: str
    model: str = ""
    completed: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the model's reasoning.

    Attributes:
        content: The text of the piece; all pieces joined are the whole reasoning.
        logprobs: Ollama's list of token log probabilities, if the request asked for them.
    """

    content: str
    logprobs: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, init=False)
class TextMessage:
    """A piece of the answer's text.

    Attributes:
        content: The text of the piece; all pieces joined are the whole answer. "" if the event has
            only the log probabilities of tokens that are not text, such as those of a tool call.
        logprobs: Ollama's list of token log probabilities, if the request asked for them.
    """

    content: str
    logprobs: list[dict[str, Any]] | None = None

    def __init__(self, content: str, logprobs: list[dict[str, Any]] | None = None) -> None:
        # Nearly every token creates one of these. The `__init__` that dataclasses generate for
        # frozen classes needs 0.31 µs; setting the slots directly needs 0.22.
        _set_content(self, content)
        _set_logprobs(self, logprobs)


_set_content = TextMessage.__dict__["content"].__set__
_set_logprobs = TextMessage.__dict__["logprobs"].__set__


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool. If it is one of the server's tools, a `ToolResult` follows.

    Attributes:
        id: Identifies the call; Ollama's own id if it sends one.
        name: The tool's name.
        arguments: The tool's arguments.
        unreadable: The model's arguments if they are not a JSON object; `arguments` is then empty.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call. The model gets it and continues.

    Attributes:
        id: The id of the call.
        name: The tool's name.
        content: The text that the model gets.
        failed: Whether `content` is an error, from the tool or because of wrong arguments.
    """

    id: str
    name: str
    content: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """The state of an agent's application, as a whole. It replaces the run's earlier ones.

    Attributes:
        value: Any JSON value.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Custom:
    """An event of an agent's own, for the application that knows its name.

    Attributes:
        name: The event's name, such as "seats".
        value: Any JSON value.
    """

    name: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Error:
    """The run failed. It comes at most once, right before `End("failed")`.

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
    """The tokens and the time that an answer needed; None if not known. Times are in seconds.

    If the model called tools, tokens and load time are the sums over all its messages.

    Attributes:
        prompt_tokens: Tokens of the prompt that Ollama evaluated.
        completion_tokens: Tokens of the answer.
        load_time: Time to load the model.
        first_token_time: From the start of the run to the first piece of text or thinking.
        total_time: From the start of the run to its end.
        prompt_cut: Whether Ollama's count of the prompt's tokens shows that it dropped a part of
            the prompt because the prompt was longer than the model's context (`num_ctx`).

    `+` adds the usage of two runs, the second of which followed the first.
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
    """Return the sum, where None counts as unknown: the other value is returned then."""
    if one is None or other is None:
        return other if one is None else one
    return one + other


@dataclass(frozen=True, slots=True)
class End:
    """The run is over. Each stream has exactly one, and it is the last event.

    Attributes:
        status: How the run ended.
        reason: Ollama's `done_reason` ("stop", "length", ...); "" if Ollama sent none.
        usage: The tokens and the time that it needed.
    """

    status: EndStatus
    reason: str = ""
    usage: Usage = field(default_factory=Usage)


UiControl = ChangeTheme | ChangeAccent | ChangeTextSize | AddButton | RemoveButton | UndoChange
Event = (
    UiControl
    | Start
    | Status
    | Thinking
    | TextMessage
    | ToolCall
    | ToolResult
    | State
    | Custom
    | Error
    | End
)


# A template: the result of `to_json` for a text without log probabilities. Fill in the text's JSON
# form without its quotes.
TEXT_JSON = b'{"type":"text_message","data":{"content":"%b"}}'


def to_json(event: Event) -> bytes:
    """Return the event's wire form: one line of JSON, UTF-8."""
    # The result must be a copy, because orjson's own may occupy 4 KiB however short it is, and run
    # logs keep many of them. Formatting copies: 100,000 tokens then need 9 MB instead of 410, and
    # 0.1 µs each instead of 4.
    # The first case is the common one, and needs 0.16 µs instead of 0.7.
    if type(event) is TextMessage and event.logprobs is None:
        return b'{"type":"text_message","data":{"content":%b}}' % orjson.dumps(event.content)
    return b'{"type":"%b","data":%b}' % (_TYPES[type(event)], orjson.dumps(data_of(event)))


def type_of(event: Event) -> str:
    """Return the "type" value of the event's JSON form."""
    return _TYPES[type(event)].decode()


def data_of(event: Event) -> object:
    """Return the "data" value of the event's JSON form, ready for orjson."""
    match event:
        case TextMessage(content, None) | Thinking(content, None):
            return {"content": content}
        case ToolCall(call_id, name, arguments, ""):
            return {"id": call_id, "name": name, "arguments": arguments}
        case Status(phase, model, None):
            return {"phase": phase, "model": model}
        case ChangeTheme(color):
            return {"action": "change_theme", "color": color}
        case AddButton(label, message):
            return {"action": "add_button", "label": label, "message": message}
        case ChangeAccent(color):
            return {"action": "change_accent", "color": color}
        case ChangeTextSize(size):
            return {"action": "change_text_size", "size": size}
        case RemoveButton(label):
            return {"action": "remove_button", "label": label}
        case UndoChange(what):
            return {"action": "undo_change", "what": what}
        case _:
            return event


def from_json(payload: str | bytes) -> Event | None:
    """Return the event, or None if this version does not know its type.

    Raises:
        MalformedEvent: The payload is not JSON, not an object, or a field has a wrong type; the
            error names the field. Or it is nested so deeply that `to_json` could not encode it.
    """
    try:
        record = orjson.loads(payload)
        if type(record) is not dict:
            raise BadField("data", "not a JSON object")
        data = record.get("data")
        if (  # A shortcut for the usual event: 0.8 µs instead of 1.0.
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
        case "change_accent":
            return ChangeAccent(json_field(data, "color", str))
        case "change_text_size":
            return ChangeTextSize(cast("TextSize", _word(data, "size", get_args(TextSize))))
        case "remove_button":
            return RemoveButton(json_field(data, "label", str))
        case "undo_change":
            return UndoChange(cast("Undone", _word(data, "what", get_args(Undone))))
        case _:
            return None


def _word(data: dict[str, Any], field: str, words: tuple[str, ...]) -> str:
    word = json_field(data, field, str)
    if word not in words:
        raise BadField(field, f"should be one of {words}, is {word!r}")
    return word


def _parse_start(data: dict[str, Any]) -> Start:
    return Start(
        json_field(data, "agent", str, ""),
        json_field(data, "run_id", str, ""),
        json_field(data, "model", str, ""),
    )


def _parse_status(data: dict[str, Any]) -> Status:
    counts = (data.get("completed"), data.get("total"))
    completed, total = (
        json_field(data, name, int) if one is not None else None
        for name, one in zip(("completed", "total"), counts, strict=True)
    )
    return Status(
        json_field(data, "phase", str), json_field(data, "model", str, ""), completed, total
    )


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


def _parse_state(data: dict[str, Any]) -> State:
    return State(data.get("value"))


def _parse_custom(data: dict[str, Any]) -> Custom:
    return Custom(json_field(data, "name", str), data.get("value"))


def _parse_error(data: dict[str, Any]) -> Error:
    return Error(
        json_field(data, "code", str),
        json_field(data, "message", str, ""),
        json_field(data, "retryable", bool, False),
    )


def _parse_end(data: dict[str, Any]) -> End:
    return End(
        cast("EndStatus", _word(data, "status", get_args(EndStatus))),
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
    ChangeAccent: b"ui_control",
    ChangeTextSize: b"ui_control",
    RemoveButton: b"ui_control",
    UndoChange: b"ui_control",
    Start: b"start",
    Status: b"status",
    Thinking: b"thinking",
    TextMessage: b"text_message",
    ToolCall: b"tool_call",
    ToolResult: b"tool_result",
    State: b"state",
    Custom: b"custom",
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
    "state": _parse_state,
    "custom": _parse_custom,
    "error": _parse_error,
    "end": _parse_end,
}
