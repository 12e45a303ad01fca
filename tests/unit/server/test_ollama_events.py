"""Ollama's chunks become events, whatever a chunk has and lacks."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from dripline.events import Event, TextMessage, Thinking, ToolCall
from dripline_server.upstream.ollama_events import OllamaAnswer

MESSAGE: dict[str, Any] = {
    "role": "assistant",
    "content": "Hi",
    "thinking": "Hm",
    "tool_calls": [{"id": "1", "function": {"name": "add", "arguments": {"a": 1}}}],
}
CHUNK: dict[str, Any] = {
    "logprobs": [{"token": "Hi", "logprob": -0.1}],
    "done": True,
    "done_reason": "stop",
    "eval_count": 3,
}


def some(whole: dict[str, Any], has: tuple[bool, ...]) -> dict[str, Any]:
    return {name: whole[name] for name, there in zip(whole, has, strict=True) if there}


@pytest.mark.parametrize("has", [*product((False, True), repeat=len(MESSAGE))], ids=str)
def test_whatever_a_chunk_has(has: tuple[bool, ...]) -> None:
    """Each part that is there is said, in its order; nothing is made of what is not."""
    message = some(MESSAGE, has)
    for with_chunk in product((False, True), repeat=len(CHUNK)):
        chunk = some(CHUNK, with_chunk)
        expected: list[Event] = []
        logprobs = chunk.get("logprobs")
        if "thinking" in message:
            expected.append(Thinking("Hm", None if "content" in message else logprobs))
        if "content" in message:
            expected.append(TextMessage("Hi", logprobs))
        elif logprobs and "thinking" not in message:
            expected.append(TextMessage("", logprobs))
        if "tool_calls" in message:
            expected.append(ToolCall("1", "add", {"a": 1}))
        answer = OllamaAnswer(0.0)
        assert answer.events([{"message": message, **chunk}], 1.0) == expected
        done = "done" in chunk
        assert answer.reason == (chunk.get("done_reason", "") if done else "")
        assert answer.usage(2.0).completion_tokens == (chunk.get("eval_count") if done else None)
        assert answer.usage(2.0).first_token_time == (1.0 if expected else None)
