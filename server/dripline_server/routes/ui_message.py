"""`/ai-sdk/chat`: runs as UI message streams, for the AI SDK's `useChat`."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any

from aiohttp import web

from dripline_server.callers import CALLER
from dripline_server.dialects import Position
from dripline_server.dialects.translated import TranslatedDialect, public_name
from dripline_server.dialects.ui_message import UiMessageTranslator
from dripline_server.dialects.ui_message_parts import chunks_of
from dripline_server.routes.dialect_query import ui_message_address
from dripline_server.routes.request_body import read_json
from dripline_server.routes.run_answer import start_run, stream_run
from dripline_server.routes.runs import stop_run
from dripline_server.routes.ui_message_input import (
    UiChatRequest,
    UiMessage,
    chat_request,
    continued,
)
from dripline_server.run_log import FoundRun
from dripline_server.state import STATE

# Bytes of a continued message that are kept while its run can be resumed.
MAX_ABOUT = 256 * 1024

routes = web.RouteTableDef()


@routes.post("/ai-sdk/chat")
async def chat(request: web.Request) -> web.StreamResponse:
    """Start a run, and stream it as the chunks of a UI message."""
    asked = await read_json(request, UiChatRequest)
    wanted = chat_request(asked)
    logs, key = request.app[STATE].logs, _key(request, asked.id)
    resumable = asked.on_disconnect != "stop"
    if not resumable:
        # Before the run starts, because it ends quickly without a reader.
        await logs.remember(key, "", b"")
    run = await start_run(request, wanted)
    earlier = continued(asked)
    message_id = earlier.id if earlier else public_name(run.id)
    if resumable:
        await logs.remember(key, run.id, _about(run.id, message_id, earlier))
    where = {"Content-Location": ui_message_address(run.id, message_id)}
    dialect = TranslatedDialect(UiMessageTranslator(message_id, run.id), Position(0))
    return await stream_run(request, run, dialect, where)


@routes.get("/ai-sdk/chat/{chat_id}/stream", allow_head=False)
async def resume(request: web.Request) -> web.StreamResponse:
    """Stream the chat's newest answer again from its beginning; 204 if there is none.

    The SDK replaces the part of the message that it already had.
    """
    if (found := await _newest(request)) is None:
        return web.Response(status=204)
    run, about = found
    translator = UiMessageTranslator(about["message"], run.id, list(chunks_of(about["before"])))
    return await stream_run(request, run, TranslatedDialect(translator, Position(0)))


@routes.delete("/ai-sdk/chat/{chat_id}/stream")
async def stop(request: web.Request) -> web.Response:
    """Stop the chat's newest run: the SDK's own `stop()` stops only the reading.

    202 if it was active, 204 if there is nothing to stop.
    """
    found = await _newest(request)
    return await stop_run(found[0]) if found else web.Response(status=204)


def _about(run_id: str, message_id: str, earlier: UiMessage | None) -> bytes:
    """Return the data for resuming; b"" if it is too large to keep."""
    before = earlier.parts if earlier else []
    # Not orjson: each of its bytes objects occupies 4 KiB.
    about = json.dumps({"run": run_id, "message": message_id, "before": before}).encode()
    return about if len(about) <= MAX_ABOUT else b""


async def _newest(request: web.Request) -> tuple[FoundRun, dict[str, Any]] | None:
    """Return the newest run of a chat, and the stored data of its message."""
    state = request.app[STATE]
    found = await state.logs.recall(_key(request, request.match_info["chat_id"]))
    if not found:
        return None
    about = json.loads(found)
    run = await state.runs.find(about["run"], request[CALLER].name)
    return (run, about) if run else None


def _key(request: web.Request, chat_id: str) -> str:
    """Return the key of a chat. Different callers cannot see each other's chats.

    On a server without named tokens, so do clients with different `Authorization` headers: a proxy
    may tell them apart.
    """
    name = request[CALLER].name
    who = [name, "" if name else request.headers.get("Authorization", "")]
    # Not orjson: headers may contain bytes that are not UTF-8.
    return blake2b(json.dumps([*who, chat_id]).encode(), digest_size=16).hexdigest()
