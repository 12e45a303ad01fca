"""The request that a run answers, and what makes the answer."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dripline.events import Error, UiControl, Usage
from dripline.tool import Tool
from dripline_server.callers import UNNAMED, Caller
from dripline_server.run_log import RunLog
from dripline_server.upstream.http_client import Record


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
        caller: Who asks. The run belongs to them.
        answering: Makes the answer; None: Ollama does.
        asker: Who asks, for an answer that is not Ollama's.
    """

    model: str
    body: bytes
    ui_controls: Sequence[UiControl] = ()
    tools: Sequence[Tool] = ()
    client_tools: Collection[str] = ()
    grace: float = math.inf
    prompt: Prompt = NO_PROMPT
    digest: str = ""
    caller: Caller = UNNAMED
    answering: MakeAnswerer | None = None
    asker: object = None


class AnswerFailed(Exception):
    """The answer cannot be completed.

    Attributes:
        error: The event that tells readers why.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(error)
        self.error = error


class Answerer(Protocol):
    """Makes the answer of one run, and writes it to the run's log."""

    @property
    def agent(self) -> str:
        """The name in the `start` event: "ollama", or the agent's name."""
        ...

    @property
    def reason(self) -> str:
        """The reason in the `end` event of a completed answer."""
        ...

    def usage(self, now: float) -> Usage:
        """Return the usage up to `now`, the event loop's time."""
        ...

    def phases(self, request: RunRequest) -> AsyncGenerator[str] | None:
        """Yield the phases to tell readers about before the first piece; None if there are none."""
        ...

    async def run(self, request: RunRequest) -> None:
        """Answer the request. Cancelling ends everything that it has started.

        Raises:
            AnswerFailed, UpstreamError: The answer cannot be completed.
            RunLogUnavailable: The log cannot be written.
        """
        ...


# Gets the run's id, its log, a function to call when the first piece arrives, and what starts the
# recording of each request to Ollama, if the run is recorded.
MakeAnswerer = Callable[[str, RunLog, Callable[[], object], Record | None], Answerer]
