"""What an answer brings, step by step, and Ollama's own JSON for it.

The field order and the rule "empty fields are left out" are those of `api/types.go` in Ollama's
source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from dripline.testing.fake_ollama.go.go_writing import NANOSECONDS, go_json, go_number, go_time
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.stop_sequences import Call

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"
PLAIN_JSON = "application/json"
TEXT = "text/plain"
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True)
class AnswerFigures:
    """What the last line of an answer tells; times are in seconds."""

    load: float
    prompt_tokens: int
    prompt_eval: float
    completion_tokens: int
    eval: float

    def to_json(self) -> dict[str, JsonValue]:
        """Return the fields, durations in nanoseconds; what is zero is left out."""
        load, prompt_eval, generation = (
            round(seconds * NANOSECONDS) for seconds in (self.load, self.prompt_eval, self.eval)
        )
        fields: dict[str, JsonValue] = {
            "total_duration": load + prompt_eval + generation,
            "load_duration": load,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": prompt_eval,
            "eval_count": self.completion_tokens,
            "eval_duration": generation,
        }
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class MadeCall:
    """A call of a tool as a model has made it."""

    index: int
    name: str
    arguments: JsonValue
    id: str

    @classmethod
    def of(cls, call: Call, index: int, salt: object) -> MadeCall:
        """Return a script's call; an id that it leaves out is made, always the same."""
        about = repr((call.name, call.arguments, index, salt))
        call_id = call.id or f"call_{hashlib.sha256(about.encode()).hexdigest()[:8]}"
        return cls(index, call.name, dict(call.arguments), call_id)

    def to_json(self) -> dict[str, JsonValue]:
        """Return one of a message's `tool_calls`."""
        function: JsonValue = {
            "index": self.index,
            "name": self.name,
            "arguments": self.arguments,
        }
        return {"id": self.id, "function": function}


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """What one chunk of an answer brings, or all of them together.

    Attributes:
        model: The name as the client wrote it.
        time_ns: When it was made.
        content: Text.
        thinking: Thinking.
        calls: Calls of tools.
        logprobs: The log probabilities of the tokens.
        done_reason: Why the answer has ended; empty while it has not.
        figures: Counts and times, at the end.
        context: The tokens of the whole conversation, at the end.
    """

    model: str = ""
    time_ns: int | None = None
    content: str = ""
    thinking: str = ""
    calls: Sequence[MadeCall] = ()
    logprobs: Sequence[JsonValue] = ()
    done_reason: str = ""
    figures: AnswerFigures | None = None
    context: Sequence[int] = ()

    @property
    def seconds(self) -> int:
        """The time in whole seconds since 1970."""
        return (self.time_ns or 0) // NANOSECONDS


def error(message: str) -> bytes:
    """Return the body of an error status, which is also an error line."""
    return go_json({"error": message})


def chat_response(step: AnswerStep) -> bytes:
    """Return an `api.ChatResponse`."""
    message: dict[str, JsonValue] = {"role": "assistant", "content": step.content}
    if step.thinking:
        message["thinking"] = step.thinking
    if step.calls:
        message["tool_calls"] = [call.to_json() for call in step.calls]
    body = _head(step) | {"message": message} | _done(step)
    if step.logprobs:
        body["logprobs"] = list(step.logprobs)
    return go_json(body | (step.figures.to_json() if step.figures else {}))


def generate_response(step: AnswerStep) -> bytes:
    """Return an `api.GenerateResponse`."""
    body = _head(step) | {"response": step.content}
    if step.thinking:
        body["thinking"] = step.thinking
    body |= _done(step)
    if step.context:
        body["context"] = list(step.context)
    body |= step.figures.to_json() if step.figures else {}
    if step.logprobs:
        body["logprobs"] = list(step.logprobs)
    return go_json(body)


def _head(step: AnswerStep) -> dict[str, JsonValue]:
    return {"model": step.model, "created_at": go_time(step.time_ns or 0)}


def _done(step: AnswerStep) -> dict[str, JsonValue]:
    reason: dict[str, JsonValue] = {"done_reason": step.done_reason} if step.done_reason else {}
    return {"done": bool(step.done_reason), **reason}


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
    body: dict[str, JsonValue] = {"token": token, "logprob": go_number(value)}
    if data:
        body["bytes"] = [*data]
    return body


def call_as_text(call: Call) -> str:
    """Return what a model generates for a call of a tool, which Ollama's parser takes away."""
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return f'{{"name": "{call.name}", "arguments": {arguments}}}'
