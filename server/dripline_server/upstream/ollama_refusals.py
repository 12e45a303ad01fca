"""Turns Ollama's error answers, a status and a body, into our errors. No I/O.

Ollama's own words are always passed on. They come as plain text, as llama-server's JSON inside that
text (since 0.33), as the web page of a proxy in between, or not at all.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from dripline.errors import ErrorCode
from dripline.json_text import load_json
from dripline_server.upstream.failures import UpstreamError

# How many characters are passed on: of a body that is not JSON, and of Ollama's own words.
MAX_SHOWN = 200
MAX_WORDS = 2000
# The deepest nesting of JSON in JSON that is read. Ollama's JSON around llama-server's is two.
_MAX_NESTED = 4

# Ollama answers 500, with these words, even to some requests that can never succeed.
_REQUESTS_FAULT = re.compile(
    r'option "[^"]*" must be of type|invalid option|invalid format|invalid JSON schema in format'
    r"|invalid think value|think must be|missing data required for image"
    r"|does not support (?!embeddings)|exceeds? (?:the )?(?:available |maximum )?context"
    r"|cannot unmarshal|illegal base64|top_logprobs must|failed to parse grammar"
    r"|invalid_request_error|exceed_context_size_error|unknown format|invalid image",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"exceeds? (?:the )?(?:available |maximum )?context", re.IGNORECASE)
_OBJECT = re.compile(r'\{\s*".*\}', re.DOTALL)
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)

# The first bytes of compressed data, which a proxy may send instead of JSON.
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x78\x9c": "deflate"}


def refusal(status: int, body: bytes, model: str, compressed: str = "") -> UpstreamError:
    """Turn an answer with an error status into an error.

    Args:
        status: The HTTP status.
        body: The start of its body.
        model: The model of the request.
        compressed: The compression that its headers declare; "" if there is none.
    """
    content = None if compressed else json_of(body)
    words, kind = words_of(content)
    text = words or text_of(body, content, compressed)
    address = _sign_in_address(content)
    if status == 404 and "not found" in text and "model" in text:
        return UpstreamError(
            ErrorCode.MODEL_NOT_FOUND,
            f"Ollama does not have the model {model!r}. Get it with `ollama pull {model}`.",
        )
    if status == 401 or address:
        return UpstreamError(ErrorCode.OLLAMA_REFUSED, _sign_in(status, text, address))
    if status == 403 and not text:
        return UpstreamError(
            ErrorCode.OLLAMA_REFUSED,
            "Ollama refused the request (403) and gave no reason. It does so when it doesn't allow"
            " the request's Host or Origin: set OLLAMA_ORIGINS where Ollama runs, and if there is a"
            " tunnel or a proxy in front of it, have that send `Host: localhost:11434`.",
        )
    text = sentence(text or "it gave no reason")
    if status == 503 or kind == "unavailable_error":
        return UpstreamError(ErrorCode.OLLAMA_BUSY, f"Ollama is busy: {text} Try again later.")
    if status < 500 or is_requests_fault(text, kind):
        return UpstreamError(
            ErrorCode.OLLAMA_REFUSED, f"Ollama refused the request ({status}): {text}{_help(text)}"
        )
    return UpstreamError(ErrorCode.OLLAMA_FAILED, f"Ollama failed ({status}): {text}")


def error_line(line: Mapping[str, Any]) -> UpstreamError:
    """Turn an `{"error": ...}` line inside an answer into an error."""
    words, kind = words_of(line)
    text = sentence(words or "it gave no reason")
    if address := _sign_in_address(line):
        message = f"Ollama refused the request: {text}{_where(address)}"
        return UpstreamError(ErrorCode.OLLAMA_REFUSED, message)
    if is_requests_fault(text, kind):
        message = f"Ollama refused the request: {text}{_help(text)}"
        return UpstreamError(ErrorCode.OLLAMA_REFUSED, message)
    return UpstreamError(ErrorCode.OLLAMA_ERROR, f"Ollama reported an error: {text}")


def is_requests_fault(text: str, kind: str = "") -> bool:
    """Whether Ollama's words say that the request is wrong, so that a retry cannot help."""
    return bool(_REQUESTS_FAULT.search(text) or _REQUESTS_FAULT.search(kind))


