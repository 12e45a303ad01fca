"""The chat client: it sends chats, returns their streams, and stops runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
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
    """The optional fields of a chat request, except `format`. Most are Ollama's; see its API docs.

    `tools` are Python functions (see `dripline.tool`) or tools in Ollama's JSON form.

    `on_disconnect` says what happens to a run that nobody reads any more: "stop" stops it at once,
    "continue" lets it run to its end. Without it, the run continues for the server's grace time.
    With "stop", a lost connection ends the answer: resuming returns `End("cancelled")`.
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
    """The optional fields of a chat request.

    `format` is "json", or a JSON schema for the answer.
    """

    format: str | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the server can use.

    Attributes:
        name: For example "mistral:latest".
        size: Size on disk in bytes.
        capabilities: For example "completion", "tools", "thinking", "vision".
        loaded: Whether it is in memory now; None if Ollama does not say.
        agent: Whether it is no model of Ollama but an agent of the server's.
        description: What an agent is for, in its own words.
        context_length: How many tokens it can see as it was loaded; 0 if that is unknown.
        loaded_until: When Ollama unloads it, in seconds since 1970; 0 if that is unknown.
    """

    name: str
    size: int
    capabilities: tuple[str, ...]
    loaded: bool | None
    agent: bool = False
    description: str = ""
    context_length: int = 0
    loaded_until: float = 0.0

    @property
    def about(self) -> str:
        """What it can do, or what it is for, in a few words."""
        return self.description or ", ".join(self.capabilities)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run that can be read: see `ChatClient.attach`.

    Attributes:
        run_id: Its id.
        model: The model's name.
        status: "running", or how it ended: "completed", "cancelled" or "failed".
        began: When it began.
        readers: How many programs are reading it.
    """

    run_id: str
    model: str
    status: str
    began: datetime
    readers: int


