"""What clients send to Ollama: parsed and refused as Ollama does, in its own words."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar, cast

JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | Mapping[str, JsonValue] | None"
T = TypeVar("T")

DEFAULT_KEEP_ALIVE = 300.0  # Ollama's OLLAMA_KEEP_ALIVE: five minutes


class ApiError(Exception):
    """An answer of Ollama's that is an HTTP error status.

    Attributes:
        status: The HTTP status.
        message: What `error` in the body says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: str
    content: str = ""
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[Mapping[str, JsonValue], ...] = ()
    tool_name: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedChat:
    """The body of `POST /api/chat`.

    Attributes:
        model: The name as the client wrote it.
        messages: None at all only load the model.
        stream: Whether the answer comes line by line.
        think: A bool, a level, or None where the request does not say.
        tools: The tools offered, as JSON schema.
        format: None, "json" or a JSON schema.
        options: Ollama's model options.
        keep_alive: Seconds for which the model stays loaded afterwards; `math.inf` for ever.
        logprobs: Whether each token comes with its log probability.
        top_logprobs: How many likely tokens come with it.
    """

    model: str
    messages: tuple[Message, ...] = ()
    stream: bool = True
    think: bool | str | None = None
    tools: tuple[Mapping[str, JsonValue], ...] = ()
    format: str | Mapping[str, JsonValue] | None = None
    options: Mapping[str, JsonValue] = field(default_factory=dict)
    keep_alive: float = DEFAULT_KEEP_ALIVE
    logprobs: bool = False
    top_logprobs: int = 0

    @property
    def num_predict(self) -> int | None:
        """The option that limits the answer's tokens; None where it does not."""
        return self._positive("num_predict")

    @property
    def num_ctx(self) -> int | None:
        """The option that sets the context in tokens; None where it does not."""
        return self._positive("num_ctx")

    def _positive(self, option: str) -> int | None:
        value = self.options.get(option)
        return value if isinstance(value, int) and value > 0 else None

    @classmethod
    def parse(cls, body: JsonValue) -> ReceivedChat:
        """Return the request that a body holds.

        Raises:
            ApiError: What Ollama answers where a field is wrong.
        """
        fields = _object(body, "api.ChatRequest")
        top_logprobs = _take(fields, "top_logprobs", int, 0)
        if not 0 <= top_logprobs <= 20:
            raise ApiError(400, "top_logprobs must be between 0 and 20")
        return cls(
            model=_take(fields, "model", str, ""),
            messages=tuple(map(_message, _take(fields, "messages", list, []))),
            stream=_take(fields, "stream", bool, True),
            think=_think(fields.get("think")),
            tools=tuple(_object(tool, "api.Tool") for tool in _take(fields, "tools", list, [])),
            format=_format(fields.get("format")),
            options=_options(_take(fields, "options", dict, {})),
            keep_alive=_keep_alive(fields.get("keep_alive")),
            logprobs=_take(fields, "logprobs", bool, False),
            top_logprobs=top_logprobs,
        )


def parse_json(body: bytes) -> JsonValue:
    """Return the first JSON value of a body; Go's decoder does not look at what follows it.

    Raises:
        ApiError: What Ollama answers where the body is empty or not JSON.
    """
    text = body.decode(errors="replace").lstrip(" \t\r\n")
    if not text:
        raise ApiError(400, "missing request body")
    try:
        return cast("JsonValue", _DECODER.raw_decode(text)[0])
    except json.JSONDecodeError as error:
        raise ApiError(400, _syntax_error(text, error.pos)) from error
    except RecursionError as error:
        raise ApiError(400, "exceeded max depth") from error


def model_of(body: JsonValue) -> str:
    """Return the model that a body of `POST /api/show` names.

    Raises:
        ApiError: It names none.
    """
    fields = _object(body, "api.ShowRequest")
    name = _take(fields, "model", str, "") or _take(fields, "name", str, "")
    if not name:
        raise ApiError(400, "model is required")
    return name


def canonical(name: str) -> str:
    """Return the name under which Ollama keeps a model: `x` is `x:latest`, in any case."""
    short = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return short if ":" in short.rpartition("/")[2] else f"{short}:latest"


