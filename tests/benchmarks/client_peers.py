"""The clients that are compared: each reads one answer and gives its pieces of text.

Each is used as its documentation uses it.
"""
# The peers are in the [bench] extra alone.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from dripline import ChatClient, TextMessage

QUESTION = "Why is the sky blue?"
BODY = {"model": "mistral:latest", "messages": [{"role": "user", "content": QUESTION}]}


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        name: For tables.
        packages: What it is made of.
        module: By which name the first of them is imported.
        read: Reads the answer of the server at an address.
    """

    name: str
    packages: Sequence[str]
    module: str
    read: Callable[[str], Awaitable[list[str]]]

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return find_spec(self.module) is not None


async def _dripline(server: str) -> list[str]:
    pieces = []
    async with ChatClient(server) as client, client.chat(QUESTION) as stream:
        async for event in stream:
            match event:
                case TextMessage(content):
                    pieces.append(content)
    return pieces


async def _httpx_sse(server: str) -> list[str]:
    import httpx
    from httpx_sse import aconnect_sse

    pieces = []
    async with (
        httpx.AsyncClient(timeout=None) as client,
        aconnect_sse(client, "POST", f"{server}/chat", json=BODY) as source,
    ):
        async for sse in source.aiter_sse():
            event = json.loads(sse.data)
            if event["type"] == "text_message":
                pieces.append(event["data"]["content"])
    return pieces


async def _aiohttp_sse_client2(server: str) -> list[str]:
    from aiohttp_sse_client2.client import EventSource

    pieces = []
    url, option = f"{server}/chat", {"method": "POST"}
    async with EventSource(url, option=option, json=BODY, headers={}) as source:
        async for message in source:
            event = json.loads(message.data)
            if event["type"] == "text_message":
                pieces.append(event["data"]["content"])
            elif event["type"] == "end":
                break
    return pieces


async def _openai(server: str) -> list[str]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{server}/v1", api_key="none") as client:
        create: Any = client.chat.completions.create
        stream = await create(stream=True, **BODY)
        pieces = [chunk.choices[0].delta.content async for chunk in stream]
    return pieces[:-1]  # the last only says why it ends


DRIPLINE = Client("ChatClient", ("dripline", "aiohttp", "orjson"), "dripline", _dripline)
HTTPX_SSE = Client("httpx-sse + json", ("httpx-sse", "httpx"), "httpx_sse", _httpx_sse)
CLIENTS = (
    DRIPLINE,
    HTTPX_SSE,
    Client(
        "aiohttp-sse-client2 + json",
        ("aiohttp-sse-client2", "aiohttp"),
        "aiohttp_sse_client2",
        _aiohttp_sse_client2,
    ),
    Client("openai", ("openai", "httpx"), "openai", _openai),
)
