"""The public API as type checkers see it: mypy and pyright check this file, and nothing runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_type

from aiohttp import web
from pydantic import BaseModel

from dripline import (
    AddButton,
    Answer,
    ChangeAccent,
    ChangeTextSize,
    ChangeTheme,
    ChatClient,
    ChatStream,
    Custom,
    End,
    Error,
    Event,
    EventDecoder,
    EventSource,
    ModelInfo,
    RemoveButton,
    RunFailed,
    ServerSentEvent,
    Start,
    State,
    Status,
    TextMessage,
    Thinking,
    Tool,
    ToolCall,
    ToolError,
    ToolResult,
    UndoChange,
    Usage,
)
from dripline.testing import (
    Call,
    Ending,
    FakeOllama,
    Fault,
    Pace,
    ReceivedChat,
    ReceivedRequest,
    Reply,
    Script,
    in_rounds,
)
from dripline_server import Server, Settings, create_app, serve


class City(BaseModel):
    name: str


def population(city: str) -> int:
    """Return how many people live in a city."""
    if not city:
        raise ToolError("name a city")
    return 443_000


async def chats(client: ChatClient) -> None:
    stream = client.chat(
        "Hi",
        model="mistral",
        tools=[population, Tool(population, timeout=5), {"type": "function"}],
        on_leave="detach",
        think="low",
    )
    assert_type(stream, ChatStream)
    async with stream as entered:
        assert_type(entered, ChatStream)
        async for event in entered:
            assert_type(event, Event)
            show(event)
        await entered.stop()
    assert_type(stream.answer, Answer)
    assert_type(stream.run_id, str)
    assert_type(stream.reconnects, int)
    assert_type(stream.last_event_id, str)
    assert_type(stream.messages, Sequence[Mapping[str, Any]])
    assert_type(client.attach("id", after="3"), ChatStream)
    assert_type(await client.models(), list[ModelInfo])


async def answers(client: ChatClient) -> None:
    answer = await client.ask("Hi", options={"temperature": 0})
    assert_type(answer, Answer)
    assert_type(answer.text, str)
    assert_type(answer.tool_calls, list[ToolCall])
    assert_type(answer.tool_results, list[ToolResult])
    assert_type(answer.end, End | None)
    assert_type(await client.ask("Hi", format=City), City)
    assert_type(await client.ask("Hi", format={"type": "object"}), Any)


def show(event: Event) -> str:  # noqa: C901 (a case for each event)
    """Every event has its case, and checkers know that there is no other."""
    match event:
        case TextMessage(content) | Thinking(content):
            return content
        case Start(agent, run_id, model):
            return f"{agent} {run_id} {model}"
        case Status(phase):
            return phase
        case ToolCall(_, name, arguments):
            return f"{name} {arguments}"
        case ToolResult(_, name, content):
            return f"{name} {content}"
        case ChangeTheme(color) | ChangeAccent(color):
            return color
        case ChangeTextSize(size):
            return size
        case AddButton(label) | RemoveButton(label):
            return label
        case UndoChange(what):
            return what
        case State(value):
            return f"{value}"
        case Custom(name, value):
            return f"{name} {value}"
        case Error(code, message):
            return f"{code} {message}"
        case End(status, reason, usage):
            assert_type(usage, Usage)
            return f"{status} {reason}"


def failures(failed: RunFailed) -> tuple[str, str, bool]:
    return failed.code, failed.message, failed.retryable


def decoding(chunk: bytes) -> None:
    assert_type(EventDecoder().feed(chunk), Sequence[ServerSentEvent])


async def reading(url: str) -> None:
    async with EventSource(url) as source:
        async for event in source:
            assert_type(event, ServerSentEvent)
            assert_type((event.event, event.data, event.id), tuple[str, str, str])


def say(chat: ReceivedChat) -> Reply:
    return Reply("Let me see.", tool_calls=[Call("population", {"city": chat.model})])


async def faking() -> None:
    script = Script(say, pace=Pace(tokens_per_second=20), fault=Fault.cut(at_token=2))
    async with FakeOllama({"story": script, "rounds": Script(in_rounds(Reply(), "Done"))}) as fake:
        assert_type(fake.url, str)
        assert_type(fake.chats, list[ReceivedRequest])
        assert_type(await fake.chats[0].wait_ended(), Ending)


async def serving() -> None:
    assert_type(create_app(Settings(model="mistral"), tools=[population]), web.Application)
    async with serve(Settings(port=0)) as server:
        assert_type(server, Server)
        assert_type(server.url, str)
