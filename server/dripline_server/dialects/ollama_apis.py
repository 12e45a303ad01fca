"""Errors in the forms of the APIs that Ollama speaks: its own, OpenAI's and Anthropic's.

Also the last words of an answer that breaks off after it has begun. Half a line may have been sent
by then. Clients parse every line, so a half line alone would hide the error behind a parser's
complaint. It is therefore completed to JSON that has the error in it: every client looks for the
error first.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import orjson

from dripline_server.dialects.half_json import complete
from dripline_server.dialects.openai import error_object

NDJSON = "application/x-ndjson"
EVENT_STREAM = "text/event-stream"
# Bytes of unfinished text that are looked at; a longer line is not completed.
MAX_UNFINISHED = 64 * 1024

_ANTHROPIC_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class OllamaApi(Enum):
    """Which API an address of Ollama's belongs to."""

    OLLAMA = "Ollama's own"
    OPENAI = "OpenAI's"
    OPENAI_RESPONSES = "OpenAI's responses"
    ANTHROPIC = "Anthropic's"


def api_of(path: str) -> OllamaApi:
    """Return the API of one of Ollama's paths, such as "/v1/messages"."""
    if not path.startswith("/v1/"):
        return OllamaApi.OLLAMA
    match path.split("/")[2]:
        case "messages":
            return OllamaApi.ANTHROPIC
        case "responses":
            return OllamaApi.OPENAI_RESPONSES
        case _:
            return OllamaApi.OPENAI


def api_error(
    api: OllamaApi, status: int, code: str, message: str, field: str | None = None
) -> dict[str, Any]:
    """Return the JSON body of an error status.

    Args:
        api: The API.
        status: The HTTP status.
        code: dripline's own error code; only OpenAI's form has a place for it, and for the field.
        message: What is wrong and what to do.
        field: The field of the request that is wrong.
    """
    match api:
        case OllamaApi.OLLAMA:
            return {"error": message}
        case OllamaApi.ANTHROPIC:
            kind = _ANTHROPIC_KINDS.get(
                status, "api_error" if status >= 500 else "invalid_request_error"
            )
            return {"type": "error", "error": {"type": kind, "message": message}}
        case _:
            return error_object(status, code, message, field)


def last_words(
    api: OllamaApi, content_type: str, unfinished: bytes, code: str, message: str
) -> bytes:
    """Return what to send after a stream that has broken off, so that its reader sees the error.

    Args:
        api: The API.
        content_type: The stream's media type.
        unfinished: The bytes since the last line that was complete, or since the last event; of a
            text longer than `MAX_UNFINISHED`, only the start.
        code: dripline's own error code.
        message: What happened and what to do.

    Returns:
        The bytes; b"" if there is no place for an error, as in a single JSON document.
    """
    match content_type.partition(";")[0].strip().lower():
        case media_type if media_type == NDJSON:
            return _error_line(unfinished, {"error": message})
        case media_type if media_type == EVENT_STREAM:
            return _error_event(unfinished, *_event_of(api, code, message))
        case _:
            return b""


def _error_line(unfinished: bytes, error: Mapping[str, Any]) -> bytes:
    half = unfinished.rpartition(b"\n")[2]
    if not half.strip():
        return orjson.dumps(error) + b"\n"
    # The half may be the start of an error of Ollama's own, which says more than ours.
    fields = {} if half.lstrip().startswith(b'{"error"') else error
    completion = complete(half, fields) if len(half) <= MAX_UNFINISHED else None
    if completion is not None:
        return completion + b"\n"
    return b"\n" + orjson.dumps(error) + b"\n"


def _event_of(api: OllamaApi, code: str, message: str) -> tuple[str, dict[str, Any]]:
    """Return the event's name and its data, in the API's form."""
    data = api_error(api, 500, code, message)
    match api:
        case OllamaApi.ANTHROPIC:
            return "error", data
        case OllamaApi.OPENAI_RESPONSES:
            # OpenAI documents the flat fields; its packages raise for the field `error`.
            return "error", {
                "type": "error",
                "code": code,
                "message": message,
                "param": None,
                **data,
            }
        case _:
            return "", data


def _error_event(unfinished: bytes, name: str, data: Mapping[str, Any]) -> bytes:
    """Return an error event, after what completes the unfinished event.

    A blank line would dispatch half an event, so the half becomes the error: the last `event:` line
    of an event names it.
    """
    named = f"event: {name}\n".encode() if name else b""
    event = named + b"data: " + orjson.dumps(data) + b"\n\n"
    if len(unfinished) > MAX_UNFINISHED:
        return b"\n" + named + b"\n" if name else b""
    *whole, half = unfinished.replace(b"\r\n", b"\n").split(b"\n")
    if not half:
        return (b"\n" if any(line.startswith(b"data") for line in whole) else b"") + event
    if not half.startswith(b"data:"):
        return b"\n" + event
    started = half.removeprefix(b"data:")
    if not started.strip():
        return orjson.dumps(data) + b"\n" + named + b"\n"
    completion = complete(started, data)
    if completion is not None:
        return completion + b"\n" + named + b"\n"
    if _is_whole(started):
        return b"\n\n" + event
    # Half of something else, such as `[DONE]`. Only a named error can still replace it.
    return b"\n" + named + b"\n" if name else b""


def _is_whole(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.strip() == b"[DONE]"
    return True
