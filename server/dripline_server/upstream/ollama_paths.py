"""What an address of Ollama's is for, however it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

# The endpoints that add, change or remove models.
CHANGES = frozenset(("pull", "push", "create", "copy", "delete", "blobs"))
# Names of endpoints for metrics and logs; all others together are `OTHER`.
ENDPOINTS = frozenset(
    (
        *("/", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show"),
        *("/api/tags", "/api/ps", "/api/version", "/api/status", "/api/me", "/api/signout"),
        *(f"/api/{name}" for name in CHANGES),
        *("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"),
        *("/v1/messages", "/v1/models", "/v1/audio/transcriptions"),
    )
)
OTHER = "other"
# POST requests that only look something up, and so are no work for a model.
_LOOKUPS = frozenset(("/api/show", "/api/me", "/api/signout", "/api/copy"))
# Nobody has to encode a path more often. A path that is, is refused as a change of models.
_MOST_DECODINGS = 8
_WORD = re.compile(r"[a-z]*")


@dataclass(frozen=True, slots=True)
class OllamaPath:
    """An address of Ollama's.

    Attributes:
        endpoint: One of `ENDPOINTS`, or `OTHER`.
        changes_models: Whether Ollama, or a proxy before it, could take it for an endpoint that
            changes models.
        leaves: Whether it leads above Ollama's own address, with `..`.
    """

    endpoint: str
    changes_models: bool
    leaves: bool

    def is_work(self, method: str) -> bool:
        """Whether a request may occupy a model, or Ollama itself, for a while."""
        return method == "POST" and self.endpoint not in _LOOKUPS


def read_path(target: str) -> OllamaPath:
    """Return what a request's target is for: the path, with the query, as it stands in the request.

    Ollama decodes a path once, and redirects from a path with `//` or `..` to the path without. A
    proxy may decode further, ignore case, or split parameters off. So every reading counts.
    """
    path = re.split(r"[?#]", target, maxsplit=1)[0]
    segments = path.strip("/").split("/")
    decoded, stable = _decoded(path)
    words, leaves = _resolved(decoded)
    changes = not stable or _changes(words) or _changes(_split(decoded))
    name = "/" + "/".join(segments[:3])
    if segments[1:2] == ["blobs"] or name.startswith("/v1/models/"):
        name = "/" + "/".join(segments[:2])
    return OllamaPath(name if name in ENDPOINTS else OTHER, changes, leaves)


def _decoded(path: str) -> tuple[str, bool]:
    """Return the path without any percent-encoding, and whether that is so."""
    for _ in range(_MOST_DECODINGS):
        before, path = path, unquote(path, errors="replace")
        if path == before:
            return path, True
    return path, False


def _split(path: str) -> list[str]:
    return [one for one in re.split(r"[/\\]", path) if one not in ("", ".")]


def _resolved(path: str) -> tuple[list[str], bool]:
    """Return the segments after each `..`, and whether one leads above the first."""
    kept: list[str] = []
    leaves = False
    for segment in _split(path):
        if segment != "..":
            kept.append(segment)
        elif kept:
            kept.pop()
        else:
            leaves = True
    return kept, leaves


def _changes(segments: Sequence[str]) -> bool:
    """Whether `api` is followed by one of `CHANGES`; only the letters at their start count."""
    words = [match[0] if (match := _WORD.match(one.strip().lower())) else "" for one in segments]
    return any(first == "api" and second in CHANGES for first, second in pairwise(words))
