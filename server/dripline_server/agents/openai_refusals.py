"""Turns the errors of an OpenAI-compatible server into our errors. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from dripline.errors import ErrorCode
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama_refusals import (
    is_requests_fault,
    json_of,
    sentence,
    text_of,
    words_of,
)

_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def server_refusal(
    url: str, status: int, body: bytes, model: str, compressed: str = ""
) -> UpstreamError:
    """Turn an answer with an error status into an error.

    Args:
        url: The server's address, for the message.
        status: The HTTP status.
        body: The start of its body.
        model: The model of the request; "" if it names none.
        compressed: The compression that its headers declare; "" if there is none.
    """
    content = None if compressed else json_of(body)
    words, kind = words_of(content)
    text = sentence(words or text_of(body, content, compressed) or "it gave no reason")
    said = f"The server at {url} refused the request ({status}): {text}"
    if status == HTTPStatus.NOT_FOUND and model and "model" in words.lower():
        message = f"The server at {url} does not have the model {model!r}: {text}"
        return UpstreamError(ErrorCode.MODEL_NOT_FOUND, message)
    if status in _KEY:
        help_text = " If it needs a key, set OPENAI_API_KEY where dripline-server runs."
        return UpstreamError(ErrorCode.UPSTREAM_REFUSED, said + help_text)
    if status in _BUSY:
        message = f"The server at {url} is busy ({status}): {text} Try again later."
        return UpstreamError(ErrorCode.UPSTREAM_BUSY, message)
    if status == HTTPStatus.NOT_FOUND and not words:
        help_text = " Is --openai its address, up to and with /v1?"
        return UpstreamError(ErrorCode.UPSTREAM_REFUSED, said + help_text)
    if status < HTTPStatus.INTERNAL_SERVER_ERROR or is_requests_fault(text, kind):
        return UpstreamError(ErrorCode.UPSTREAM_REFUSED, said)
    return UpstreamError(
        ErrorCode.UPSTREAM_FAILED, f"The server at {url} failed ({status}): {text}"
    )


def reported_error(url: str, content: Mapping[str, Any]) -> UpstreamError:
    """Turn an error inside an answer, `{"error": ...}`, into an error."""
    words, kind = words_of(content)
    text = sentence(words or "it gave no reason")
    if is_requests_fault(text, kind):
        message = f"The server at {url} refused the request: {text}"
        return UpstreamError(ErrorCode.UPSTREAM_REFUSED, message)
    message = f"The server at {url} reported an error: {text}"
    return UpstreamError(ErrorCode.UPSTREAM_ERROR, message)
