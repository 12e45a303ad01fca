"""The exceptions that dripline raises, as one tree.

::

    DriplineError
    ├── RequestError                 the request could not be sent, or was refused
    │   └── RequestRefused           the server answered with an HTTP error status
    ├── RunFailed                    the run ended in an `error` event; see its `code`
    ├── FormatMismatch               (ValueError) an answer does not fit; see `chat.structured`
    ├── BadRecording                 (ValueError) a file is not a recording; see `recordings`
    └── TransportError               the stream did not arrive intact
        ├── ServerUnreachable        (ConnectionError) connecting to the server failed
        ├── ServerTimeout            (TimeoutError) the server sent nothing for too long
        ├── StreamTruncated          (ConnectionError) the stream stopped before its `end` event
        ├── RunGone                  the server does not know the run, or no longer
        ├── EventsDropped            the server has discarded events that you have not read
        ├── NotAnEventStream         the answer is not `text/event-stream`
        ├── MalformedEvent           an event does not follow the protocol
        └── EventTooLarge            an event is larger than the decoder's limit

`ErrorCode` lists every code that a server sends, in an `error` event or an HTTP error body.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ErrorCode(StrEnum):
    """Every error code that dripline sends. They never change, so programs can test for them.

    Attributes:
        meaning: One sentence for the documentation.
        retryable: Whether sending the same request again can succeed without a change.
    """

    meaning: str
    retryable: bool

    def __new__(cls, value: str, meaning: str, retryable: bool = False) -> ErrorCode:
        """Create a member; its string value is the code on the wire."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.retryable = retryable
        return member

    # In an HTTP error body: the request did not start a run.
    BAD_HTTP = "bad_http", "The request is not valid HTTP."
    BAD_JSON = "bad_json", "The body is not JSON."
    BAD_FIELD = "bad_field", "A field has a wrong value; the message names it."
    UNAUTHORIZED = "unauthorized", "The request lacks a valid token of the server."
    HOST_NOT_ALLOWED = (
        "host_not_allowed",
        "The name in `Host` is not one of the names of the server.",
    )
    ORIGIN_NOT_ALLOWED = "origin_not_allowed", "Pages from that `Origin` may not use the server."
    MODEL_CHANGES_NOT_ALLOWED = (
        "model_changes_not_allowed",
        "Requests may not add, change or remove Ollama's models.",
    )
    BODY_TOO_SLOW = "body_too_slow", "The body did not come in time."
    NOT_FOUND = "not_found", "There is nothing at this address."
    METHOD_NOT_ALLOWED = "method_not_allowed", "The address does not take this method."
    BODY_TOO_LARGE = "body_too_large", "The body is larger than the server allows."
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", "The body is not `application/json`."
    EXTRA_MISSING = "extra_missing", "The server was installed without an extra that this needs."
    POSITION_GONE = "position_gone", "The requested events have been discarded."
    RUN_ID_IN_USE = "run_id_in_use", "The `run_id` names a run that another request started."
    MODEL_NOT_ALLOWED = "model_not_allowed", "The caller's token may not use the model."
    TOO_MANY_RUNS = (
        "too_many_runs",
        "The caller's token has reached its own limit of concurrent runs.",
        True,
    )
    SERVER_FULL = "server_full", "The server has reached its limit of concurrent runs.", True
    TOO_MANY_READERS = "too_many_readers", "The run has reached its limit of readers.", True
    ANSWER_TOO_LARGE = "answer_too_large", "The answer is too large for one piece; stream it."

    # In an `error` event: the run started and failed.
    OLLAMA_UNREACHABLE = "ollama_unreachable", "No Ollama answers at its address.", True
    MODEL_NOT_FOUND = "model_not_found", "Ollama does not have the model."
    OLLAMA_REFUSED = "ollama_refused", "Ollama cannot take the request; the message says why."
    OLLAMA_BUSY = "ollama_busy", "Ollama's queue is full (503).", True
    OLLAMA_FAILED = "ollama_failed", "Ollama failed before the first token (5xx).", True
    OLLAMA_ERROR = "ollama_error", "Ollama reported an error in the middle of the answer.", True
    UPSTREAM_UNREACHABLE = (
        "upstream_unreachable",
        "No OpenAI-compatible server answers at its address.",
        True,
    )
    UPSTREAM_REFUSED = (
        "upstream_refused",
        "The OpenAI-compatible server cannot take the request; the message says why.",
    )
    UPSTREAM_BUSY = "upstream_busy", "The OpenAI-compatible server is busy (429, 503).", True
    UPSTREAM_FAILED = (
        "upstream_failed",
        "The OpenAI-compatible server failed before the first token (5xx).",
        True,
    )
    UPSTREAM_ERROR = (
        "upstream_error",
        "The OpenAI-compatible server reported an error in the middle of the answer.",
        True,
    )
    UPSTREAM_CUT = "upstream_cut", "The connection to Ollama closed inside the answer.", True
    UPSTREAM_RESET = "upstream_reset", "The connection to Ollama was reset.", True
    UPSTREAM_TRUNCATED = "upstream_truncated", "Ollama's answer stopped without `done`.", True
    MODEL_REPEATS = "model_repeats", "Ollama ended the answer because the model repeated itself."
    UPSTREAM_GARBAGE = "upstream_garbage", "Ollama sent something that is not in its protocol."
    UPSTREAM_STALLED = "upstream_stalled", "Ollama sent nothing for longer than the limit.", True
    UPSTREAM_LINE_TOO_LONG = "upstream_line_too_long", "Ollama sent a line longer than the limit."
    AGENT_FAILED = "agent_failed", "The agent that answers has failed; the message says why."
    AGENT_STALLED = "agent_stalled", "The agent sent nothing for longer than the limit.", True
    SERVER_SHUTDOWN = "server_shutdown", "The server shut down before the answer ended.", True
    RUN_CANCELLED = "run_cancelled", "The run was stopped before its answer was complete."
    OWNER_LOST = "owner_lost", "The process that ran this chat has died.", True
    RUN_LOG_LOST = "run_log_lost", "The run log, Redis, cannot be reached.", True
    OUTCOME_UNKNOWN = (
        "outcome_unknown",
        "This server cannot reach the run log, so it cannot know how the run goes on.",
        True,
    )
    INTERNAL_ERROR = "internal_error", "A fault in dripline itself; its log says more."


