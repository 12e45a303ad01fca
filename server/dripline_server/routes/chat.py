"""`POST /chat`: starts a run and streams it."""

from __future__ import annotations

from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.problems import RETRY_AFTER, Problem
from dripline_server.routes.chat_request import read_chat_request, run_request
from dripline_server.routes.run_answer import answer_whole, stream_run
from dripline_server.run_registry import RegistryFull
from dripline_server.state import STATE

routes = web.RouteTableDef()


@routes.post("/chat")
async def chat(request: web.Request) -> web.StreamResponse:
    """Start a run; its stream, or its whole answer, is the response."""
    state = request.app[STATE]
    asked = await read_chat_request(request)
    wanted = run_request(asked, state.default_model, state.settings.grace, state.tools)
    try:
        run = await state.runs.start(wanted)
    except RegistryFull as full:
        code = ErrorCode.SERVER_FULL if not full.shutting_down else ErrorCode.SERVER_SHUTDOWN
        raise Problem(503, code, str(full), {"Retry-After": str(RETRY_AFTER)}) from full
    if asked.stream:
        return await stream_run(request, run, after=0)
    return await answer_whole(run, max_bytes=state.settings.log_bytes)
