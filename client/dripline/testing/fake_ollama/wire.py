"""Ollama's JSON as it stands on the wire: the order of its fields, and Go's way of writing it.

The field order and the rule "empty fields are left out" are those of `api/types.go` in Ollama's
source; escapes are those of Go's `encoding/json`, and times those of its `time.Time`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dripline.testing.fake_ollama.request import JsonValue

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"

NANOSECONDS = 1_000_000_000
_FOREVER = (1 << 63) - 1  # Go's longest duration, in nanoseconds: 292 years
_MODIFIED = 1_714_859_809_277_302_595  # when every fake model was "pulled"

# Go escapes what would be unsafe inside HTML and inside old JavaScript, and nothing else above
# U+001F: U+0085 stays raw, although many line readers take it for a line end.
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What Ollama tells about a model besides its name.

    Attributes:
        family: Its architecture.
        parameter_size: As people say it, such as "3.2B".
        quantization_level: As the GGUF format names it.
        size: Bytes on disk, and in memory once loaded.
        context_length: The context in tokens, where the request's `num_ctx` asks for no other.
    """

    family: str = "llama"
    parameter_size: str = "3.2B"
    quantization_level: str = "Q4_K_M"
    size: int = 2_019_393_189
    context_length: int = 4096

    def to_json(self) -> dict[str, JsonValue]:
        """Return `details` of a model."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": self.quantization_level,
        }


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """What the last line of an answer tells; times are in seconds."""

    load: float
    prompt_tokens: int
    prompt_eval: float
    completion_tokens: int
    eval: float

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields, durations in nanoseconds."""
        load, prompt_eval, generation = (
            round(seconds * NANOSECONDS) for seconds in (self.load, self.prompt_eval, self.eval)
        )
        return {
            "total_duration": load + prompt_eval + generation,
            "load_duration": load,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": prompt_eval,
            "eval_count": self.completion_tokens,
            "eval_duration": generation,
        }


def go_json(value: JsonValue) -> bytes:
    """Return a value as Go's `json.Marshal` writes it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for raw, escaped in _ESCAPES:
        text = text.replace(raw, escaped)
    return _SURROGATE.sub(r"\\ufffd", text).encode()


def go_time(time_ns: int) -> str:
    """Return nanoseconds since 1970 as Go writes a time: no zeros at the fraction's end."""
    seconds, fraction = divmod(time_ns, NANOSECONDS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


def error(message: str) -> bytes:
    """Return the body of an error status, which is also an error line."""
    return go_json({"error": message})


def message(content: str = "", **more: JsonValue) -> dict[str, JsonValue]:
    """Return a message of the assistant's; empty fields of `more` are left out."""
    filled = {name: value for name, value in more.items() if value}
    return {"role": "assistant", "content": content, **filled}


def tool_call(
    index: int, name: str, arguments: Mapping[str, JsonValue], call_id: str
) -> dict[str, JsonValue]:
    """Return one of a message's `tool_calls`."""
    function: JsonValue = {"index": index, "name": name, "arguments": dict(arguments)}
    return {"id": call_id, "function": function}


def chat_response(
    model: str,
    time_ns: int,
    message: Mapping[str, JsonValue],
    *,
    done_reason: str = "",
    logprobs: Sequence[JsonValue] = (),
    usage: AnswerFigures | None = None,
) -> bytes:
    """Return one chunk of an answer, or a whole one; `done_reason` makes it the last."""
    body: dict[str, JsonValue] = {
        "model": model,
        "created_at": go_time(time_ns),
        "message": message,
        "done": bool(done_reason),
    }
    if done_reason:
        body["done_reason"] = done_reason
    if logprobs:
        body["logprobs"] = list(logprobs)
    return go_json(body | (usage.to_json() if usage else {}))


def logprob(token: str, alternatives: int) -> dict[str, JsonValue]:
    """Return a made-up log probability of a token, and of as many alternatives to it."""
    body = _token_logprob(token, 0)
    if alternatives:
        body["top_logprobs"] = [
            _token_logprob(token + "'" * rank, rank) for rank in range(alternatives)
        ]
    return body


def _token_logprob(token: str, rank: int) -> dict[str, JsonValue]:
    data = token.encode(errors="replace")
    value = -0.01 - data[0] / 512 - rank if data else -1.0 - rank
    return {"token": token, "logprob": value, "bytes": list(data)}


def tags(models: Iterable[tuple[str, ModelDetails]]) -> bytes:
    """Return `/api/tags`: every model there is."""
    return go_json(
        {
            "models": [
                {
                    "name": name,
                    "model": name,
                    "modified_at": go_time(_MODIFIED),
                    "size": details.size,
                    "digest": _digest(name),
                    "details": details.to_json(),
                }
                for name, details in models
            ]
        }
    )


def show(name: str, details: ModelDetails, capabilities: Sequence[str]) -> bytes:
    """Return `/api/show`: one model."""
    return go_json(
        {
            "modelfile": f'# Modelfile generated by "ollama show"\n\nFROM {name}\n',
            "template": "{{ .Prompt }}",
            "details": details.to_json(),
            "model_info": {
                "general.architecture": details.family,
                f"{details.family}.context_length": details.context_length,
            },
            "capabilities": list(capabilities),
            "modified_at": go_time(_MODIFIED),
        }
    )


def ps(models: Iterable[tuple[str, ModelDetails, int, float]], now_ns: int) -> bytes:
    """Return `/api/ps`: the loaded models, each with its context and the seconds it has left."""
    return go_json(
        {
            "models": [
                {
                    "name": name,
                    "model": name,
                    "size": details.size,
                    "digest": _digest(name),
                    "details": details.to_json(),
                    "expires_at": go_time(now_ns + _nanoseconds(left)),
                    "size_vram": details.size,
                    "context_length": context_length,
                }
                for name, details, context_length, left in models
            ]
        }
    )


def _nanoseconds(seconds: float) -> int:
    return _FOREVER if math.isinf(seconds) else min(round(seconds * NANOSECONDS), _FOREVER)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
