"""Ollama's route table, and what it says where nothing is."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from dripline.testing.fake_ollama.endpoints import (
    answers,
    embeddings,
    library,
    transcriptions,
    transfers,
)
from dripline.testing.fake_ollama.visit import Visit


class FakeEndpoint(Protocol):
    """Answers a request to one route."""

    def __call__(self, visit: Visit, /) -> Awaitable[web.StreamResponse]:
        """Return the response."""
        ...


# In the order of the source; the first of each method tells in which order `Allow` names them.
ROUTES: Sequence[tuple[str, str, FakeEndpoint]] = (
    ("HEAD", "/", library.root),
    ("GET", "/", library.root),
    ("HEAD", "/api/version", library.version),
    ("GET", "/api/version", library.version),
    ("GET", "/api/status", library.status),
    ("POST", "/api/pull", transfers.pull),
    ("POST", "/api/push", transfers.push),
    ("HEAD", "/api/tags", library.tags),
    ("GET", "/api/tags", library.tags),
    ("POST", "/api/show", library.show),
    ("DELETE", "/api/delete", library.delete),
    ("POST", "/api/me", library.me),
    ("POST", "/api/signout", library.sign_out),
    ("DELETE", "/api/user/keys/:key", library.sign_out),
    ("POST", "/api/create", transfers.create),
    ("POST", "/api/blobs/:digest", transfers.create_blob),
    ("HEAD", "/api/blobs/:digest", transfers.head_blob),
    ("POST", "/api/copy", library.copy),
    ("POST", "/api/experimental/web_search", library.web_search),
    ("POST", "/api/experimental/web_fetch", library.web_fetch),
    ("GET", "/api/experimental/model-recommendations", library.recommendations),
    ("GET", "/api/ps", library.ps),
    ("POST", "/api/generate", answers.generate),
    ("POST", "/api/chat", answers.chat),
    ("POST", "/api/embed", embeddings.embed),
    ("POST", "/api/embeddings", embeddings.embeddings),
    ("POST", "/v1/chat/completions", answers.chat_completions),
    ("POST", "/v1/completions", answers.completions),
    ("POST", "/v1/embeddings", embeddings.openai_embeddings),
    ("GET", "/v1/models", library.openai_models),
    ("GET", "/v1/models/:model", library.openai_model),
    ("POST", "/v1/responses", answers.responses),
    ("POST", "/v1/audio/transcriptions", transcriptions.transcriptions),
    ("POST", "/v1/messages", answers.messages),
)
# The endpoints at which a model says something.
ANSWERING = frozenset(
    path
    for _, path, endpoint in ROUTES
    if endpoint
    in (
        answers.generate,
        answers.chat,
        answers.chat_completions,
        answers.completions,
        answers.responses,
        answers.messages,
        transcriptions.transcriptions,
    )
)
_METHODS = tuple(dict.fromkeys(method for method, _, _ in ROUTES))
_TABLE: dict[tuple[str, str], FakeEndpoint] = {
    (method, path): endpoint for method, path, endpoint in ROUTES
}
_PARAMETERS = {
    path.rpartition("/")[0]: path for _, path, _ in ROUTES if path.rpartition("/")[2][:1] == ":"
}


@dataclass(frozen=True, slots=True)
class Found:
    """What is at an address.

    Attributes:
        endpoint: What answers; None where nothing does.
        param: The part of the path that has a name in the table.
        allow: The methods that there are, where the one of the request is not.
        moved_to: Where it is instead: a slash at the end is one too many, or too few.
    """

    endpoint: FakeEndpoint | None = None
    param: str = ""
    allow: str = ""
    moved_to: str = ""


def find(method: str, path: str) -> Found:
    """Return what is at an address."""
    if "//" in path:
        return Found(moved_to=re.sub("/+", "/", path))
    route, param = _route(path)
    if endpoint := _TABLE.get((method, route)):
        return Found(endpoint, param)
    other = path[:-1] if path.endswith("/") else f"{path}/"
    if path != "/" and (method, _route(other)[0]) in _TABLE:
        return Found(moved_to=other)
    allowed = [one for one in _METHODS if (one, route) in _TABLE]
    return Found(allow=", ".join(allowed))


def _route(path: str) -> tuple[str, str]:
    """Return the path as it stands in the table, and its parameter."""
    folder, _, last = path.rpartition("/")
    if last and (route := _PARAMETERS.get(folder)):
        return route, last
    return path, ""
