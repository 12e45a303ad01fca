"""A real HTTP server that speaks Ollama's API from a script.

`FakeOllama` is the server, `Script` what one of its models says, `Pace` how fast, `Fault` how it
fails; `ReceivedRequest` tells afterwards what a client did.
"""

from dripline.clock import Clock, SystemClock, VirtualClock
from dripline_server.fake_ollama.models import demo_models
from dripline_server.fake_ollama.received import Ending, Phase, ReceivedRequest
from dripline_server.fake_ollama.request import ChatRequest, Message
from dripline_server.fake_ollama.script import (
    Fault,
    FaultKind,
    Pace,
    Replay,
    Reply,
    Script,
    ToolCall,
    in_rounds,
)
from dripline_server.fake_ollama.server import DEFAULT_PORT, FakeOllama, run_fake_ollama
from dripline_server.fake_ollama.wire import ModelDetails

__all__ = [
    "DEFAULT_PORT",
    "ChatRequest",
    "Clock",
    "Ending",
    "FakeOllama",
    "Fault",
    "FaultKind",
    "Message",
    "ModelDetails",
    "Pace",
    "Phase",
    "ReceivedRequest",
    "Replay",
    "Reply",
    "Script",
    "SystemClock",
    "ToolCall",
    "VirtualClock",
    "demo_models",
    "in_rounds",
    "run_fake_ollama",
]