def _not_a_number(constant: str) -> None:
    """Refuse `NaN` and `Infinity`, which Python takes and JSON does not have."""
    raise ApiError(400, f"invalid character '{constant.lstrip('-')[0]}' in numeric literal")


_DECODER = json.JSONDecoder(parse_constant=_not_a_number)


def _syntax_error(text: str, position: int) -> str:
    if position >= len(text):
        return "unexpected EOF"
    return f"invalid character {text[position]!r} looking for beginning of value"


def _go_kind(value: object) -> str:
    """Return what Go's JSON package calls a value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


_GO_TYPES = {
    "messages": "[]api.Message",
    "tools": "api.Tools",
    "options": "map[string]interface {}",
    "images": "[]api.ImageData",
    "tool_calls": "[]api.ToolCall",
}


def _take(
    fields: Mapping[str, JsonValue], name: str, kind: type[T], default: T, within: str = ""
) -> T:
    """Return a field of the given type; absent and null give the default, as in Go."""
    value = fields.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        go_type = _GO_TYPES.get(name, {str: "string", int: "int"}.get(kind, "bool"))
        raise ApiError(
            400,
            f"json: cannot unmarshal {_go_kind(value)} into Go struct field "
            f"ChatRequest.{within}{name} of type {go_type}",
        )
    return value


def _object(value: JsonValue, go_type: str) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise ApiError(400, f"json: cannot unmarshal {_go_kind(value)} into Go value of {go_type}")
    return value


def _message(value: JsonValue) -> Message:
    fields = _object(value, "api.Message")

    def take(name: str, kind: type[T], default: T) -> T:
        return _take(fields, name, kind, default, within="messages.")

    return Message(
        role=take("role", str, "").lower(),
        content=take("content", str, ""),
        thinking=take("thinking", str, ""),
        images=tuple(map(_image, take("images", list, []))),
        tool_calls=tuple(_object(call, "api.ToolCall") for call in take("tool_calls", list, [])),
        tool_name=take("tool_name", str, ""),
    )


def _image(value: JsonValue) -> bytes:
    try:
        return base64.b64decode(cast("str", value), validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ApiError(400, "illegal base64 data at input byte 0") from error


_LEVELS = ("low", "medium", "high", "max")


def _think(value: JsonValue) -> bool | str | None:
    if value is None or isinstance(value, bool):
        return value
    choice = '"high", "medium", "low", "max", true, or false'
    if isinstance(value, str):
        if value in _LEVELS:
            return value
        raise ApiError(400, f'invalid think value: "{value}" (must be {choice})')
    raise ApiError(400, f"think must be a boolean or string ({choice})")


def _format(value: JsonValue) -> str | Mapping[str, JsonValue] | None:
    if value is None or value == "":
        return None
    if value == "json" or isinstance(value, dict):
        return cast("str | Mapping[str, JsonValue]", value)
    given = json.dumps(json.dumps(value))
    raise ApiError(500, f'invalid format: {given}; expected "json" or a valid JSON Schema object')


def _options(options: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Check the options that the fake follows; the others are taken as they are."""
    for name in ("num_predict", "num_ctx"):
        if options.get(name) is not None and type(options[name]) is not int:
            raise ApiError(500, f'option "{name}" must be of type integer')
    return options


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_STEP = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(h|ms|us|µs|ns|m|s)")
_DURATION = re.compile(rf"[-+]?(?:0|(?:{_STEP.pattern})+)")


def _keep_alive(value: JsonValue) -> float:
    """Return seconds: a number of them, or a Go duration such as "1h30m"; below 0 is for ever."""
    if value is None:
        return DEFAULT_KEEP_ALIVE
    if isinstance(value, str):
        seconds = _duration(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise ApiError(400, f"Unsupported type: '{_go_kind(value)}'")
    return seconds if seconds >= 0 else math.inf


def _duration(text: str) -> float:
    if not _DURATION.fullmatch(text):
        missing = re.fullmatch(r"[-+]?[0-9.]+", text)
        problem = "missing unit in" if missing else "invalid"
        raise ApiError(400, f'time: {problem} duration "{text}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(text))
    return -seconds if text.startswith("-") else seconds
