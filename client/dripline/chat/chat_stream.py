"""What `ChatClient.chat` and `ChatClient.attach` return: an answer as it comes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from dripline.answer import Answer
from dripline.errors import RunFailed
from dripline.events import Error, Event

OnLeave = Literal["stop", "detach"]


class ChatStream(ABC):
    """An answer as it comes: an async context manager, and an async iterator of its events.

    `ChatClient.chat` and `ChatClient.attach` make it; enter it once, and iterate inside. The stream
    of a single run is a `RunStream`; that of a chat whose tools are functions is a
    `ToolChatStream`.

    Every event is yielded, `error` and `end` too; `end` is the last. After a failed `end`,
    iterating raises `RunFailed`: no failure passes for an answer.

    Iterating is safe to cancel: the next step goes on where the last one stopped. So it is after
    an exception: no stream that broke ever seems to have ended.

    Attributes:
        messages: The conversation that was sent; empty where the stream was attached.
        answer: What has come so far, added up.
    """

    messages: Sequence[Mapping[str, Any]]
    answer: Answer

    @property
    @abstractmethod
    def run_id(self) -> str:
        """The run's id; of a chat, "" until the stream is entered."""

    @property
    @abstractmethod
    def reconnects(self) -> int:
        """How many times the stream has attached again after a lost connection."""

    @property
    @abstractmethod
    def last_event_id(self) -> str:
        """The id of the last event that the loop was given; "" before the first."""

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Send the chat, or attach to the run. Neither is tried twice.

        Raises:
            RunGone: The server does not know the run, or not any more.
            EventsDropped: The events after `after` are not all there any more.
            RequestError: The server does not take the request.
            TransportError: The server cannot be reached, or answers something else.
        """

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the run or detach from it, as asked; a cancellation waits for that, briefly."""

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            RunFailed: The run has failed; the `error` and `end` events came before.
            StreamTruncated: The stream broke and could not be resumed; `__cause__` says why.
            RunGone: The same, because the server does not know the run any more.
            EventsDropped: The same, because the server has dropped what is missing.
            MalformedEvent, NotAnEventStream, EventTooLarge: The server speaks something else.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop the run; the stream then goes on to its `end`, "cancelled".

        Does nothing if the run has ended. Safe to call from another task than the one that
        iterates, and to call again.

        Raises:
            RequestError: The server cannot stop it, or has not named it.
            TransportError: The server cannot be reached.
        """


def ending_of(answer: Answer) -> RunFailed | StopAsyncIteration:
    """Return what iterating raises after the answer's last event."""
    if answer.end and answer.end.status == "failed":
        error = answer.error or Error("", "the server does not say of what")
        return RunFailed(error.code, error.message, retryable=error.retryable)
    return StopAsyncIteration()
