"""A message that is there already, as the chunks that make it.

A run can go on with a message of the assistant's, once the page's own tools have answered. Who
reads such a run again from its beginning has to get what the message had before, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from dripline_server.dialects import Json


def chunks_of(parts: Iterable[Json]) -> Iterator[Json]:
    """Give the chunks that make these parts again; a page's tools are not called by them."""
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
    # Not as `tool-input-available` where there is a result: that would make the page call its tool.
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
