"""`POST /agui`: starts a run and streams it as AG-UI."""

from __future__ import annotations

from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.dialects import Position
from dripline_server.dialects.agui import AguiTranslator
from dripline_server.dialects.translated import TranslatedDialect
from dripline_server.problems import Problem
from dripline_server.routes.dialect_query import agui_address
from dripline_server.routes.request_body import read_json
from dripline_server.routes.run_answer import start_run, stream_run
from dripline_server.state import STATE

routes = web.RouteTableDef()


@routes.post("/agui")
async def agui(request: web.Request) -> web.StreamResponse:
    """Start a run and stream its AG-UI events.

    A reader that lost its connection resumes at the address in `Content-Location`, which is
    relative to this one.
    """
    try:
        from ag_ui.core import RunAgentInput

        from dripline_server.routes.agui_input import agui_run, asker, background, chat_request
    except ModuleNotFoundError as error:
        raise Problem(
            501,
            ErrorCode.EXTRA_MISSING,
            "This server was installed without AG-UI: pip install 'dripline[server,agui]'",
        ) from error
    asked = await read_json(request, RunAgentInput)
    about = agui_run(asked)
    chat = chat_request(asked, request.headers.get("X-On-Disconnect", "stop"))
    state = request.app[STATE]
    if (chat.model or state.default_model) not in state.agents:
        chat.messages[:0] = background(asked)  # an agent gets it as it is
    run = await start_run(request, chat, asker=asker(request, asked))
    dialect = TranslatedDialect(AguiTranslator(about, run.id), Position(0))
    where = {"Content-Location": agui_address(run.id, about)}
    return await stream_run(request, run, dialect, where)
