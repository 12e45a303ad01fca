"""What clients ask a model for, whichever endpoint they ask at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar, cast

from dripline.testing.fake_ollama.go.go_reading import GoError, NothingToRead
from dripline.testing.fake_ollama.go.go_types import Struct, decode_base64, unmarshal_object
from dripline.testing.fake_ollama.go.go_writing import quoted
from dripline.testing.fake_ollama.json_value import JsonObject, JsonValue

T = TypeVar("T")

DEFAULT_KEEP_ALIVE = 300.0  # Ollama's OLLAMA_KEEP_ALIVE: five minutes


class ApiError(Exception):
    """An answer of Ollama's that is an HTTP error status.

    Attributes:
        status: The HTTP status.
        message: What `error` in the body says.
        late: Whether it comes from the model's runner, when a stream could have begun.
        early: Whether the endpoint refuses it before it becomes one of Ollama's own requests.
        native: Whether it is in Ollama's own form at every endpoint.
        headers: More headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        late: bool = False,
        early: bool = False,
        native: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.late = late
        self.early = early
        self.native = native
        self.headers: dict[str, str] = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: str
    content: str = ""
    thinking: str = ""
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[Mapping[str, JsonValue], ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedChat:
    """What a client asks a model for, whichever endpoint it asks at.

    Attributes:
        model: The name as the client wrote it.
        messages: None at all only load the model. A prompt of `/api/generate` is a user's message.
        stream: Whether the answer comes line by line.
        think: A bool, a level, or None where the request does not say.
        tools: The tools offered, as JSON schema.
        format: None, "json" or a JSON schema.
        options: Ollama's model options.
        keep_alive: Seconds for which the model stays loaded afterwards; `math.inf` for ever.
        logprobs: Whether each token comes with its log probability.
        top_logprobs: How many likely tokens come with it.
        truncate: Whether a prompt that is too long for the context is cut.
        shift: Whether an answer goes on when the context is full.
        suffix: What is to follow the answer, of `/api/generate`.
        raw: Whether the prompt is the whole of what the model gets.
        context: The tokens of the conversation so far, of `/api/generate`.
        path: The endpoint, such as "/v1/chat/completions".
        keeps: Whether the request says `keep_alive` itself.
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
    truncate: bool = True
    shift: bool = True
    suffix: str = ""
    raw: bool = False
    context: tuple[int, ...] = ()
    path: str = "/api/chat"
    keeps: bool = False

    @property
    def num_predict(self) -> int | None:
        """The option that limits the answer's tokens; None where it does not."""
        return self._positive("num_predict")

    @property
    def num_ctx(self) -> int | None:
        """The option that sets the context in tokens; None where it does not."""
        return self._positive("num_ctx")

    @property
    def stop(self) -> tuple[str, ...]:
        """The texts at which the answer ends."""
        stop = self.options.get("stop")
        return tuple(map(str, stop)) if isinstance(stop, list) else ()

    @property
    def question(self) -> str:
        """The user's last message."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    def _positive(self, option: str) -> int | None:
        value = self.options.get(option)
        return int(value) if isinstance(value, int | float) and value >= 1 else None

    @classmethod
    def of_chat(cls, fields: JsonObject, path: str = "/api/chat") -> ReceivedChat:
        """Return what the fields of an `api.ChatRequest` ask for."""
        return cls(
            messages=tuple(map(_message, _objects(fields.get("messages")))),
            tools=tuple(_objects(fields.get("tools"))),
            **_common(fields),
            path=path,
        )

    @classmethod
    def of_generate(cls, fields: JsonObject, path: str = "/api/generate") -> ReceivedChat:
        """Return what the fields of an `api.GenerateRequest` ask for."""
        prompt, system = str(fields.get("prompt") or ""), str(fields.get("system") or "")
        messages = [Message("system", system)] if system else []
        messages += [Message("user", prompt, images=_images(fields))] if prompt else []
        context = fields.get("context")
        return cls(
            messages=tuple(messages),
            suffix=str(fields.get("suffix") or ""),
            raw=bool(fields.get("raw")),
            context=tuple(cast("list[int]", context)) if isinstance(context, list) else (),
            **_common(fields),
            path=path,
        )


class _Common(TypedDict):
    """What both of Ollama's own requests have."""

    model: str
    stream: bool
    think: bool | str | None
    format: str | Mapping[str, JsonValue] | None
    options: Mapping[str, JsonValue]
    keep_alive: float
    keeps: bool
    logprobs: bool
    top_logprobs: int
    truncate: bool
    shift: bool


def _common(fields: JsonObject) -> _Common:
    wanted = fields.get("format")
    keep_alive = fields.get("keep_alive")
    options = fields.get("options")
    top_logprobs = fields.get("top_logprobs")
    return {
        "model": str(fields.get("model") or ""),
        "stream": fields.get("stream") is not False,
        "think": cast("bool | str | None", fields.get("think")),
        "format": cast("str | JsonObject | None", None if wanted == "" else wanted),
        "options": options if isinstance(options, Mapping) else {},
        "keep_alive": keep_alive if isinstance(keep_alive, float) else DEFAULT_KEEP_ALIVE,
        "keeps": keep_alive is not None,
        "logprobs": fields.get("logprobs") is True,
        "top_logprobs": top_logprobs if isinstance(top_logprobs, int) else 0,
        "truncate": fields.get("truncate") is not False,
        "shift": fields.get("shift") is not False,
    }


def _objects(value: JsonValue) -> list[Mapping[str, JsonValue]]:
    """Return a list's objects; null stands for an empty one."""
    values = value if isinstance(value, list) else []
    return [one if isinstance(one, Mapping) else {} for one in values]


def _images(fields: JsonObject) -> tuple[bytes, ...]:
    images = fields.get("images")
    return tuple(
        decode_base64(image) if isinstance(image, str) else b""
        for image in (images if isinstance(images, list) else ())
    )


def _message(fields: JsonObject) -> Message:
    return Message(
        role=str(fields.get("role") or ""),
        content=str(fields.get("content") or ""),
        thinking=str(fields.get("thinking") or ""),
        images=_images(fields),
        tool_calls=tuple(_objects(fields.get("tool_calls"))),
        tool_name=str(fields.get("tool_name") or ""),
        tool_call_id=str(fields.get("tool_call_id") or ""),
    )


def read_fields(body: JsonValue, struct: Struct, *, early: bool = False) -> JsonObject:
    """Return the fields of a request.

    Raises:
        ApiError: What Ollama answers where the body is of another type.
    """
    return refused(lambda: unmarshal_object(body, struct), early=early)


def refused(read: Callable[[], T], *, early: bool = False) -> T:
    """Return what `read` does; `early` is for the endpoints that translate to Ollama's own.

    Raises:
        ApiError: What Ollama answers where Go refuses it.
    """
    try:
        return read()
    except NothingToRead as error:
        message = error.message if early else "missing request body"
        raise ApiError(400, message, early=early) from error
    except GoError as error:
        raise ApiError(400, error.message, early=early) from error


_INTEGERS = (
    *("num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx", "num_batch"),
    *("num_gpu", "main_gpu", "num_thread", "draft_num_predict"),
)
_FLOATS = (
    *("top_p", "min_p", "typical_p", "temperature", "repeat_penalty"),
    *("presence_penalty", "frequency_penalty"),
)


def check_options(options: JsonObject) -> None:
    """Refuse options of wrong types; unknown ones are taken, and fractions of whole numbers cut.

    Raises:
        ApiError: What Ollama answers.
    """
    for name, value in options.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        problem = ""
        if value is None:
            continue
        if name in _INTEGERS and not number:
            problem = "of type integer"
        elif name in _FLOATS and not number:
            problem = "of type float32"
        elif name == "use_mmap" and not isinstance(value, bool):
            problem = "of type boolean"
        elif name == "stop" and not isinstance(value, list):
            problem = "of type array"
        elif name == "stop" and not all(isinstance(one, str) for one in cast("list[str]", value)):
            problem = "of an array of strings"
        if problem:
            raise ApiError(500, f"option {quoted(name)} must be {problem}")


def check_format(wanted: JsonValue) -> None:
    """Refuse a `format` that is neither "json" nor an object.

    Raises:
        ApiError: What Ollama answers, once the model is loaded.
    """
    if wanted is None or wanted == "json" or isinstance(wanted, Mapping):
        return
    given = quoted(json.dumps(wanted, separators=(",", ":"), ensure_ascii=False))
    message = f'invalid format: {given}; expected "json" or a valid JSON Schema object'
    raise ApiError(500, message, late=True)


def check_top_logprobs(fields: JsonObject) -> None:
    """Refuse more alternatives than Ollama gives.

    Raises:
        ApiError: What Ollama answers.
    """
    count = fields.get("top_logprobs") or 0
    if isinstance(count, int) and not 0 <= count <= 20:
        raise ApiError(400, "top_logprobs must be between 0 and 20")
