"""The chat client: send a chat, follow its stream through every drop, stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self, TypedDict, Unpack, cast, overload

import aiohttp
import orjson

from dripline.answer import Answer
from dripline.chat.chat_stream import ChatStream, OnLeave
from dripline.chat.run_stream import RunStream, position_after, run_path
from dripline.chat.structured import M, check_schema, model_of, value_of
from dripline.chat.tool_rounds import DEFAULT_TOOL_ROUNDS, ToolChatStream
from dripline.default_url import DEFAULT_URL
from dripline.errors import ErrorCode, RequestError, RequestRefused, RunGone, TransportError
from dripline.http.backoff import Backoff
from dripline.http.event_reader import MAX_EVENT_SIZE
from dripline.http.json_encoding import json_body
from dripline.http.sending import authorization, open_session, send
from dripline.tool import Tool, ToolFunction, split_tools

DEFAULT_BACKOFF: Final = Backoff()

Messages = str | Sequence[Mapping[str, Any]]


class AskFields(TypedDict, total=False):
    """The further fields of a chat request, without `format`; Ollama documents its own.

    `tools` are functions, see `dripline.tool`, or Ollama's JSON form of a tool.

    `on_disconnect` says what a run does when nobody reads it any more: "stop" at once, "continue"
    to its end, or, left out, go on for the server's grace time. With "stop", a lost connection
    ends the answer: resuming gives `End("cancelled")`.
    """

    model: str
    options: Mapping[str, Any]
    keep_alive: str | float
    think: bool | Literal["low", "medium", "high", "max"]
    tools: Sequence[Mapping[str, Any] | ToolFunction | Tool]
    logprobs: bool
    top_logprobs: int
    truncate: bool
    shift: bool
    ui_control: Literal["auto", "rules", "tools", "off"]
    on_disconnect: Literal["stop", "continue"]


class ChatFields(AskFields, total=False):
    """The further fields of a chat request.

    `format` is "json" or the JSON schema that the answer is to fit.
    """

    format: str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the server can use.

    Attributes:
        name: Such as "mistral:latest".
        size: Bytes on disk.
        capabilities: Such as "completion", "tools", "thinking", "vision".
        loaded: Whether it is in memory now; None where Ollama does not say.
    """

    name: str
    size: int
    capabilities: tuple[str, ...]
    loaded: bool | None


