"""The body of `POST /agui`, AG-UI's `RunAgentInput`, as a chat request.

What there is no place for in a chat with Ollama is refused, by name; what says nothing to a model
(names, metadata, encrypted values, activities) is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson
from ag_ui.core import (
    ActivityMessage,
    AssistantMessage,
    ContentPart,
    DataSource,
    ImagePart,
    ReasoningMessage,
    RunAgentInput,
    TextPart,
    Tool,
    ToolMessage,
    UserMessage,
)
from aiohttp import web
from pydantic import ValidationError

from dripline_server.agents.hosting import Asker
from dripline_server.dialects import Json
from dripline_server.dialects.agui import UI_TOOLS, AguiRun
from dripline_server.routes.chat_request import ChatMessage, ChatRequest
from dripline_server.routes.data_url import image_of_data_url
from dripline_server.routes.dialect_query import MAX_NAME
from dripline_server.routes.request_body import bad_field, invalid

# `forwardedProps.dripline` may contain any field of a chat request except these.
_NOT_FORWARDED = ("messages", "tools", "stream")


def agui_run(asked: RunAgentInput) -> AguiRun:
    """Return the facts that the client sends about its run.

    Raises:
        Problem: An id is too long, or empty (400).
    """
    for field, value in (("threadId", asked.thread_id), ("runId", asked.run_id)):
        if not 0 < len(value) <= MAX_NAME:
            raise bad_field(field, f"should have 1 to {MAX_NAME} characters, has {len(value)}")
    tools = {tool.name for tool in asked.tools or [] if _is_ui_tool(tool)}
    return AguiRun(
        asked.thread_id, asked.run_id, (asked.protocol_version or "")[:16], frozenset(tools)
    )


def _is_ui_tool(tool: Tool) -> bool:
    """Whether the tool is one of `UI_TOOLS` and accepts the arguments that it would receive."""
    given = UI_TOOLS.get(tool.name, set())
    shape = tool.parameters if isinstance(tool.parameters, Mapping) else {}
    taken, needed = (set(shape.get(key, ())) for key in ("properties", "required"))
    return bool(given) and needed <= given <= taken


def chat_request(asked: RunAgentInput, on_disconnect: str) -> ChatRequest:
    """Convert the body to a chat request, without its context and state.

    Args:
        asked: The body.
        on_disconnect: What the run does when its reader leaves: "stop", "grace" or "continue".

    Raises:
        Problem: A field cannot be mapped (400, named).
    """
    if asked.resume:
        raise bad_field("resume", "this server makes no interrupts, so there is none to resume")
    if on_disconnect not in ("stop", "grace", "continue"):
        raise bad_field(
            "X-On-Disconnect", f"should be stop, grace or continue, is {on_disconnect[:40]!r}"
        )
    if not asked.messages:
        raise bad_field("messages", "there is none to answer")
    own = _forwarded(asked.forwarded_props)
    fields: Json = {"messages": [*_messages(asked)]}
    # A client that offers the page's tools shows that it can obey `ui_control`, which also works
    # with models that cannot call tools.
    controlled = own.get("ui_control") != "off"
    if any(map(_is_ui_tool, asked.tools or [])):
        own.setdefault("ui_control", "auto")
    tools = [_tool(tool) for tool in asked.tools or [] if not (controlled and _is_ui_tool(tool))]
    if tools:
        fields["tools"] = tools
    if on_disconnect != "grace":
        fields["on_disconnect"] = on_disconnect
    try:
        return ChatRequest.model_validate(fields | own)
    except ValidationError as error:
        raise invalid(error, "forwardedProps.dripline") from error


def _forwarded(props: object) -> Json:
    """Return dripline's own part of `forwardedProps`; other programs use the rest."""
    own = props.get("dripline") if isinstance(props, Mapping) else None
    if own is None:
        return {}
    if not isinstance(own, Mapping):
        raise bad_field("forwardedProps.dripline", "should be an object")
    for name in _NOT_FORWARDED:
        if name in own:
            raise bad_field(f"forwardedProps.dripline.{name}", "has a place of its own in AG-UI")
    return dict(own)


def _tool(tool: Tool) -> Json:
    function = {"name": tool.name, "description": tool.description}
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    return {"type": "function", "function": function}


def background(asked: RunAgentInput) -> list[ChatMessage]:
    """Return the application's context and state as a system message, if there are any."""
    told = [f"{item.description}: {item.value}" for item in asked.context or []]
    if asked.state:
        told.append(f"The application's state: {orjson.dumps(asked.state).decode()}")
    if not told:
        return []
    content = "\n".join(["What the application tells you:", *told])
    return [ChatMessage.model_validate({"role": "system", "content": content})]


def asker(request: web.Request, asked: RunAgentInput) -> Asker:
    """Return what an agent gets to know besides the chat request."""
    context = [
        {"description": item.description, "value": item.value} for item in asked.context or []
    ]
    return Asker(request, asked.state, context)


def _messages(asked: RunAgentInput) -> Iterator[Json]:
    thinking = ""
    tool_names: dict[str, str] = {}
    for index, message in enumerate(asked.messages):
        where = f"messages.{index}"
        match message:
            case ReasoningMessage():
                thinking += message.content  # it belongs to the assistant's message that follows
            case ActivityMessage():
                pass
            case AssistantMessage():
                calls = list(_tool_calls(message, where))
                tool_names |= {call["id"]: call["function"]["name"] for call in calls}
                yield _assistant(message.content or "", thinking, calls)
                thinking = ""
            case ToolMessage():
                name = tool_names.get(message.tool_call_id, "")
                yield _tool_result(message, name, where)
            case UserMessage():
                yield {"role": "user", **_content(message.content, f"{where}.content")}
            case _:  # system and developer messages
                yield {"role": "system", "content": message.content}


def _assistant(content: str, thinking: str, calls: list[Json]) -> Json:
    message: Json = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _tool_calls(message: AssistantMessage, where: str) -> Iterator[Json]:
    for index, call in enumerate(message.tool_calls or []):
        try:
            arguments = orjson.loads(call.function.arguments or "{}")
        except orjson.JSONDecodeError as error:
            field = f"{where}.toolCalls.{index}.function.arguments"
            raise bad_field(field, f"should be JSON: {error}") from error
        yield {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": arguments},
        }


def _tool_result(message: ToolMessage, name: str, where: str) -> Json:
    result: Json = {"role": "tool", **_content(message.content, f"{where}.content")}
    if message.error:
        result["content"] = "\n".join(filter(None, [result["content"], f"Error: {message.error}"]))
    result["tool_call_id"] = message.tool_call_id
    if name:
        result["tool_name"] = name
    return result


def _content(content: str | list[ContentPart], where: str) -> Json:
    if isinstance(content, str):
        return {"content": content}
    texts, images = [], []
    for index, part in enumerate(content):
        match part:
            case TextPart(text=text):
                texts.append(text)
            case ImagePart():
                images.append(_image(part, f"{where}.{index}.source"))
            case _:
                raise bad_field(f"{where}.{index}", f"Ollama takes no {part.type} in a message")
    return {"content": "\n".join(texts), **({"images": images} if images else {})}


def _image(part: ImagePart, where: str) -> str:
    """Return the image as Ollama expects it: as Base64."""
    if isinstance(part.source, DataSource):
        return part.source.value
    return image_of_data_url(part.source.value, f"{where}.value")
