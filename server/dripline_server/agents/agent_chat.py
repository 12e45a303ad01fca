"""The chat that an agent answers: the request, and a client of the server's own Ollama."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import cached_property
from typing import Any, Literal

import orjson
from aiohttp import web

from dripline.errors import RunFailed
from dripline.events import TextMessage, Thinking, ToolCall, Usage
from dripline.http.json_encoding import json_body
from dripline.tool import Tool, ToolFunction, split_tools
from dripline_server.runs.run_request import RunRequest
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import Record
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.ollama_events import OllamaAnswer


class Chat:
    """The chat that an agent answers.

    Attributes:
        run_id: The id of the run. Whoever knows it may read and stop the run.
        model: The name by which the agent was asked for.
        messages: The conversation in Ollama's form, the same as `ChatClient.chat` sends:
            `{"role": "user", "content": "..."}`, with `images` (Base64), `tool_calls`, `tool_name`
            and `thinking` if there are any.
        options: Ollama's `options` of the request, such as `temperature`; empty if there are none.
        tools: The client's own tools, as JSON schemas in Ollama's form. Yield a `ToolCall` to call
            one; it ends the run, and the client continues with the result in a new one.
        format: "json" or the JSON schema that the answer should have; None if the client asks for
            none.
        think: Whether, or how much, the answer should think; None if the client does not say.
        state: The application's state, from AG-UI; None in the other dialects.
        context: What the application tells the agent, from AG-UI: objects with `description` and
            `value`.
        caller: The name of the token that the client sent; "" for DRIPLINE_TOKEN and for none.
        request: The HTTP request that started the run, for who is asking. The run goes on when its
            client has left, so only what has been read stays valid: the method, the path, the
            headers, the query, `remote`, the application, and what middlewares stored in it
            (`request["user"]`). Do not read its body and do not use its connection.
        usage: The tokens of all answers that `ask_model` has got so far.
        reason: What `end` gives as the reason when the agent returns; an agent may change it, for
            example to "length".
        record: Starts the recording of a request to a model; None if the run is not recorded.
    """

    def __init__(
        self,
        run_id: str,
        asked: RunRequest,
        request: web.Request,
        upstream: Ollama,
        *,
        state: Any = None,
        context: Sequence[Mapping[str, str]] = (),
        record: Record | None = None,
        think_tags: bool = True,
    ) -> None:
        body: dict[str, Any] = orjson.loads(asked.body)
        self.run_id = run_id
        self.model: str = asked.model
        self.messages: list[dict[str, Any]] = body["messages"]
        self.options: dict[str, Any] = body.get("options") or {}
        self.tools: list[dict[str, Any]] = body.get("tools") or []
        self.format: Any = body.get("format")
        self.think: bool | str | None = body.get("think")
        self.state = state
        self.context = context
        self.caller: str = asked.caller.name
        self.request = request
        self._client_tools = asked.client_tools
        self._upstream = upstream
        self.record = record
        self._think_tags = think_tags
        # Every open answer of a model, and the task that began it.
        self._asking: dict[AsyncGenerator[Any], asyncio.Task[Any] | None] = {}
        self._closed = False
        self.usage = Usage()
        self.reason = "stop"

    @cached_property
    def last_text(self) -> str:
        """The text of the user's last message; "" if there is none."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return message.get("content") or ""
        return ""

    def can_call(self, name: str) -> bool:
        """Whether the client has a tool of this name, so that a `ToolCall` reaches it."""
        return name in self._client_tools

    async def ask_model(
        self,
        model: str,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any] | ToolFunction | Tool] = (),
        options: Mapping[str, Any] | None = None,
        format: str | Mapping[str, Any] | None = None,  # noqa: A002 (Ollama's own name)
        think: bool | Literal["low", "medium", "high", "max"] | None = None,
        keep_alive: str | float | None = None,
    ) -> AsyncGenerator[Thinking | TextMessage | ToolCall]:
        """Yield a model's answer, from the server's own Ollama, as it comes.

        The request belongs to the agent's run: it ends with it at the latest, is recorded with it,
        and its tokens count in the run's usage. Leaving the iteration early, closing the generator,
        or cancelling the task closes the connection to Ollama, which stops the model.

        Args:
            model: The model's name.
            messages: A prompt, or a conversation as in `Chat.messages`.
            tools: What the model may call: JSON schemas or Python functions. They are not run; the
                calls come as `ToolCall`.
            options: Ollama's options, such as `temperature`.
            format: "json", or a JSON schema for the answer.
            think: Whether, or how much, the model should think.
            keep_alive: How long Ollama should keep the model in memory afterwards.

        Raises:
            RunFailed: Ollama failed, in whatever way. It has a `code`, a `message` for the user,
                and `retryable`. If the agent does not catch it, the run ends with that error.
            RuntimeError: The agent's run is over.
        """
        if self._closed:
            raise RuntimeError("the run of this chat is over, so it cannot ask a model")
        schemas, functions = split_tools(tools)
        fields = {
            "options": options,
            "format": format,
            "think": think,
            "keep_alive": keep_alive,
            "tools": [*schemas, *(tool.schema for tool in functions.values())] or None,
        }
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        body: dict[str, Any] = {"model": model, "messages": [*messages], "stream": True}
        body |= {name: value for name, value in fields.items() if value is not None}
        now = asyncio.get_running_loop().time
        tags = self._think_tags and not await self._upstream.can(model, "thinking")
        answer = OllamaAnswer(now(), think_tags=tags)
        asking = self._upstream.chat(model, json_body(body), self.record)
        del body
        self._asking[asking] = asyncio.current_task()
        try:
            async with aclosing(asking) as reads:
                async for chunks in reads:
                    for event in answer.events(chunks, now()):
                        if isinstance(event, Thinking | TextMessage | ToolCall):
                            yield event
        except UpstreamError as error:
            code = error.code
            raise RunFailed(code, error.message, retryable=code.retryable) from error
        finally:
            del self._asking[asking]
            used = answer.usage(now())
            self.usage += Usage(used.prompt_tokens, used.completion_tokens, used.load_time)

    @property
    def asks(self) -> bool:
        """Whether a model is being asked."""
        return bool(self._asking)

    async def close(self) -> None:
        """Close every connection to Ollama that is still open; no further one is opened."""
        self._closed = True
        for asking, task in [*self._asking.items()]:
            if task:
                task.cancel()  # for a task that the agent has left behind; it closes its own
            with suppress(RuntimeError):  # it is running, in that task
                await asking.aclose()
