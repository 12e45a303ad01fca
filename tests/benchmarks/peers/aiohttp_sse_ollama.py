"""aiohttp-sse and the `ollama` package."""

import json
import os
import sys

import httpx
from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response
from ollama import AsyncClient

OLLAMA = web.AppKey("OLLAMA", AsyncClient)


async def chat(request: web.Request) -> web.StreamResponse:
    asked = await request.json()
    async with sse_response(request, allow_all_methods=True) as response:
        number = 1
        await send(response, number, "start", {"agent": "ollama"})
        parts = await request.app[OLLAMA].chat(
            model=asked["model"], messages=asked["messages"], stream=True
        )
        async for part in parts:
            number += 1
            await send(response, number, "text_message", {"content": part.message.content})
        await send(response, number + 1, "end", {})
    return response


async def send(response: EventSourceResponse, number: int, kind: str, data: dict) -> None:
    await response.send(json.dumps({"type": kind, "data": data}), id=str(number))


async def make_app() -> web.Application:
    app = web.Application()
    limits = httpx.Limits(max_connections=None)
    app[OLLAMA] = AsyncClient(host=os.environ["OLLAMA_HOST"], limits=limits)
    app.router.add_post("/chat", chat)
    return app


if __name__ == "__main__":
    import uvloop

    uvloop.install()
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]), handler_cancellation=True)