def sentence(text: str) -> str:
    """Return the text with a full stop at its end, so that another sentence can follow."""
    text = text.strip()
    return text if text.endswith((*".!?…。！？", ".)", '."')) else f"{text}."


def stranger(data: bytes) -> str:
    """Describe bytes that should have been JSON; "" if their kind is unknown."""
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    for magic, name in _COMPRESSED.items():
        if data.startswith(magic):
            return _compressed(name)
    if start.startswith(b"<"):
        title = _title_of(data)
        return f"a web page{f' ({title!r})' if title else ''}"
    if start.startswith((b"data:", b"event:", b":")):
        return "server-sent events, as other APIs do"
    return ""


def _compressed(how: str) -> str:
    return (
        f"a compressed answer ({how}), although dripline did not ask for it. Turn off compression"
        " in the proxy between dripline and Ollama"
    )


def json_of(body: bytes) -> object:
    """Return the JSON value of a body; None if it is none."""
    try:
        return load_json(body)
    except ValueError:
        return None


def words_of(content: object) -> tuple[str, str]:
    """Return the innermost message of Ollama's error, and its type if it has one."""
    kind, before, after = "", "", ""
    for _ in range(_MAX_NESTED):
        if isinstance(content, Mapping):
            kind = _kind_of(content) or kind
            content = content.get("error") or content.get("message") or ""
        if not isinstance(content, str):
            continue
        # llama-server's JSON may be surrounded by Ollama's own words.
        found = _OBJECT.search(content)
        inner = json_of(found[0].encode("utf-8", "replace")) if found else None
        if not (found and isinstance(inner, Mapping) and ("error" in inner or "message" in inner)):
            return f"{before}{content}{after}"[:MAX_WORDS].strip(), kind
        before, after = before + content[: found.start()], content[found.end() :] + after
        content = inner
    return f"{before}{after}".strip() or str(content or "")[:MAX_WORDS], kind


def _kind_of(error: Mapping[str, Any]) -> str:
    """Return an error's type, in llama-server's names; a 4xx code implies one."""
    code = error.get("code")
    if type(code) is int and HTTPStatus.BAD_REQUEST <= code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "invalid_request_error"
    return str(error.get("type") or "")[:MAX_SHOWN]


def text_of(body: bytes, content: object, compressed: str) -> str:
    """Return the start of a body that Ollama did not write; "" if it says nothing."""
    if told := _compressed(compressed) if compressed else stranger(body):
        return f"it sent {told}"
    if isinstance(content, Mapping) and not any(content.values()):
        return ""
    return " ".join(body[:MAX_SHOWN].decode("utf-8", "replace").split())


def _title_of(page: bytes) -> str:
    found = _TITLE.search(page[:10_000].decode("utf-8", "replace"))
    words = re.sub(r"<[^>]*>", "", html.unescape(found[2])) if found else ""
    return " ".join(words.split())[:MAX_SHOWN]


def _sign_in(status: int, text: str, address: str) -> str:
    message = f"Ollama refused the request ({status}): {sentence(text or 'it gave no reason')}"
    if address:
        return message + _where(address)
    return f"{message} If it needs a key, set OLLAMA_API_KEY where dripline-server runs."


def _where(address: str) -> str:
    return f" Sign in at {address} and try again."


def _sign_in_address(content: object) -> str:
    """Return the web address where the user has to sign in; "" if there is none."""
    value = content.get("signin_url") if isinstance(content, Mapping) else None
    if not isinstance(value, str) or len(value) > MAX_WORDS or not value.isprintable():
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    whole = parts.scheme in ("http", "https") and parts.netloc and " " not in value
    return value if whole else ""


def _help(text: str) -> str:
    if not _TOO_LONG.search(text):
        return ""
    return " Raise the option num_ctx, or send less."