class ChatClient:
    """A client of one dripline server. Use it as an async context manager, or call `close()`.

    A client works only in the event loop in which it is first used.

    Args:
        url: The server's address.
        token: The server's bearer token (its DRIPLINE_TOKEN). It is sent with every request, and
            never appears in messages or logs.
        silence_timeout: A connection counts as lost if no byte, not even a heartbeat, arrives for
            this many seconds. It must be longer than the server's `--heartbeat`.
        max_event_size: The size limit of an event, in bytes.
        backoff: When streams try to resume, and when they give up. `Backoff(attempts=0)` never
            resumes.
        on_drop: Called with the error each time a stream loses its connection, before it tries to
            resume. Use it to inform the user.
        middlewares: aiohttp client middlewares for each HTTP request, such as a `Recorder`.

    Attributes:
        closed: Whether the client has been closed.

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
        """Close all connections for good; open streams then raise `StreamTruncated`."""
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
        """Return the stream of an answer. Entering it sends the chat, exactly once.

        If some of `tools` are functions, the stream calls them when the model asks for it, sends
        the results to the model, and continues with its answer: see `ToolChatStream`.

        Args:
            messages: A prompt, or the conversation so far as Ollama's messages:
                `{"role": "user", "content": "..."}`, with `images`, `tool_calls`, `tool_name`
                and `thinking` if there are any.
            on_leave: What to do if the stream is left before its end: "stop" the run, or "detach"
                from it, so that `attach` can continue it later.
            max_tool_rounds: How many requests may offer the functions to the model.
            fields: See `ChatFields`.

        Raises:
            BadTool: A function cannot be a tool; this is a `TypeError`, and says why.
            TypeError: `messages` is a single message instead of a list.
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
        """Return the stream of a run that this or another client has started.

        If the run is over and `after` is its last event, the stream has no events.

        Args:
            run_id: The run's id, from `ChatStream.run_id`.
            after: The id of the last event that you have. By default you get all events.
            on_leave: What to do if the stream is left before its end: "detach" from the run, or
                "stop" it for all its readers.

        Raises:
            ValueError: `after` is not an event id of dripline, or `run_id` is empty.
        """
        run_path(run_id)
        return RunStream(self, run_id=run_id, after=position_after(after), on_leave=on_leave)

    async def stop(self, run_id: str) -> None:
        """Stop a run; its readers get `End("cancelled")`. It does nothing if the run has ended.

        Raises:
            RunGone: The server does not know the run, or no longer.
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
        """Send a chat and return its whole answer.

        Args:
            messages: A prompt, or the conversation so far, as for `chat`.
            format: With a pydantic model, an object of it is returned. With a JSON schema, the JSON
                value is returned, checked against the schema; this needs `dripline[format]`. With
                "json" or without a format, the `Answer` is returned.
            fields: See `AskFields`.

        Raises:
            FormatMismatch: The answer does not fit `format`; the error has the answer.
            RequestError: The server refuses the request.
            RunFailed: The run ended in an error.
            TransportError: The server cannot be reached, or the stream broke and could not resume.
            BadTool: A function cannot be a tool; this is a `TypeError`, and says why.
            ValueError: `format` is not a JSON schema.
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
            RequestRefused: The server cannot list them, for example because Ollama does not answer.
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
                        agent=model.get("family") == "agent",
                        description=str(model.get("description", "")),
                        context_length=int(model.get("context_length", 0)),
                        loaded_until=float(model.get("loaded_until", 0)),
                    )
                    for model in found
                ]
            except (aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
                raise RequestError(
                    f"{self.url}/models returned an unusable answer: {error}"
                ) from error

    async def runs(self) -> list[RunInfo]:
        """Return the runs of the server's process that can be read, the newest first.

        Any program can have started them, for example one that speaks OpenAI's API.

        Raises:
            RequestRefused: The server does not list them: it has no token, and is elsewhere.
            TransportError: The server cannot be reached.
        """
        response = await self.request("GET", "/runs")
        async with response:
            try:
                found = orjson.loads(await response.read())["runs"]
                return [
                    RunInfo(
                        run_id=str(run["run_id"]),
                        model=str(run["model"]),
                        status=str(run["status"]),
                        began=datetime.fromisoformat(run["began"]),
                        readers=int(run["readers"]),
                    )
                    for run in found
                ]
            except (aiohttp.ClientError, ValueError, LookupError, TypeError) as error:
                raise RequestError(
                    f"{self.url}/runs returned an unusable answer: {error}"
                ) from error

    def pull(self, model: str, *, on_leave: OnLeave = "stop") -> ChatStream:
        """Return the stream of getting a model: `Status` events with `completed` and `total` bytes.

        Stopping pauses: Ollama keeps what has arrived, and the next pull goes on from there.

        Args:
            model: For example "llama3.2".
            on_leave: What to do if the stream is left before its end: "stop" the run, or "detach"
                from it; then the server goes on, and `attach` shows its progress again.

        Raises:
            RequestRefused: On entering it, the server does not let requests change models.
        """
        return RunStream(self, pulls=model, on_leave=on_leave)

    async def delete_model(self, model: str) -> None:
        """Delete a model from Ollama's disk.

        Raises:
            RequestRefused: There is no such model, or the server does not let requests change any.
            TransportError: The server cannot be reached.
        """
        (await self.request("POST", "/models/delete", {"model": model})).close()

    async def unload_model(self, model: str) -> None:
        """Free the memory that a model takes.

        Raises:
            RequestRefused: There is no such model.
            TransportError: The server cannot be reached.
        """
        (await self.request("POST", "/models/unload", {"model": model})).close()

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
            RequestError: The client is closed, its address is invalid, or the body is not JSON.
            RuntimeError: The client was first used in another event loop.
            RequestRefused: The status is not 2xx.
            ServerUnreachable: Connecting failed, or the connection broke before the answer.
            ServerTimeout: The server did not answer within the silence timeout.
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
        """Return the refusal with a message that says what to do in the client."""
        what_to_do = (
            "The server rejects this token: set DRIPLINE_TOKEN, or ChatClient(token=...), to"
            " the one that it was started with."
            if self._authorization
            else "The server asks for its token: set it as DRIPLINE_TOKEN, or as"
            " ChatClient(token=...)."
        )
        return RequestRefused(refused.status, refused.code, what_to_do, refused.headers)
