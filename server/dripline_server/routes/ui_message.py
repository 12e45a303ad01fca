"""`/api/chat`: a run as the UI message stream, as `useChat` of the AI SDK asks for it."""

from __future__ import annotations

from hashlib import blake2b

import orjson
from aiohttp import web

from dripline_server.dialects import Position
from dripline_server.dialects.translated import TranslatedDialect, public_name
from dripline_server.dialects.ui_message import UiMessageTranslator
from dripline_server.routes.dialect_query import ui_message_address
from dripline_server.routes.json_body import read_json
from dripline_server.routes.run_answer import stream_run
from dripline_server.routes.runs import stop_run
from dripline_server.routes.start_run import start_run
from dripline_server.routes.ui_message_input import UiChatRequest, chat_request, continued
from dripline_server.run_log import FoundRun
from dripline_server.state import STATE

routes = web.RouteTableDef()


@routes.post("/api/chat")
async def chat(request: web.Request) -> web.StreamResponse:
    """Start a run; the chunks of a UI message are the response."""
    asked = await read_json(request, UiChatRequest)
    run = await start_run(request, chat_request(asked))
    message_id = continued(asked) or public_name(run.id)
    if asked.on_disconnect != "stop":  # else nobody could come back
        newest = orjson.dumps({"run": run.id, "message": message_id})
        await request.app[STATE].logs.remember(_key(request, asked.id), run.id, newest)
    where = {"Content-Location": ui_message_address(run.id, message_id)}
    return await stream_run(request, run, _dialect(message_id, run.id), where)


@routes.get("/api/chat/{chat_id}/stream", allow_head=False)
async def resume(request: web.Request) -> web.StreamResponse:
    """Stream the chat's newest answer again, from its beginning; 204 where there is none to have.

    The SDK's chat puts it in the place of what it had of that message.
    """
    if (found := await _newest(request)) is None:
        return web.Response(status=204)
    run, message_id = found
    return await stream_run(request, run, _dialect(message_id, run.id))


@routes.delete("/api/chat/{chat_id}/stream")
async def stop(request: web.Request) -> web.Response:
    """Stop the chat's newest run: the SDK's own `stop()` stops only the reading.

    202 if it was going on, 204 if there is nothing to stop.
    """
    found = await _newest(request)
    return await stop_run(found[0]) if found else web.Response(status=204)


async def _newest(request: web.Request) -> tuple[FoundRun, str] | None:
    """Return the newest run of a chat, and the id of its message."""
    state = request.app[STATE]
    newest = await state.logs.recall(_key(request, request.match_info["chat_id"]))
    if newest is None:
        return None
    about = orjson.loads(newest)
    run = await state.runs.find(about["run"])
    return (run, about["message"]) if run else None


def _dialect(message_id: str, run_id: str) -> TranslatedDialect:
    return TranslatedDialect(UiMessageTranslator(message_id, run_id), Position(0))


def _key(request: web.Request, chat_id: str) -> str:
    """Return what the chat is known by: clients with another token do not see each other's."""
    who = request.headers.get("Authorization", "")
    return blake2b(orjson.dumps([who, chat_id]), digest_size=16).hexdigest()
