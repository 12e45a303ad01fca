"""dripline within an application that exists already: aiohttp's, or FastAPI's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from fastapi import FastAPI

from dripline import ChatClient, RequestRefused, TextMessage
from dripline_server import Server, Settings, create_app, serve
from dripline_server.agents import Chat
from dripline_server.problems import Handler
from tests.support.free_port import free_port

USER = web.RequestKey("user", str)


async def whoami(chat: Chat) -> AsyncGenerator[str]:
    """Say who asks."""
    yield f"You are {chat.request[USER]}."


async def count(chat: Chat) -> AsyncGenerator[str]:
    """Count, and wait."""
    for number in range(100):
        yield f"{number} "
        await asyncio.sleep(0.001)


@web.middleware
async def only_ada(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in whom the application knows."""
    if request.headers.get("Authorization") != "Bearer adas-own-token":
        raise web.HTTPForbidden
    request[USER] = "Ada"
    return await handler(request)


async def test_below_a_prefix_of_an_aiohttp_app() -> None:
    """The application's middleware says who may ask, and the agent knows who it is."""
    main = web.Application(middlewares=[only_ada])
    main.add_subapp("/ai", create_app(Settings(), agents={"whoami": whoami, "count": count}))
    runner = web.AppRunner(main)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port=free_port())
    await site.start()
    try:
        url = f"{site.name}/ai"
        async with ChatClient(url, "adas-own-token") as client:
            assert (await client.ask("Who?", model="whoami")).text == "You are Ada."
            async with client.chat("Go", model="count", on_leave="detach") as stream:
                async for event in stream:
                    if isinstance(event, TextMessage):
                        break
            assert stream.run_id
            async with client.attach(stream.run_id, after=0) as again:
                text = "".join([e.content async for e in again if isinstance(e, TextMessage)])
            assert text == "".join(f"{number} " for number in range(100))
        async with ChatClient(url, "somebody-elses") as client:
            with pytest.raises(RequestRefused, match="403"):
                await client.ask("Who?", model="whoami")
        async with aiohttp.ClientSession() as http, http.get(f"{url}/") as answer:
            assert answer.status == 403
    finally:
        await runner.cleanup()


async def test_beside_fastapi() -> None:
    """`serve` in the lifespan shares FastAPI's process and event loop, and ends with it."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with serve(Settings(port=0), agents={"count": count}) as server:
            app.state.dripline = server
            yield

    app = FastAPI(lifespan=lifespan)
    loops = []

    @app.get("/where")
    async def where() -> dict[str, str]:
        loops.append(asyncio.get_running_loop())
        server: Server = app.state.dripline
        return {"url": server.url}

    config = uvicorn.Config(app, port=free_port(), log_level="warning", lifespan="on")
    main = uvicorn.Server(config)
    serving = asyncio.create_task(main.serve())
    try:
        while not main.started:  # noqa: ASYNC110 (uvicorn says it in no other way)
            await asyncio.sleep(0.01)
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{config.port}/where") as answer,
        ):
            url = (await answer.json())["url"]
        assert loops == [asyncio.get_running_loop()]
        async with ChatClient(url) as client:
            assert (await client.ask("Go", model="count")).text.endswith("98 99 ")
    finally:
        main.should_exit = True
        await serving
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(url)
