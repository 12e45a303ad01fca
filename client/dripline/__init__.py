"""dripline: Ollama chats over Server-Sent Events, without losing a token.

The public names, and nothing else; each is explained where it is defined.
"""

from dripline.answer import Answer
from dripline.backoff import Backoff
from dripline.chat import ChatClient, ModelInfo
from dripline.chat_stream import ChatStream
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
from dripline.event_source import EventSource
from dripline.events import (
    AddButton,
    ChangeTheme,
    End,
    Error,
    Event,
    Start,
    Status,
    TextMessage,
    Thinking,
    ToolCall,
    ToolResult,
    UiControl,
    Usage,
)
from dripline.recorder import Recorder
from dripline.recording import BadRecording, Recording
from dripline.replay_server import ReplayServer
from dripline.sse import EventDecoder, ServerSentEvent
from dripline.structured import FormatMismatch

__all__ = [
    "AddButton",
    "Answer",
    "Backoff",
    "BadRecording",
    "ChangeTheme",
    "ChatClient",
    "ChatStream",
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
    "ReplayServer",
    "RequestError",
    "RequestRefused",
    "RunFailed",
    "RunGone",
    "ServerSentEvent",
    "ServerTimeout",
    "ServerUnreachable",
    "Start",
    "Status",
    "StreamTruncated",
    "TextMessage",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "TransportError",
    "UiControl",
    "Usage",
]
