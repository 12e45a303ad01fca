"""Turns an existing message back into the chunks that build it.

A run can continue an assistant's message after the page's own tools have answered. A reader that
reads such a run from its beginning also needs the earlier parts of that message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from dripline_server.dialects import Json


def chunks_of(parts: Iterable[Json]) -> Iterator[Json]:
    """Yield the chunks that rebuild these parts, without calling the page's tools again."""
    for number, part in enumerate(parts):
        kind = str(part.get("type"))
        if kind in ("text", "reasoning"):
            named = {"id": f"before-{number}"}
            yield {"type": f"{kind}-start", **named}
            yield {"type": f"{kind}-delta", **named, "delta": part.get("text", "")}
            yield {"type": f"{kind}-end", **named}
        elif kind == "step-start":
            yield {"type": "start-step"}
        elif kind == "dynamic-tool" or kind.startswith("tool-"):
            yield from _tool_chunks(part, kind)
        elif kind.startswith(("data-", "source-")):
            yield part


def _tool_chunks(part: Json, kind: str) -> Iterator[Json]:
    named = {"toolCallId": part.get("toolCallId", "")}
    dynamic = kind == "dynamic-tool"
    name = part.get("toolName", "") if dynamic else kind.removeprefix("tool-")
    called = {**named, "toolName": name, "dynamic": dynamic}
    arguments = part.get("input")
    yield {"type": "tool-input-start", **called}
    # If there is a result, `tool-input-available` must not be sent: the page would call its tool.
    match part.get("state"):
        case "output-available":
            yield _arguments(named, arguments)
            yield {"type": "tool-output-available", **named, "output": part.get("output")}
        case "output-error":
            yield _arguments(named, arguments)
            yield {"type": "tool-output-error", **named, "errorText": part.get("errorText", "")}
        case "output-denied":
            yield _arguments(named, arguments)
            yield {"type": "tool-output-denied", **named}
        case "input-streaming":
            pass
        case _:
            yield {"type": "tool-input-available", **called, "input": arguments}


def _arguments(named: Json, arguments: object) -> Json:
    return {"type": "tool-input-delta", **named, "inputTextDelta": orjson.dumps(arguments).decode()}
