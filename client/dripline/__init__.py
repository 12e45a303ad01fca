"""dripline: Ollama chats over Server-Sent Events, without losing a token.

This module exports the public names; each is documented where it is defined.
"""

from typing import TYPE_CHECKING

from dripline.lazy import lazy_names

__all__ = [
    "AddButton",
    "Answer",
    "Backoff",
    "BadRecording",
    "BadTool",
    "ChangeAccent",
    "ChangeTextSize",
    "ChangeTheme",
    "ChatClient",
    "ChatStream",
    "Custom",
    "DriplineError",
    "End",
    "Error",
    "ErrorCode",
    "Event",
    "EventDecoder",
    "EventSource",
    "EventTooLarge",
    "EventsDropped",
    "FormatMismatch",
    "MalformedEvent",
    "ModelInfo",
    "NotAnEventStream",
    "Recorder",
    "Recording",
    "RemoveButton",
    "ReplayServer",
    "RequestError",
    "RequestRefused",
    "RunFailed",
    "RunGone",
    "RunInfo",
    "ServerSentEvent",
    "ServerTimeout",
    "ServerUnreachable",
    "Start",
    "State",
    "Status",
    "StreamTruncated",
    "TextMessage",
    "Thinking",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "TransportError",
    "UiControl",
    "UndoChange",
    "Usage",
]

if TYPE_CHECKING:
    from dripline.answer import Answer
    from dripline.chat.chat_stream import ChatStream
    from dripline.chat.client import ChatClient, ModelInfo, RunInfo
    from dripline.chat.structured import FormatMismatch
    from dripline.errors import (
        DriplineError,
        ErrorCode,
        EventsDropped,
        EventTooLarge,
        MalformedEvent,
        NotAnEventStream,
        RequestError,
        RequestRefused,
        RunFailed,
        RunGone,
        ServerTimeout,
        ServerUnreachable,
        StreamTruncated,
        TransportError,
    )
    from dripline.events import (
        AddButton,
        ChangeAccent,
        ChangeTextSize,
        ChangeTheme,
        Custom,
        End,
        Error,
        Event,
        RemoveButton,
        Start,
        State,
        Status,
        TextMessage,
        Thinking,
        ToolCall,
        ToolResult,
        UiControl,
        UndoChange,
        Usage,
    )
    from dripline.http.backoff import Backoff
    from dripline.http.event_source import EventSource
    from dripline.recordings.recorder import Recorder
    from dripline.recordings.recording import BadRecording, Recording
    from dripline.recordings.replay_server import ReplayServer
    from dripline.sse import EventDecoder, ServerSentEvent
    from dripline.tool import BadTool, Tool, ToolError
else:  # Seen by type checkers, it would let every name pass.
    __getattr__ = lazy_names(
        __name__,
        {
            "dripline.answer": "Answer",
            "dripline.chat.client": "ChatClient ModelInfo RunInfo",
            "dripline.chat.chat_stream": "ChatStream",
            "dripline.chat.structured": "FormatMismatch",
            "dripline.errors": (
                "DriplineError ErrorCode EventTooLarge EventsDropped MalformedEvent "
                "NotAnEventStream RequestError RequestRefused RunFailed RunGone ServerTimeout "
                "ServerUnreachable StreamTruncated TransportError"
            ),
            "dripline.events": (
                "AddButton ChangeAccent ChangeTextSize ChangeTheme Custom End Error Event "
                "RemoveButton Start State Status TextMessage Thinking ToolCall ToolResult "
                "UiControl UndoChange Usage"
            ),
            "dripline.http.backoff": "Backoff",
            "dripline.http.event_source": "EventSource",
            "dripline.recordings.recorder": "Recorder",
            "dripline.recordings.recording": "BadRecording Recording",
            "dripline.recordings.replay_server": "ReplayServer",
            "dripline.sse": "EventDecoder ServerSentEvent",
            "dripline.tool": "BadTool Tool ToolError",
        },
    )
