"""The interface of the streams that `ChatClient.chat` and `ChatClient.attach` return."""

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
    """A streamed answer: an async context manager, and an async iterator of its events.

    `ChatClient.chat` and `ChatClient.attach` create it. Enter it once, and iterate inside. A single
    run has a `RunStream`; a chat with functions as tools has a `ToolChatStream`.

    It yields every event, including `error` and `end`; `end` is the last. After a failed `end`,
    iterating raises `RunFailed`, so that no failure looks like an answer.

    Iterating is safe to cancel: the next step continues where the last one stopped. The same holds
    after an exception, so a broken stream never looks like one that has ended.

    Attributes:
        messages: The conversation that was sent; empty for a stream made by `attach`.
        answer: The answer so far.
    """

    messages: Sequence[Mapping[str, Any]]
    answer: Answer

    @property
    @abstractmethod
    def run_id(self) -> str:
        """The run's id; a new chat has "" until the stream is entered."""

    @property
    @abstractmethod
    def reconnects(self) -> int:
        """How many times the stream has resumed after a lost connection."""

    @property
    @abstractmethod
    def last_event_id(self) -> str:
        """The id of the last event that iterating returned; "" before the first."""

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Send the chat, or attach to the run. Neither is retried.

        Raises:
            RunGone: The server does not know the run, or no longer.
            EventsDropped: The server has discarded some of the events after `after`.
            RequestError: The server refuses the request.
            TransportError: The server cannot be reached, or its answer is not an event stream.
        """

    @abstractmethod
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the run or detach from it, as `on_leave` says; cancelling waits briefly for that."""

    def __aiter__(self) -> Self:
        return self

    @abstractmethod
    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            RunFailed: The run has failed; the stream has yielded its `error` and `end` events.
            StreamTruncated: The stream broke and could not be resumed; `__cause__` says why.
            RunGone: The stream broke, and the server no longer knows the run.
            EventsDropped: The stream broke, and the server has discarded events that were missed.
            MalformedEvent, NotAnEventStream, EventTooLarge: The server's answer does not follow
                dripline's protocol.
        """

    @abstractmethod
    async def stop(self) -> None:
        """Stop the run. The stream then continues to its `end`, whose status is "cancelled".

        It does nothing if the run has ended. Any task may call it, and more than once.

        Raises:
            RequestError: The server cannot stop the run, or did not send the run's id.
            TransportError: The server cannot be reached.
        """


def ending_of(answer: Answer) -> RunFailed | StopAsyncIteration:
    """Return the exception that iterating raises after the answer's last event."""
    if answer.end and answer.end.status == "failed":
        error = answer.error or Error("", "the server does not say of what")
        return RunFailed(error.code, error.message, retryable=error.retryable)
    return StopAsyncIteration()