class ChatClient:
    """Talks to one dripline server; use it as an async context manager, or `close()` it.

    It belongs to the event loop in which it is first used.

    Args:
        url: The server's address.
        token: The bearer token that the server asks for, its DRIPLINE_TOKEN; it goes with every
            request, and is shown nowhere.
        silence_timeout: Seconds of waiting without a byte, heartbeats counted, after which a
            connection counts as lost; more than the server's `--heartbeat`.
        max_event_size: The largest event that is taken, in bytes.
        backoff: How streams resume, and when they give up; `Backoff(attempts=0)`: never resume.
        on_drop: Called with what happened each time a stream has lost its connection, before it
            tries to resume; for telling a person.
        middlewares: What goes around each HTTP request, such as a `Recorder`.

    Attributes:
        closed: Whether it has been closed.

    Raises:
        RequestError: The token cannot be sent in a header.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str = "",
        *,
        silence_timeout: float = 60.0,
        max_event_size: int = MAX_EVENT_SIZE,
        backoff: Backoff = DEFAULT_BACKOFF,
        on_drop: Callable[[TransportError], None] = lambda _: None,
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    ) -> None:
        self.url: str = url.rstrip("/")
        self.silence_timeout = silence_timeout
        self.max_event_size = max_event_size
        self.backoff = backoff
        self.on_drop = on_drop
        self.middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = tuple(middlewares)
        self.closed: bool = False
        self._authorization = authorization(token)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection, for good; streams that are open end with `StreamTruncated`."""
        self.closed = True
        if self._session:
            await self._session.close()

    def chat(
        self,
        messages: Messages,
        *,
        on_leave: OnLeave = "stop",
        max_tool_rounds: int = DEFAULT_TOOL_ROUNDS,
        **fields: Unpack[ChatFields],
    ) -> ChatStream:
        """Return the stream of an answer; entering it sends the chat, once.

        Where some of `tools` are functions, they are called as the model wants, and it goes on with
        what they gave, in the same stream: see `ToolChatStream`.

        Args:
            messages: A prompt, or the conversation so far as Ollama's messages:
                `{"role": "user", "content": "..."}`, with `images`, `tool_calls`, `tool_name`
                and `thinking` where there are any.
            on_leave: What leaving the stream before its end does: "stop" the run, or "detach"
                from it; then it can be attached to again.
            max_tool_rounds: How many times the model is asked with functions that it may call.
            fields: See `ChatFields`.

        Raises:
            BadTool: A function cannot be a tool; a `TypeError`, which says why.
            TypeError: `messages` is one message.
            ValueError: `max_tool_rounds` is less than 1.
        """
        if max_tool_rounds < 1:
            raise ValueError(f"max_tool_rounds must be at least 1, not {max_tool_rounds}")
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if isinstance(messages, Mapping):
            raise TypeError("messages: should be a prompt or a list of messages, not one message")
        sent = [dict(message) for message in messages]
        schemas, functions = split_tools(fields.get("tools") or ())
        if not functions:
            return RunStream(self, messages=sent, fields=dict(fields), on_leave=on_leave)
        return ToolChatStream(
            self,
            messages=sent,
            fields=dict(fields),
            schemas=schemas,
            functions=functions,
            max_rounds=max_tool_rounds,
            on_leave=on_leave,
        )

    def attach(
        self, run_id: str, *, after: str | int = 0, on_leave: OnLeave = "detach"
    ) -> ChatStream:
        """Return the stream of a run that was started before, by this client or another one.

        Where the run is over and `after` is its last event, the stream has no events.

        Args:
            run_id: The run: `ChatStream.run_id`.
            after: The last event ID that is known already; by default all events come.
            on_leave: What leaving the stream before its end does: "detach" from the run, or
                "stop" it, for all who read it.

        Raises:
            ValueError: `after` is not a last event ID of dripline's, or `run_id` is empty.
        """
        run_path(run_id)
        return RunStream(self, run_id=run_id, after=position_after(after), on_leave=on_leave)

    async def stop(self, run_id: str) -> None:
        """Stop a run; does nothing if it has ended. Its readers get `End("cancelled")`.

        Raises:
            RunGone: The server does not know it, or not any more.
            RequestRefused: The server cannot stop it.
            TransportError: The server cannot be reached.
        """
        try:
            response = await self.request("DELETE", run_path(run_id))
        except RequestRefused as refused:
            if refused.status == 404:
                raise RunGone(run_id) from refused
            raise
        response.close()

    @overload
    async def ask(
        self, messages: Messages, *, format: type[M], **fields: Unpack[AskFields]
    ) -> M: ...

    @overload
    async def ask(
        self, messages: Messages, *, format: Mapping[str, Any], **fields: Unpack[AskFields]
    ) -> Any: ...

    @overload
    async def ask(
        self, messages: Messages, *, format: str = "", **fields: Unpack[AskFields]
    ) -> Answer: ...

    async def ask(
        self,
        messages: Messages,
        *,
        format: type[M] | Mapping[str, Any] | str = "",  # noqa: A002 (Ollama's name for it)
        **fields: Unpack[AskFields],
    ) -> M | Answer | Any:
        """Send a chat and return its whole answer; takes what `chat` takes.

        Args:
            messages: A prompt, or the conversation so far.
            format: With a pydantic model, what is returned is an object of it; with a JSON schema,
                the JSON value, checked against the schema, which needs `dripline[format]`; with
                "json", as without, the answer.
            fields: See `AskFields`.

        Raises:
            FormatMismatch: The answer does not fit `format`; the error has the answer.
            RequestError: The server does not take the request.
            RunFailed: The run ended in an error.
            TransportError: The server cannot be reached, or the stream broke for good.
            BadTool: A function cannot be a tool; a `TypeError`, which says why.
            ValueError: `format` is no JSON schema.
        """
        if isinstance(format, str):
            if not format:
                return await self._ask(messages, cast("ChatFields", fields))
            return await self._ask(messages, {**fields, "format": format})
        if isinstance(format, Mapping):
            check_schema(format)
            return value_of(await self._ask(messages, {**fields, "format": format}), format)
        schema = format.model_json_schema()
        return model_of(await self._ask(messages, {**fields, "format": schema}), format)

    async def _ask(self, messages: Messages, fields: ChatFields) -> Answer:
        async with self.chat(messages, **fields) as stream:
            async for _ in stream:
                pass
        return stream.answer

    async def models(self) -> list[ModelInfo]:
        """Return the models that the server can use.

        Raises:
            RequestRefused: The server cannot say, such as when its Ollama does not answer.
            TransportError: The server cannot be reached.
        """
        response = await self.request("GET", "/models")
        async with response:
            try:
                found = orjson.loads(await response.read())["models"]
                return [
                    ModelInfo(
                        name=str(model["name"]),
                        size=int(model["size"]),
                        capabilities=tuple(map(str, model["capabilities"])),
                        loaded=None if model["loaded"] is None else bool(model["loaded"]),
                    )
                    for model in found
                ]
            except (aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
                raise RequestError(f"{self.url}/models answers nothing usable: {error}") from error

    async def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its response, which the caller closes.

        Raises:
            RequestError: The client is closed, its address cannot be, or the body cannot be JSON.
            RuntimeError: The client was used in another event loop before.
            RequestRefused: The status is not 2xx.
            ServerUnreachable: No connection could be made, or it broke before the answer.
            ServerTimeout: No answer came within the silence time-out.
        """
        if self.closed:
            raise RequestError("the client is closed")
        if self._session is None:
            self._session = open_session(self.middlewares)
            self._loop = asyncio.get_running_loop()
        elif self._loop is not asyncio.get_running_loop():
            raise RuntimeError(
                "this ChatClient is bound to another event loop, where it has its connections; make"
                " one in each event loop, such as in each asyncio.run"
            )
        content_type = {"Content-Type": "application/json"}
        try:
            return await send(
                self._session,
                method,
                self.url + path,
                headers={**content_type, **self._authorization, **(headers or {})},
                body=None if body is None else json_body(body),
                silence_timeout=self.silence_timeout,
            )
        except RequestRefused as refused:
            if refused.code != ErrorCode.UNAUTHORIZED:
                raise
            raise self._unauthorized(refused) from refused

    def _unauthorized(self, refused: RequestRefused) -> RequestRefused:
        """Return the refusal, with what to do on our side."""
        what_to_do = (
            "The server does not take this token: set DRIPLINE_TOKEN, or ChatClient(token=...), to"
            " the one that it was started with."
            if self._authorization
            else "The server asks for its token: set it as DRIPLINE_TOKEN, or as"
            " ChatClient(token=...)."
        )
        return RequestRefused(refused.status, refused.code, what_to_do, refused.headers)
