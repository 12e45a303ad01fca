"""What a run is to do."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from dripline.events import UiControl
from dripline.tool import Tool


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is known of the prompt's length, to tell later whether Ollama dropped a part of it.

    Attributes:
        words: How many words it has at least; each is one token or more.
        context: How many tokens the request lets the model see (`num_ctx`); 0 where it says none.
    """

    words: int = 0
    context: int = 0


NO_PROMPT: Final = Prompt()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is to do.

    Attributes:
        model: The model's name.
        body: The request for Ollama's `/api/chat`, as JSON.
        ui_controls: What the user's own words ask of the page; told before `start`.
        tools: The server's tools that the model may call if it can call tools; none has the name
            of a tool in `body`.
        client_tools: The names of the tools in `body`, which are the client's to call.
        grace: Seconds for which the run goes on without a reader.
        prompt: What is known of the prompt's length.
        digest: The same for the same request, and for no other.
    """

    model: str
    body: bytes
    ui_controls: Sequence[UiControl] = ()
    tools: Sequence[Tool] = ()
    client_tools: Collection[str] = ()
    grace: float = math.inf
    prompt: Prompt = NO_PROMPT
    digest: str = ""
