"""What a run makes: Ollama's answer, and where that calls tools of the server's, the next one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import orjson

from dripline.chat.transcript import Transcript
from dripline.errors import ErrorCode
from dripline.events import TEXT_JSON, Event, TextMessage, ToolCall, ToolResult, to_json
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

# In one message of a model's; one that calls more has gone astray.
MAX_CALLS = 64
# The end's `reason` where the model was told to answer without further tools.
TOOL_ROUNDS = "tool_rounds"
# Pieces of text of a turn that are not in its transcript yet.
MAX_TEXTS = 1024


class Generation:
    """The upstream requests of one run, one after the other.

    While the model calls nothing but tools of the server's, it is asked again with what they gave.
    A call of a tool of the client's ends the run, because the client has to answer it. After
    `max_rounds` rounds with tools, or once it makes the same call again and gets the same result,
    the model is asked once more without the server's, so that it answers; the reason is
    "tool_rounds" then.

    Args:
        upstream: Who answers.
        runner: Calls the server's tools.
        max_rounds: How many times it may be asked with the server's tools.
        metrics: Where pieces are counted.
        log: Where events are written.
        on_answer: Called once the first thing has come from the model.
        think_tags: Whether `<think>` tags in the text of models that Ollama does not know as
            thinking become thinking.
        prompt: What is known of the prompt's length.
        record: Begins a recording of each HTTP request to Ollama.
    """

    __slots__ = (
        "_answered",
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
    ) -> None:
        # One call, which is not looked up anew for each token.
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
        # Whether a piece of text is an event as it is, and nothing else; and where else it goes.
        self._plain = False
        self._texts: list[bytes] | None = None
        self._record = record

    async def run(self, request: RunRequest) -> None:
        """Answer the request. Cancelling closes Ollama's socket at once, in whatever round.

        Raises:
            UpstreamError: Any way in which Ollama can fail.
        """
        if request.tools and await self._offers_tools(request.model):
            await self._ask_with_tools(request)
        else:
            await self._ask(request.model, request.body)

    async def _offers_tools(self, model: str) -> bool:
        """Whether nothing is known to speak against it; Ollama may still refuse them."""
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
        del body  # it is 4 KiB at least, and there are thousands of streams
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
        """Take tags for text where Ollama knows the model as thinking: it has read them itself."""
        if await self._upstream.can(model, "thinking"):
            self.answer.forget_tags()

    def _deliver_text_now(self, text: bytes) -> bool:
        """Write a piece of text to the log, given the inside of its JSON string.

        What `_deliver_now` does with it, without a string, an event and JSON made anew of that: an
        eighth of all that a token costs which comes alone.
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
        """Write what chunks say to the log, unless it is to be waited for something first."""
        if self._log.is_free and not (self.answer.tags and opens_tag(chunks)):
            if payloads := self._payloads(chunks):
                self._log.add(payloads)
            return True
        return False

    def _payloads(self, chunks: list[Chunk]) -> list[bytes]:
        """Return what readers see of the chunks, as the log has it."""
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
            # Nothing was known to speak against it. The client did not ask for tools: go without.
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
        """Call the tools that a message calls, in order; False where the client has to go on."""
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
        logger.warning("a model went on calling tools, without an answer")
        if self.answer.reason in ("", "stop"):
            self.answer.reason = TOOL_ROUNDS


class _Conversation:
    """A request, and what has been said and called since."""

    __slots__ = ("_body", "_results", "client_tools", "goes_in_circles", "model", "transcript")

    def __init__(self, request: RunRequest) -> None:
        self.model = request.model
        self.client_tools = request.client_tools
        self.transcript = Transcript()
        # What each call gave, by the call; and whether one was made twice and gave the same.
        self._results: dict[bytes, str] = {}
        self.goes_in_circles = False
        # As it came: read, it takes several times the memory.
        self._body = request.body

    def body(self, tools: Sequence[Tool]) -> bytes:
        """Return the next request, in which these tools of the server's are offered."""
        body: dict[str, Any] = orjson.loads(self._body)
        body["messages"] += self.transcript.messages
        if tools:
            body["tools"] = [*body.get("tools", ()), *(tool.schema for tool in tools)]
        return orjson.dumps(body)

    def was_made(self, call: ToolCall) -> bool:
        """Whether the same call was answered before."""
        return call_key(call) in self._results

    def note(self, results: Mapping[bytes, str]) -> None:
        """Remember what a message's calls gave, by `call_key`; look whether one gave it before."""
        self.goes_in_circles |= bool(results.items() & self._results.items())
        self._results |= results


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that the server answers: by a tool, or with what is known already.

    `shown` is whether it is a `tool_call` event, so that its result is one too.
    """

    call: ToolCall
    answer: Tool | ToolResult
    shown: bool


class _Turn:
    """One message of the model's, and the calls in it.

    Attributes:
        calls: Those that the server answers.
        calls_client: Whether there are others: those are the client's.
        texts: Pieces of text that came since the last events: the insides of their JSON strings.
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
        if len(texts) == len(events):  # nearly always: 0.1 and not 0.7 µs an event
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
        """Return what readers see of a call; None where that is nothing."""
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
        # The same button twice helps nobody.
        return None if self._conversation.was_made(call) else control

    def _unknown(self, call: ToolCall) -> ToolResult:
        if not self._tools:
            return _failed(call, "No more tools can be called; answer without.")
        names = ", ".join(tool.name for tool in self._tools)
        return _failed(call, f"There is no such tool; there are: {names}.")


def _failed(call: ToolCall, why: str) -> ToolResult:
    return ToolResult(call.id, call.name, why, failed=True)