class DriplineError(Exception):
    """The base class of dripline's exceptions."""


class RequestError(DriplineError):
    """The request could not be sent, or the server refused it."""


class RequestRefused(RequestError):
    """The server answered with an HTTP error status.

    Attributes:
        status: The HTTP status.
        code: The code in the error body, or "" if the body has none.
        message: The server's explanation.
        headers: The response's headers, such as `Retry-After`.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: Mapping[str, str] = headers or {}

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later: 408, 425, 429 and 5xx say so."""
        return self.status in (408, 425, 429) or self.status >= 500

    def __str__(self) -> str:
        return f"HTTP {self.status}{f' {self.code}' if self.code else ''}: {self.message}"


class RunFailed(DriplineError):
    """The run ended with an `error` event.

    Attributes:
        code: One of `ErrorCode`, or a newer server's code.
        message: What happened and what to do, for a person.
        retryable: Whether the same request can succeed later.
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class TransportError(DriplineError):
    """The stream did not arrive intact."""


class ServerUnreachable(TransportError, ConnectionError):
    """Connecting to the server failed."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"no server answers at {self.url} ({self.reason}); is it running?"


class ServerTimeout(TransportError, TimeoutError):
    """The server sent nothing, not even a heartbeat, for longer than the limit.

    Attributes:
        seconds: The limit.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"the server sent nothing for {self.seconds:g} s"


class StreamTruncated(TransportError, ConnectionError):
    """The stream stopped before its `end` event, so the answer is incomplete.

    Attributes:
        last_event_id: The id of the last event that was received; "" before the first.
        reason: How the stream stopped.
    """

    def __init__(self, last_event_id: str, reason: str) -> None:
        super().__init__(last_event_id, reason)
        self.last_event_id = last_event_id
        self.reason = reason

    def __str__(self) -> str:
        where = f"after event {self.last_event_id}" if self.last_event_id else "before any event"
        return f"the stream stopped {where}, without its end ({self.reason})"


class RunGone(TransportError):
    """The server does not know the run.

    Either no run had this id, or the run ended a while ago, or the server was restarted.

    Attributes:
        run_id: The run's id. The message leaves it out, because whoever knows it may read the run.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id

    def __str__(self) -> str:
        return "the server knows no such run: it ended a while ago, or the server was restarted"


class EventsDropped(TransportError):
    """The server has discarded events that the client has not read, so the answer has a gap.

    To read the remaining events, call `ChatClient.attach` with `after` set to one less than
    `first_event_id`.

    Attributes:
        last_event_id: The id of the last event that was received; "" before the first.
        first_event_id: The first id that is still available; "" if the server does not say.
    """

    def __init__(self, last_event_id: str, first_event_id: str) -> None:
        super().__init__(last_event_id, first_event_id)
        self.last_event_id = last_event_id
        self.first_event_id = first_event_id

    def __str__(self) -> str:
        first = f"the first available one is {self.first_event_id or 'not known'}"
        return f"events after {self.last_event_id or 'the start'} have been discarded; {first}"


class NotAnEventStream(TransportError):
    """The server's answer is not `text/event-stream`.

    Attributes:
        url: The address that answered.
        content_type: The answer's content type.
    """

    def __init__(self, url: str, content_type: str) -> None:
        super().__init__(url, content_type)
        self.url = url
        self.content_type = content_type

    def __str__(self) -> str:
        return f"{self.url} answered {self.content_type or 'nothing typed'}, not text/event-stream"


class MalformedEvent(TransportError):
    """An event does not follow dripline's protocol.

    Attributes:
        field: The field that is wrong.
        problem: What is wrong with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"malformed event: {self.field}: {self.problem}"


class EventTooLarge(TransportError):
    """An event is larger than the decoder's limit; the decoder reads no further.

    Attributes:
        limit: The limit in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"an event is larger than {self.limit:,} bytes; raise max_event_size to accept it"
