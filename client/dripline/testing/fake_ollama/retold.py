"""What a recorded answer says, for an endpoint that it was not recorded at.

A recording of `/api/chat` can so answer `/v1/chat/completions` and every other endpoint at which a
model says something, and a recording of OpenAI's or Anthropic's API can answer `/api/chat`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from dripline.recordings.exchange import Exchange
from dripline.recordings.replay import ending_to_replay
from dripline.recordings.view import is_whole, units
from dripline.testing.fake_ollama.faults import Fault
from dripline.testing.fake_ollama.request import ApiError
from dripline.testing.fake_ollama.script import Reply
from dripline.testing.fake_ollama.stop_sequences import Call

_BREAKS = {"cut": Fault.cut, "reset": Fault.reset, "timeout": Fault.stall}
_CUT_SHORT = ("length", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Retold:
    """A recorded answer as a script's.

    Attributes:
        reply: What was said.
        fault: How it broke off, or None.
        gaps: Seconds before each token, and before the end.
    """

    reply: Reply
    fault: Fault | None
    gaps: list[float]


def retold(exchange: Exchange, speed: float) -> Retold:
    """Return what a recorded exchange says, how fast, and how it failed.

    Raises:
        ApiError: The recorded answer is an error status, or none of a model's.
    """
    heard = _Heard(exchange.started)
    try:
        for at, record in _records(exchange):
            heard.add(at, record)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _unknown(exchange) from error
    if exchange.response and exchange.response.status >= 400:
        raise ApiError(exchange.response.status, heard.error or "the recorded answer is an error")
    end = heard.at if exchange.ended is None else exchange.ended
    gaps = [gap / speed for gap in (*heard.gaps, max(0.0, end - heard.at))]
    return Retold(heard.reply(), _fault(exchange, heard), gaps if math.isfinite(speed) else [])


def _fault(exchange: Exchange, heard: _Heard) -> Fault | None:
    """Return how the recorded answer broke off, if it did."""
    count = len(heard.gaps)
    if heard.error:
        return Fault.error(heard.error, at_token=count)
    if makes := _BREAKS.get(ending_to_replay(exchange)):
        return makes(at_token=count)
    if not count and not heard.ends:
        raise _unknown(exchange)
    return None if is_whole(exchange) else Fault.truncated(at_token=count)


def _unknown(exchange: Exchange) -> ApiError:
    path = exchange.request.path
    return ApiError(400, f"this model is a recording of {path}, which has no answer of a model")


def _records(exchange: Exchange) -> Iterator[tuple[float, Mapping[str, Any]]]:
    """Yield the objects of JSON in the body, with the time of their last byte."""
    kind = exchange.response.header("Content-Type") if exchange.response else ""
    if not any(name in kind for name in ("event-stream", "ndjson", "jsonl")):
        if exchange.pieces and ending_to_replay(exchange) == "eof":
            yield exchange.pieces[-1].at, orjson.loads(exchange.body)
        return
    for unit in units(exchange):
        data = unit.event.data if unit.event else "" if "event" in kind else unit.raw
        if data and data != "[DONE]" and data != b"\n":
            try:
                yield unit.at, orjson.loads(data)
            except orjson.JSONDecodeError:
                if ending_to_replay(exchange) == "eof":
                    raise  # otherwise it is the half line of one that broke off


@dataclass(slots=True)
class _HeardCall:
    name: str = ""
    id: str = ""
    arguments: str = ""


@dataclass(slots=True)
class _Heard:
    """Gathers what the records of an answer bring.

    Attributes:
        at: When the last token came.
        gaps: The seconds before each token; a tool call is one.
        error: The message of an error, or "".
        ends: Why it ended, or "".
    """

    at: float
    gaps: list[float] = field(default_factory=list)
    error: str = ""
    ends: str = ""
    text: list[str] = field(default_factory=list)
    thinking: list[str] = field(default_factory=list)
    calls: dict[object, _HeardCall] = field(default_factory=dict)

    def reply(self) -> Reply:
        calls = [
            Call(call.name, orjson.loads(call.arguments or "{}"), call.id)
            for call in self.calls.values()
        ]
        reason = "length" if self.ends in _CUT_SHORT else "stop"
        return Reply(self.text, self.thinking, calls, reason)

    def add(self, at: float, record: Mapping[str, Any]) -> None:
        """Add a line of Ollama's, or an event or whole answer of OpenAI's or Anthropic's."""
        match record:
            case {"error": str(message) | {"message": str(message)}}:
                self.error = message
            case {"type": "response.failed", "response": {"error": {"message": str(message)}}}:
                self.error = message
            case {"choices": [dict(choice), *_]}:
                self._add_message(at, choice.get("delta") or choice.get("message") or {})
                self._say(at, self.text, choice.get("text"))
                self.ends = choice.get("finish_reason") or self.ends
            case {"choices": []}:
                pass  # the usage
            case {"done": bool(done)}:
                self._add_message(at, record.get("message") or record)
                self._say(at, self.text, record.get("response"))
                self.ends = record.get("done_reason") or ("stop" if done else "")
            case {"type": str(kind)} if "." in kind:
                self._add_openai_event(at, kind, record)
            case {"output": list(items)}:
                for number, item in enumerate(items):
                    self._add_openai_item(at, number, item)
                self.ends = _incomplete(record) or "stop"
            case {"type": str(kind)}:
                self._add_anthropic(at, kind, record)
            case _:
                raise ValueError(record)

    def _add_message(self, at: float, message: Mapping[str, Any]) -> None:
        for name in ("thinking", "reasoning", "reasoning_content"):
            self._say(at, self.thinking, message.get(name))
        self._say(at, self.text, message.get("content"))
        for call in message.get("tool_calls") or ():
            function = call["function"]
            given = function.get("arguments")
            arguments = given if isinstance(given, str) else orjson.dumps(given).decode()
            # OpenAI's come in pieces, which belong together by index.
            key = call.get("index", len(self.calls))
            self._add_call(at, key, function.get("name"), call.get("id"), arguments)

    def _add_openai_event(self, at: float, kind: str, record: Mapping[str, Any]) -> None:
        match kind:
            case "response.output_text.delta":
                self._say(at, self.text, record["delta"])
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                self._say(at, self.thinking, record["delta"])
            case "response.output_item.done" if record["item"]["type"] == "function_call":
                self._add_openai_item(at, record["output_index"], record["item"])
            case "response.completed" | "response.incomplete":
                self.ends = _incomplete(record["response"]) or "stop"

    def _add_openai_item(self, at: float, number: int, item: Mapping[str, Any]) -> None:
        match item["type"]:
            case "function_call":
                self._add_call(at, number, item["name"], item["call_id"], item["arguments"])
            case "message":
                for part in item["content"]:
                    self._say(at, self.text, part.get("text"))
            case "reasoning":
                for part in item["summary"]:
                    self._say(at, self.thinking, part.get("text"))

    def _add_anthropic(self, at: float, kind: str, record: Mapping[str, Any]) -> None:
        match kind:
            case "message":
                for number, block in enumerate(record["content"] or ()):
                    self._add_anthropic_block(at, number, block)
                self.ends = record.get("stop_reason") or "stop"
            case "content_block_start":
                self._add_anthropic_block(at, record["index"], record["content_block"])
            case "content_block_delta":
                delta = record["delta"]
                self._say(at, self.text, delta.get("text"))
                self._say(at, self.thinking, delta.get("thinking"))
                if more := delta.get("partial_json"):
                    self._add_call(at, record["index"], None, None, more)
            case "message_delta":
                self.ends = record["delta"].get("stop_reason") or self.ends

    def _add_anthropic_block(self, at: float, number: int, block: Mapping[str, Any]) -> None:
        if block["type"] == "tool_use":
            given = orjson.dumps(block["input"]).decode() if block.get("input") else ""
            self._add_call(at, number, block["name"], block["id"], given)
        self._say(at, self.text, block.get("text"))
        self._say(at, self.thinking, block.get("thinking"))

    def _add_call(
        self, at: float, key: object, name: str | None, ident: str | None, arguments: str
    ) -> None:
        if key not in self.calls:
            self.calls[key] = _HeardCall()
            self._pass_time(at)
        call = self.calls[key]
        call.name = name or call.name
        call.id = ident or call.id
        call.arguments += arguments

    def _say(self, at: float, tokens: list[str], token: str | None) -> None:
        if token:
            tokens.append(token)
            self._pass_time(at)

    def _pass_time(self, at: float) -> None:
        self.gaps.append(max(0.0, at - self.at))
        self.at = at


def _incomplete(response: Mapping[str, Any]) -> str:
    details: Mapping[str, str] = response.get("incomplete_details") or {}
    return details.get("reason", "")
