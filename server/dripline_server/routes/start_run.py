"""The one way in which a request becomes a run."""

from __future__ import annotations

from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.problems import RETRY_AFTER, Problem
from dripline_server.routes.chat_request import ChatRequest, run_request
from dripline_server.run_log import FoundRun
from dripline_server.run_registry import RegistryFull
from dripline_server.state import STATE


async def start_run(request: web.Request, asked: ChatRequest) -> FoundRun:
    """Start a run, or return the one that has the name that the request gives.

    Raises:
        Problem: No model is named, and there is no default (400); or no further run is taken
            now (503).
    """
    state = request.app[STATE]
    wanted = run_request(asked, state.default_model, state.settings.grace, state.tools)
    try:
        return await state.runs.start(wanted, asked.run_id)
    except RegistryFull as full:
        code = ErrorCode.SERVER_FULL if not full.shutting_down else ErrorCode.SERVER_SHUTDOWN
        raise Problem(503, code, str(full), {"Retry-After": str(RETRY_AFTER)}) from full
