"""The whole stack on real ports: fake Ollama, dripline server, and what reads it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import aiohttp

from dripline import ChatClient
from dripline.default_url import DEFAULT_URL
from dripline.testing import FakeOllama, Script
from dripline_server.app import Server, serve
from dripline_server.settings import DEFAULT_OLLAMA_URL, Settings


@dataclass(frozen=True, slots=True)
class Stack:
    """A fake Ollama with a dripline server in front; what is in `closing` is closed first."""

    ollama: FakeOllama
    server: Server
    client: ChatClient
    http: aiohttp.ClientSession
    closing: AsyncExitStack

    @property
    def url(self) -> str:
        return self.server.url


@asynccontextmanager
async def stack(
    models: Mapping[str, Script] | Script,
    *,
    functions: Any = (),
    agents: Any = MappingProxyType({}),
    max_requests: Any = 10_000,
    clock: Any = None,
    registry: Any = None,
    **settings: Any,
) -> AsyncIterator[Stack]:
    """Run the stack; a single script is the model `story`, which is the default then.

    `functions` are tools of the server's, and `agents` its agents; the fake Ollama remembers
    `max_requests`, goes by `clock`, and pulls from `registry`. On a slow machine too no `loading`
    status comes among the
    events, unless a test asks for it with `loading_after`.
    """
    settings = {"loading_after": 3600.0, **settings}
    if isinstance(models, Script):
        models, settings = {"story": models}, {"model": "story", **settings}
    async with (
        FakeOllama(models, max_requests=max_requests, clock=clock, registry=registry) as ollama,
        serve(Settings(port=0, ollama=ollama.url, **settings), functions, agents) as server,
        ChatClient(server.url, settings.get("token", "")) as client,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        AsyncExitStack() as closing,
    ):
        yield Stack(ollama, server, client, http, closing)


def user(text: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def at(s: Stack, text: str) -> str:
    """Return a text with this stack's addresses for the usual ones of dripline and Ollama."""
    return text.replace(DEFAULT_URL, s.url).replace(DEFAULT_OLLAMA_URL, s.ollama.url)
