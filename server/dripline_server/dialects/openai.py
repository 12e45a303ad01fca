"""The dialect of OpenAI's chat completions, for every program that speaks its API.

A run becomes `chat.completion.chunk` objects, in the form that Ollama's own `/v1` gives them
(`delta.reasoning` for thinking, `system_fingerprint`). A run that failed or was stopped ends with
an `error` object and without `[DONE]`: the `openai` package raises then, and no client takes the
half for the whole.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from dripline.errors import ErrorCode
from dripline.events import (
    End,
    Error,
    Event,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    Usage,
)
from dripline_server.dialects import Json
from dripline_server.dialects.translated import public_name

DONE = b"[DONE]"
# A stopped run has no whole answer, and OpenAI's API has no word for that.
STOPPED = Error(ErrorCode.RUN_CANCELLED, ErrorCode.RUN_CANCELLED.meaning)

_TYPE_OF = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error_object(status: int, code: str, message: str, param: str | None = None) -> Json:
    """Return an error in OpenAI's format.

    Args:
        status: The HTTP status that it has, or would have had before the first token.
        code: dripline's own error code.
        message: What is wrong, for the user.
        param: The field that is wrong, if it is one.
    """
    kind = _TYPE_OF.get(status, "invalid_request_error" if status < 500 else "api_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, slots=True)
class OpenAiRun:
    """The facts about a run that a reader needs besides its events.

    Attributes:
        model: The model's name, as it was asked for.
        created: When the run began, in seconds since 1970.
        include_usage: Whether the last chunk reports the token counts.
    """

    model: str
    created: int
    include_usage: bool = False


class OpenAiTranslator:
    """Translates a run's events into chunks of a chat completion.

    Args:
        about: What was asked for.
        run_id: dripline's own id of the run; it does not show.
    """

    headers: Mapping[str, str] = {}

    def __init__(self, about: OpenAiRun, run_id: str) -> None:
        self._about = about
        self._base: Json = {
            "id": completion_id(run_id),
            "object": "chat.completion.chunk",
            "created": about.created,
            "model": about.model,
            "system_fingerprint": "fp_ollama",
        }
        self._started = False
        self._calls = ToolCallNumbers()
        self._error: Error | None = None

    def translate(self, seq: int, event: Event) -> Iterator[bytes]:
        """See `Translator.translate`."""
        match event:
            case TextMessage(content, None):
                yield self._chunk({"content": content})
            case TextMessage(content, logprobs):
                yield self._chunk({"content": content}, logprobs=logprobs_of(logprobs))
            case Thinking(content, logprobs):
                told = None if logprobs is None else logprobs_of(logprobs)
                yield self._chunk({"content": "", "reasoning": content}, logprobs=told)
            case ToolCall():
                call = self._calls.add(event)
                yield self._chunk({"content": "", "tool_calls": [call]})
            case ToolResult():
                self._calls.answered(event)
            case Error():
                self._error = event
            case End():
                yield from self._end(event)

    def _end(self, end: End) -> Iterator[bytes]:
        if end.status != "completed":
            error = self._error if end.status == "failed" and self._error else STOPPED
            yield orjson.dumps(error_object(500, error.code, error.message))
            return
        yield self._chunk({}, finish_reason=finish_reason(end, self._calls))
        if self._about.include_usage:
            yield orjson.dumps({**self._base, "choices": [], "usage": usage_object(end.usage)})
        yield DONE

    def _chunk(
        self, delta: Json, *, finish_reason: str | None = None, logprobs: Json | None = None
    ) -> bytes:
        if not self._started:
            self._started = True
            delta = {"role": "assistant", "content": "", **delta}
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return orjson.dumps({**self._base, "choices": [choice]})


@dataclass(slots=True)
class WholeCompletion:
    """Combines a run's events into one `chat.completion` object.

    Attributes:
        error: Why the run failed or was stopped; None otherwise.
        end: How the run ended; None while it is active.
    """

    about: OpenAiRun
    run_id: str
    error: Error | None = None
    end: End | None = None
    _text: list[str] = field(default_factory=list)
    _thinking: list[str] = field(default_factory=list)
    _logprobs: list[Any] = field(default_factory=list)
    _calls: ToolCallNumbers = field(default_factory=lambda: ToolCallNumbers())
    _tool_calls: list[Json] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Add the run's next event."""
        match event:
            case TextMessage(content, logprobs):
                self._text.append(content)
                self._logprobs += logprobs or ()
            case Thinking(content, logprobs):
                self._thinking.append(content)
                self._logprobs += logprobs or ()
            case ToolCall():
                self._tool_calls.append(self._calls.add(event))
            case ToolResult():
                self._calls.answered(event)
            case Error():
                self.error = event
            case End():
                self.end = event
                if event.status != "completed":
                    self.error = self.error or STOPPED

    def as_json(self) -> Json:
        """Return the object. Call it only after the run has completed."""
        if self.end is None:
            raise ValueError("the run has not ended")
        message: Json = {"role": "assistant", "content": "".join(self._text)}
        if self._thinking:
            message["reasoning"] = "".join(self._thinking)
        if self._tool_calls:
            # Streamed calls carry an index; in a whole answer they are a list without one.
            message["tool_calls"] = [_without_index(call) for call in self._tool_calls]
        choice: Json = {
            "index": 0,
            "message": message,
            "finish_reason": finish_reason(self.end, self._calls),
        }
        if self._logprobs:
            choice["logprobs"] = logprobs_of(self._logprobs)
        return {
            "id": completion_id(self.run_id),
            "object": "chat.completion",
            "created": self.about.created,
            "model": self.about.model,
            "system_fingerprint": "fp_ollama",
            "choices": [choice],
            "usage": usage_object(self.end.usage),
        }


class ToolCallNumbers:
    """The tool calls of an answer in OpenAI's format, and which of them wait for the client."""

    def __init__(self) -> None:
        self._made = 0
        self._pending: set[str] = set()

    @property
    def pending(self) -> bool:
        """Whether a call waits for the client's answer."""
        return bool(self._pending)

    def add(self, call: ToolCall) -> Json:
        """Return a call, with its number in the answer."""
        number, self._made = self._made, self._made + 1
        self._pending.add(call.id)
        # OpenAI's clients parse the text themselves, and report text that is not JSON.
        arguments = call.unreadable or orjson.dumps(call.arguments).decode()
        function = {"name": call.name, "arguments": arguments}
        return {"id": call.id, "index": number, "type": "function", "function": function}

    def answered(self, result: ToolResult) -> None:
        """Note that the server answered a call itself."""
        self._pending.discard(result.id)


def _without_index(call: Json) -> Json:
    return {name: value for name, value in call.items() if name != "index"}


def completion_id(run_id: str) -> str:
    """Return the completion's id. It gives nobody the right to read or stop the run."""
    return f"chatcmpl-{public_name(run_id)}"


def finish_reason(end: End, calls: ToolCallNumbers) -> str:
    """Return why the model stopped, in OpenAI's terms."""
    if calls.pending:
        return "tool_calls"
    return "length" if end.reason == "length" else "stop"


def usage_object(usage: Usage) -> Json:
    """Return the token counts of an answer; 0 for an unknown count."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def logprobs_of(logprobs: list[Any] | None) -> Json:
    """Return Ollama's log probabilities as OpenAI has them: the same objects, one level deeper."""
    return {"content": logprobs or [], "refusal": None}
