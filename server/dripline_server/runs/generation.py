"""The answer of one run: Ollama's first message, and after each tool call the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from dripline.chat.transcript import Transcript
from dripline.errors import ErrorCode
from dripline.events import TEXT_JSON, Event, TextMessage, ToolCall, ToolResult, Usage, to_json
from dripline.tool import Tool, ToolError, why_unreadable
from dripline.tool_runner import ToolRunner, call_key
from dripline_server.metrics import Metrics
from dripline_server.run_log import RunLog
from dripline_server.runs.run_request import NO_PROMPT, Prompt, RunRequest
from dripline_server.tools.ui_tools import UiTool
from dripline_server.upstream.chat_chunks import Chunk
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import Record
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.ollama_events import OllamaAnswer
from dripline_server.upstream.think_tags import opens_tag

logger = logging.getLogger(__name__)

# Tool calls in one message. A model that makes more has lost its way.
MAX_CALLS = 64
# The `reason` in the end event if the model had to answer without further tools.
TOOL_ROUNDS = "tool_rounds"
# How many pieces of text a turn collects before it joins them into its transcript.
MAX_TEXTS = 1024


class Generation:
    """The upstream requests of one run, one after the other.

    When the model calls only tools of the server, their results go back to it in a further request.
    A call to one of the client's tools ends the run, because only the client can answer it. After
    `max_rounds` rounds, or when the model repeats a call and gets the same result, a last request
    offers none of the server's tools, so that the model has to answer. The run's reason is then
    "tool_rounds".

    Args:
        upstream: The Ollama that answers.
        runner: Calls the server's tools.
        max_rounds: How many requests may offer the server's tools.
        metrics: Counts the pieces of the answer.
        log: Receives the events.
        on_answer: Called when the first piece of the answer arrives.
        think_tags: Whether to turn `<think>` tags in the text into thinking, for models of which
            Ollama does not say that they think.
        prompt: The known length of the prompt.
        record: Starts the recording of each HTTP request to Ollama.
        loading_after: Seconds of silence before readers get a status.
    """

    agent = "ollama"

    __slots__ = (
        "_answered",
        "_loading_after",
        "_log",
        "_max_rounds",
        "_metrics",
        "_now",
        "_on_answer",
        "_plain",
        "_record",
        "_runner",
        "_texts",
        "_turn",
        "_upstream",
        "answer",
    )

    def __init__(
        self,
        upstream: Ollama,
        runner: ToolRunner,
        *,
        max_rounds: int,
        metrics: Metrics,
        log: RunLog,
        on_answer: Callable[[], object],
        think_tags: bool = False,
        prompt: Prompt = NO_PROMPT,
        record: Record | None = None,
        loading_after: float = 0,
    ) -> None:
        # Kept, because looking the method up for every token is slower.
        self._now = asyncio.get_running_loop().time
        self.answer = OllamaAnswer(
            self._now(),
            think_tags=think_tags,
            prompt_words=prompt.words,
            context=prompt.context,
        )
        self._upstream = upstream
        self._runner = runner
        self._max_rounds = max_rounds
        self._metrics = metrics
        self._log = log
        self._on_answer = on_answer
        self._answered = False
        self._turn: _Turn | None = None
        # Whether each piece of text becomes exactly one event, unchanged. `_texts` is the list that
        # collects those pieces for the turn's transcript.
        self._plain = False
        self._texts: list[bytes] | None = None
        self._record = record
        self._loading_after = loading_after

    @property
    def reason(self) -> str:
        """See `Answerer.reason`."""
        return self.answer.reason

    def usage(self, now: float) -> Usage:
        """See `Answerer.usage`."""
        return self.answer.usage(now)

    def phases(self, request: RunRequest) -> AsyncGenerator[str]:
        """See `Answerer.phases`."""
        return self._upstream.phases(request.model, request.prompt.context, self._loading_after)

    async def run(self, request: RunRequest) -> None:
        """Answer the request. Cancelling closes Ollama's socket at once, in every round.

        Raises:
            UpstreamError: Ollama failed, in whatever way.
        """
        if request.tools and await self._offers_tools(request.model):
            await self._ask_with_tools(request)
        else:
            await self._ask(request.model, request.body)

    async def _offers_tools(self, model: str) -> bool:
        """Whether to offer the server's tools: unless Ollama says that the model cannot call any.

        Ollama may say nothing about it, and still refuse the request.
        """
        if await self._upstream.can(model, "tools") is not False:
            return True
        logger.info("%s cannot call tools, so the server's are not offered to it", model)
        return False

    async def _ask(self, model: str, body: bytes, turn: _Turn | None = None) -> None:
        self._turn, self._plain = turn, False
        self._texts = turn.texts if turn else None
        chat = self._upstream.chat(
            model, body, self._record, self._deliver_now, self._deliver_text_now
        )
        del body  # at least 4 KiB, and there are thousands of streams
        try:
            async with aclosing(chat) as stream:
                async for chunks in stream:
                    if self.answer.tags and opens_tag(chunks):
                        await self._settle_tags(model)
                    await self._log.append(self._payloads(chunks))
        except UpstreamError:
            if rest := self.answer.rest():
                await self._log.append([*map(to_json, rest)])
            raise

    async def _settle_tags(self, model: str) -> None:
        """Treat tags as text if Ollama itself separates the thinking of this model."""
        if await self._upstream.can(model, "thinking"):
            self.answer.forget_tags()

    def _deliver_text_now(self, text: bytes) -> bool:
        """Write a piece of text to the log, given the inside of its JSON string.

        `_deliver_now` would do the same, but it would decode the string, build an event and encode
        that again: an eighth of the whole cost of a token that arrives alone.
        """
        if not (self._plain and self._log.is_free):
            return False
        if self._texts is not None:
            if len(self._texts) == MAX_TEXTS:
                return False
            self._texts.append(text)
        self._metrics.tokens += 1
        self._log.add([TEXT_JSON % text])
        return True

    def _deliver_now(self, chunks: list[Chunk]) -> bool:
        """Write the chunks' events to the log; return False if something must be awaited first."""
        if self._log.is_free and not (self.answer.tags and opens_tag(chunks)):
            if payloads := self._payloads(chunks):
                self._log.add(payloads)
            return True
        return False

    def _payloads(self, chunks: list[Chunk]) -> list[bytes]:
        """Turn chunks into the JSON events that readers see."""
        if not self._answered:
            self._answered = True
            self._on_answer()
        answer = self.answer
        events = answer.events(chunks, self._now())
        self._plain = answer.first_token is not None and answer.tags is None
        self._metrics.tokens += len(events)
        return [*map(to_json, self._turn.shown(events) if self._turn else events)]

    async def _ask_with_tools(self, request: RunRequest) -> None:
        conversation = _Conversation(request)
        try:
            turn = await self._ask_for_turn(conversation, request.tools)
        except UpstreamError as error:
            if error.code is not ErrorCode.OLLAMA_REFUSED or "support tools" not in error.message:
                raise
            # Ollama had not said that the model lacks tools. The client did not ask for any, so the
            # answer is made without them.
            logger.info("%s cannot call tools: Ollama refused the server's", request.model)
            self._upstream.note_lack(request.model, "tools")
            await self._ask(request.model, request.body)
            return
        for left in reversed(range(self._max_rounds)):
            if not turn.calls or not await self._answer_calls(turn, conversation):
                return
            if conversation.goes_in_circles:
                break
            if left:
                turn = await self._ask_for_turn(conversation, request.tools)
        turn = await self._ask_for_turn(conversation, ())
        self._give_up()
        await self._answer_calls(turn, conversation)

    async def _ask_for_turn(self, conversation: _Conversation, tools: Sequence[Tool]) -> _Turn:
        turn = _Turn(tools, conversation)
        await self._ask(conversation.model, conversation.body(tools), turn)
        return turn

    async def _answer_calls(self, turn: _Turn, conversation: _Conversation) -> bool:
        """Run a message's tool calls in order; return False if the client has to continue."""
        results: dict[bytes, str] = {}
        for made in turn.calls:
            if isinstance(made.answer, Tool):
                result = await self._runner.call(made.answer, made.call)
            else:
                result = made.answer
            conversation.transcript.add(result)
            results[call_key(made.call)] = result.content
            if made.shown:
                await self._log.append([to_json(result)])
        conversation.note(results)
        return not turn.calls_client

    def _give_up(self) -> None:
        logger.warning("a model kept calling tools without answering")
        if self.answer.reason in ("", "stop"):
            self.answer.reason = TOOL_ROUNDS


