"""Turns what an agent yields into a run's events, and refuses what is none."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, get_args

from dripline.errors import ErrorCode, MalformedEvent, RequestError
from dripline.events import (
    Custom,
    End,
    Error,
    Event,
    Start,
    State,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    UiControl,
    data_of,
    from_json,
    to_json,
    type_of,
)
from dripline.http.json_encoding import json_body
from dripline.tool import ToolError
from dripline_server.runs.run_request import AnswerFailed
from dripline_server.tools.ui_tools import page_tools

if TYPE_CHECKING:
    from dripline_server.agents.agui_events import AguiEvents

# In bytes, as JSON. Clients accept 16 MiB, and some dialects send a text twice.
MAX_EVENT = 4 * 1024 * 1024
_CONTROLS: tuple[type, ...] = get_args(UiControl)
_ALLOWED: tuple[type, ...] = (
    *_CONTROLS, Custom, State, Status, TextMessage, Thinking, ToolCall, ToolResult,
)  # fmt: skip


class Yielded:
    """What one agent has yielded in one run.

    Args:
        agent: The agent's name.
        client_tools: The names of the client's own tools.
        state: The application's state at the start, from AG-UI.

    Attributes:
        calls_client: Whether it has called a tool of the client, so that the run has to end. Only
            further calls may follow.
        over: Whether anything else has followed, so that the run ends now.
    """

    def __init__(self, agent: str, client_tools: Collection[str], state: object = None) -> None:
        self.calls_client = False
        self.over = False
        self._agent = agent
        self._client_tools = client_tools
        self._state = state
        # The calls of the agent's own tools that have no result yet, and all ids.
        self._open_calls: dict[str, str] = {}
        self._call_ids: set[str] = set()
        self._agui: AguiEvents | None = None

    def payloads(self, item: object) -> list[bytes]:
        """Return the events for what the agent has yielded, as JSON.

        Raises:
            AnswerFailed: It is nothing that an agent may yield; the message names agent and type.
        """
        if isinstance(item, str):
            if item and self.calls_client:
                self.over = True
            return [self._text(item)] if item and not self.over else []
        return self._payloads(self._events(item))

    def _payloads(self, events: Iterable[Event]) -> list[bytes]:
        payloads = []
        for event in events:
            self.over = self.calls_client and not isinstance(event, ToolCall)
            if self.over:
                break
            payloads.append(self._checked(event))
        return payloads

    def _text(self, text: str) -> bytes:
        """Return the event for a piece of text, as JSON.

        Raises:
            AnswerFailed: It is too large.
        """
        if len(text) > MAX_EVENT:
            raise self._too_large("str", len(text))
        try:
            payload = to_json(TextMessage(text))
        except TypeError:  # it has lone surrogates
            return self._payload(TextMessage(text))
        if len(payload) > MAX_EVENT:
            raise self._too_large("str", len(payload))
        return payload

    def _events(self, item: object) -> Iterable[Event]:
        if type(item) in _ALLOWED:
            event: Any = item
            return [event]
        match item:
            case Start() | End():
                raise self.failed(
                    f"yielded {_a(item)}, but the server itself begins and ends every run"
                )
            case Error():
                raise self.failed("yielded an Error; raise AgentError instead")
        # Not imported for this: whoever yields such an event has done that.
        if "ag_ui.core" in sys.modules:
            from ag_ui.core import BaseEvent

            if isinstance(item, BaseEvent):
                from dripline_server.agents.agui_events import AguiEvents

                self._agui = self._agui or AguiEvents(self.failed, self._state)
                return self._agui.events(item)
        raise self.failed(
            f"yielded {_a(item)}; it may yield str, dripline's events and AG-UI's events"
        )

    def finish(self) -> list[bytes]:
        """Return the last events when the agent returns.

        Raises:
            AnswerFailed: A tool call has no result, and the client has no such tool.
        """
        last = self._payloads(self._agui.end()) if self._agui else []
        for name in self._open_calls.values():
            raise self.failed(
                f"called the tool {name!r}, which the client does not have, and yielded no"
                " ToolResult for the call"
            )
        return last

    def failed(self, what: str) -> AnswerFailed:
        """Return the exception for something that the agent did wrong."""
        return AnswerFailed(Error(ErrorCode.AGENT_FAILED, f"The agent {self._agent} {what}."))

    def _checked(self, event: Event) -> bytes:
        match event:
            case TextMessage(str(content), None):
                return self._text(content)
            case ToolCall():
                self._note_call(event)
            case ToolResult(call_id) if self._open_calls.pop(call_id, None) is None:
                raise self.failed(f"yielded a ToolResult for {call_id!r}, which is no open call")
            case _ if isinstance(event, _CONTROLS):
                event = self._control(event)
        return self._payload(event)

    def _note_call(self, call: ToolCall) -> None:
        if not call.id or call.id in self._call_ids:
            raise self.failed(f"yielded a ToolCall whose id {call.id!r} is not its own")
        self._call_ids.add(call.id)
        if call.name in self._client_tools:
            self.calls_client = True
        else:
            self._open_calls[call.id] = call.name

    def _control(self, event: Event) -> UiControl:
        """Return a change of the page, checked as one that a model asks for."""
        asked: Any = data_of(event)
        tool = next(tool for tool in page_tools() if tool.name == asked["action"])
        try:
            return tool.control({name: asked[name] for name in asked if name != "action"})
        except ToolError as error:
            raise self.failed(
                f"yielded {_a(event)} that is no change of the page: {error}"
            ) from error

    def _payload(self, event: Event) -> bytes:
        """Return the event as JSON that every client can read."""
        named = _a(event)
        try:
            data = data_of(event)
            if data is event:
                data = {name: getattr(event, name) for name in type(event).__slots__}
            payload = json_body({"type": type_of(event), "data": data})
            if len(payload) > MAX_EVENT:
                raise self._too_large(named, len(payload))
            read = from_json(payload)
        except (RequestError, MalformedEvent) as error:
            raise self.failed(f"yielded {named} that is no event: {error}") from error
        assert read
        return to_json(read)

    def _too_large(self, what: str, size: int) -> AnswerFailed:
        return self.failed(
            f"yielded {what} of {size:,} bytes at once; an event may have {MAX_EVENT:,}."
            " Yield it in pieces"
        )


def _a(item: object) -> str:
    """Return an object's type in a sentence."""
    return "None" if item is None else f"an object of type {type(item).__name__}"
