"""A reader's dialect, as the query of `GET /runs/{id}/events` names it.

What a dialect has to know beside the run is in the query too, so that any process can go on where
another one stopped; the first answer says the whole address in its `Content-Location`.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from dripline_server.dialects import Dialect, Position
from dripline_server.dialects.agui import UI_TOOLS, AguiRun, AguiTranslator
from dripline_server.dialects.native import NativeDialect
from dripline_server.dialects.openai import OpenAiRun, OpenAiTranslator
from dripline_server.dialects.translated import TranslatedDialect
from dripline_server.dialects.ui_message import UiMessageTranslator
from dripline_server.routes.request_body import bad_field

# The longest name that a client may choose, in characters: names become part of an address.
MAX_NAME = 256


def agui_address(run_id: str, run: AguiRun) -> str:
    """Return the address that resumes the run as AG-UI, relative to `/agui`."""
    query = {
        "dialect": "agui",
        "threadId": run.thread_id,
        "runId": run.run_id,
        "protocolVersion": run.protocol_version,
        "uiTools": ",".join(sorted(run.ui_tools)),
    }
    return f"runs/{run_id}/events?{urlencode({k: v for k, v in query.items() if v})}"


def ui_message_address(run_id: str, message_id: str) -> str:
    """Return the address that resumes the UI message stream, relative to `/ai-sdk/chat`."""
    query = urlencode({"dialect": "ui-message", "messageId": message_id})
    return f"../runs/{run_id}/events?{query}"


def openai_address(run_id: str, about: OpenAiRun) -> str:
    """Return the address that resumes the completion, relative to `/v1/chat/completions`."""
    query = {"dialect": "openai", "model": about.model, "created": str(about.created)}
    if about.include_usage:
        query["usage"] = "1"
    return f"../../runs/{run_id}/events?{urlencode(query)}"


def dialect_of(query: Mapping[str, str], run_id: str, after: Position) -> Dialect:
    """Return the dialect that a reader asks for.

    Raises:
        Problem: The dialect is unknown, or a field that it needs is missing (400).
    """
    match query.get("dialect", "native"):
        case "native":
            if after.part:
                raise bad_field("Last-Event-ID", f"should be a whole number, is {str(after)!r}")
            return NativeDialect(after.seq)
        case "agui":
            run = AguiRun(
                _name(query, "threadId"),
                _name(query, "runId"),
                query.get("protocolVersion", ""),
                frozenset(query.get("uiTools", "").split(",")) & UI_TOOLS.keys(),
            )
            return TranslatedDialect(AguiTranslator(run, run_id), after)
        case "ui-message":
            message_id = _name(query, "messageId")
            return TranslatedDialect(UiMessageTranslator(message_id, run_id), after)
        case "openai":
            created = query.get("created", "0")
            if not (created.isascii() and created.isdigit() and len(created) < 12):
                raise bad_field("created", f"should be seconds since 1970, is {created[:40]!r}")
            about = OpenAiRun(query.get("model", ""), int(created), query.get("usage") == "1")
            return TranslatedDialect(OpenAiTranslator(about, run_id), after)
        case other:
            why = f"should be native, agui, ui-message or openai, is {other[:40]!r}"
            raise bad_field("dialect", why)


def _name(query: Mapping[str, str], field: str) -> str:
    name = query.get(field, "")
    if not 0 < len(name) <= MAX_NAME:
        raise bad_field(field, f"should have 1 to {MAX_NAME} characters, has {len(name)}")
    return name
