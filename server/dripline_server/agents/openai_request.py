"""Turns the chat of a run into a request to an OpenAI-compatible server. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dripline.http.json_encoding import json_body
from dripline_server.agents.agent_chat import Chat

# The first characters of an image in Base64, and its type. Others count as PNG.
_IMAGES = {"/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


def completion_request(chat: Chat, model: str) -> bytes:
    """Return the body of `POST /chat/completions`, as JSON.

    Options that OpenAI does not know, such as `top_k`, are passed on under Ollama's names: most
    servers know some of them, and the others say so.

    Args:
        chat: What the client asked.
        model: The model's name on that server.
    """
    options = dict(chat.options)
    limit = options.pop("num_predict", None)
    body: dict[str, Any] = {
        **options,
        "model": model,
        "messages": list(_messages(chat.messages)),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if type(limit) is int and limit >= 0:  # a negative one means no limit
        body["max_tokens"] = limit
    if chat.tools:
        body["tools"] = chat.tools
    if isinstance(chat.format, Mapping):
        schema = {"name": "answer", "schema": chat.format}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif chat.format:
        body["response_format"] = {"type": "json_object"}
    if isinstance(chat.think, str) or chat.think is False:
        body["reasoning_effort"] = chat.think or "none"
    return json_body(body)


def _messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield each message in OpenAI's form.

    There every tool result names the call that it answers. Ollama's form may lack that: then the
    results answer the open calls of their tool in order.
    """
    calls = 0
    # The ids of the calls without a result, each with the tool's name, in order.
    open_calls: list[tuple[str, str]] = []
    for message in messages:
        content = message.get("content") or ""
        if images := message.get("images"):
            content = [{"type": "text", "text": content}, *map(_image, images)]
        told: dict[str, Any] = {"role": message["role"], "content": content}
        if made := message.get("tool_calls"):
            open_calls = []
            told["tool_calls"] = []
            for call in made:
                calls += 1
                told["tool_calls"].append(_call(call, f"call_{calls}"))
            open_calls = [(call["id"], call["function"]["name"]) for call in told["tool_calls"]]
        if message["role"] == "tool":
            told["tool_call_id"] = _answered(message, open_calls)
        yield told


def _answered(message: Mapping[str, Any], open_calls: list[tuple[str, str]]) -> str:
    """Return the id of the call that a tool's result answers, which is no longer open then."""
    wanted, name = message.get("tool_call_id"), message.get("tool_name")
    for call in open_calls:
        if call[0] == wanted or (not wanted and (not name or call[1] == name)):
            open_calls.remove(call)
            return call[0]
    return wanted or name or "call"


def _call(call: Mapping[str, Any], number: str) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json_body(arguments or {}).decode()
    return {
        "id": call.get("id") or number,
        "type": "function",
        "function": {"name": function.get("name") or "", "arguments": text},
    }


def _image(image: str) -> dict[str, Any]:
    found = (kind for start, kind in _IMAGES.items() if image.startswith(start))
    return {
        "type": "image_url",
        "image_url": {"url": f"data:{next(found, 'image/png')};base64,{image}"},
    }
