"""`POST /chat`: starts a run and streams it."""

from __future__ import annotations

from aiohttp import web

from dripline_server.dialects.native import NativeDialect
from dripline_server.routes.chat_request import ChatRequest
from dripline_server.routes.request_body import read_json
from dripline_server.routes.run_answer import answer_whole, start_run, stream_run
from dripline_server.state import STATE

routes = web.RouteTableDef()


@routes.post("/chat")
async def chat(request: web.Request) -> web.StreamResponse:
    """Start a run, and answer with its stream or with its whole answer."""
    asked = await read_json(request, ChatRequest)
    run = await start_run(request, asked)
    if asked.stream:
        return await stream_run(request, run, NativeDialect())
    return await answer_whole(run, max_bytes=request.app[STATE].settings.log_bytes)
