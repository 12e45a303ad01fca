"""The request that a run answers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from dripline.events import UiControl
from dripline.tool import Tool


@dataclass(frozen=True, slots=True)
class Prompt:
    """The known length of the prompt, to detect later whether Ollama dropped a part of it.

    Attributes:
        words: At least this many words; each is one token or more.
        context: How many tokens the request lets the model see (`num_ctx`); 0 if it does not say.
    """

    words: int = 0
    context: int = 0


NO_PROMPT: Final = Prompt()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request that a run answers.

    Attributes:
        model: The model's name.
        body: The request for Ollama's `/api/chat`, as JSON.
        ui_controls: The page controls that the user's own words ask for; they precede `start`.
        tools: The server's tools that the model may call, if it can call tools at all. None has the
            name of a tool in `body`.
        client_tools: The names of the tools in `body`, which the client runs itself.
        grace: Seconds that the run continues without a reader.
        prompt: The known length of the prompt.
        digest: Equal for equal requests, and different for different ones.
    """

    model: str
    body: bytes
    ui_controls: Sequence[UiControl] = ()
    tools: Sequence[Tool] = ()
    client_tools: Collection[str] = ()
    grace: float = math.inf
    prompt: Prompt = NO_PROMPT
    digest: str = ""