class _Conversation:
    """A request, and the messages and tool calls since then."""

    __slots__ = ("_body", "_results", "client_tools", "goes_in_circles", "model", "transcript")

    def __init__(self, request: RunRequest) -> None:
        self.model = request.model
        self.client_tools = request.client_tools
        self.transcript = Transcript()
        # The result of each call, by the call. The model goes in circles if it repeats a call and
        # gets the same result.
        self._results: dict[bytes, str] = {}
        self.goes_in_circles = False
        # Kept as bytes: parsed JSON needs several times the memory.
        self._body = request.body

    def body(self, tools: Sequence[Tool]) -> bytes:
        """Return the body of the next request, which offers these tools of the server."""
        body: dict[str, Any] = orjson.loads(self._body)
        body["messages"] += self.transcript.messages
        if tools:
            body["tools"] = [*body.get("tools", ()), *(tool.schema for tool in tools)]
        return orjson.dumps(body)

    def was_made(self, call: ToolCall) -> bool:
        """Whether the same call has been answered before."""
        return call_key(call) in self._results

    def note(self, results: Mapping[bytes, str]) -> None:
        """Store the results of a message's calls, by `call_key`, and notice a repeated one."""
        self.goes_in_circles |= bool(results.items() & self._results.items())
        self._results |= results


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that the server answers: `answer` is the tool to run, or the finished result.

    `shown` says whether readers see the call as a `tool_call` event; if so they see its result too.
    """

    call: ToolCall
    answer: Tool | ToolResult
    shown: bool


class _Turn:
    """One message of the model, and the tool calls in it.

    Attributes:
        calls: The calls that the server answers.
        calls_client: Whether the message also calls tools of the client.
        texts: Pieces of text since the last events, each the inside of its JSON string.
    """

    __slots__ = ("_conversation", "_tools", "calls", "calls_client", "texts")

    def __init__(self, tools: Sequence[Tool], conversation: _Conversation) -> None:
        self.calls: list[_Call] = []
        self.calls_client = False
        self.texts: list[bytes] = []
        self._tools = tools
        self._conversation = conversation

    def shown(self, events: list[Event]) -> list[Event]:
        """Return the events as readers see them."""
        if self.texts:
            self._conversation.transcript.add_text(orjson.loads(b'"%b"' % b"".join(self.texts)))
            self.texts.clear()
        texts = [event.content for event in events if type(event) is TextMessage]
        if len(texts) == len(events):  # the usual case; seven times as fast as the loop below
            self._conversation.transcript.add_text("".join(texts))
            return events
        shown: list[Event] = []
        for event in events:
            self._conversation.transcript.add(event)
            seen = self._shown_call(event) if isinstance(event, ToolCall) else event
            if seen:
                shown.append(seen)
        return shown

    def _shown_call(self, call: ToolCall) -> Event | None:
        """Return the event that readers see of a call; None if they see nothing."""
        if call.name in self._conversation.client_tools:
            self.calls_client = True
            return call
        if len(self.calls) >= MAX_CALLS:
            raise UpstreamError(
                ErrorCode.UPSTREAM_GARBAGE, f"The model called more than {MAX_CALLS} tools at once."
            )
        tool = next((tool for tool in self._tools if tool.name == call.name), None)
        if isinstance(tool, UiTool):
            return self._shown_ui_call(tool, call)
        self.calls.append(_Call(call, tool or self._unknown(call), shown=True))
        return call

    def _shown_ui_call(self, tool: UiTool, call: ToolCall) -> Event | None:
        try:
            if wrong := why_unreadable(call):
                raise ToolError(wrong)
            control, result = tool.control(call.arguments), ToolResult(call.id, call.name, "Done.")
        except ToolError as error:
            control, result = None, _failed(call, str(error))
        self.calls.append(_Call(call, result, shown=False))
        # Showing the same button twice would help nobody.
        return None if self._conversation.was_made(call) else control

    def _unknown(self, call: ToolCall) -> ToolResult:
        if not self._tools:
            return _failed(call, "No more tools can be called. Answer without them.")
        names = ", ".join(tool.name for tool in self._tools)
        return _failed(call, f"There is no such tool. Available tools: {names}.")


def _failed(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call.id, call.name, why, failed=True)
