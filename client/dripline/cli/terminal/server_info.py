"""Ask the server for its models and settings."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import orjson

from dripline.chat.client import ChatClient, ModelInfo


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The properties of the server that a chat needs.

    Attributes:
        models: What answers can come from.
        default: The model of requests that name none; "" where the server has none.
        demo: Why the built-in demo models answer; "" where a real Ollama does.
    """

    models: tuple[ModelInfo, ...] = ()
    default: str = ""
    demo: str = ""

    def find(self, name: str) -> ModelInfo | None:
        """Return a model; Ollama lists `mistral` as `mistral:latest`."""
        wanted = (name, f"{name}:latest")
        return next((model for model in self.models if model.name in wanted), None)


async def read_server(client: ChatClient) -> ServerInfo:
    """Ask the server.

    Raises:
        DriplineError: It cannot be reached, or cannot say.
    """
    models = await client.models()
    response = await client.request("GET", "/", headers={"Accept": "application/json"})
    async with response:
        try:
            about = orjson.loads(await response.read())
            return ServerInfo(tuple(models), str(about["model"] or ""), str(about["demo"] or ""))
        except (aiohttp.ClientError, ValueError, LookupError, TypeError):
            return ServerInfo(tuple(models))
