"""Reads the stream of `POST /chat/completions` of an OpenAI-compatible server. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from secrets import token_hex
from typing import Any

from dripline.errors import ErrorCode, EventTooLarge
from dripline.events import TextMessage, Thinking, ToolCall, Usage
from dripline.json_fields import typed
from dripline.json_text import has_too_many_values, load_json
from dripline.sse import EventDecoder
from dripline_server.agents.openai_refusals import reported_error
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama_events import MAX_CALLS, MAX_COUNT, tool_arguments
from dripline_server.upstream.ollama_refusals import stranger
from dripline_server.upstream.think_tags import ThinkTags

OpenAIEvent = TextMessage | Thinking | ToolCall

# The longest arguments of all calls of an answer, in bytes. An event cannot be longer.
MAX_ARGUMENTS = 4 * 1024 * 1024
# How much of a body that is no event stream is kept for the message, in bytes.
MAX_KEPT = 4096

# Why a server ended an answer that is not whole.
_FAILED = ("error", "abort", "insufficient_system_resource")
_REASONS = {"length": "length", "max_tokens": "length", "content_filter": "content_filter"}


class OpenAIStream:
    """Turns the bytes of one answer into events, however they are split.

    Args:
        url: The server's address, for messages.
        max_event_size: The longest event accepted, in bytes.
        think_tags: Whether to look for `<think>` tags in the text.

    Attributes:
        done: Whether `[DONE]` has come, after which nothing counts.
        failure: What went wrong; the pieces before it have been returned.
        reason: Why the answer ended: "stop", "length" or "content_filter".
        usage: The tokens, as far as the server has told them.
    """

    def __init__(self, url: str, *, max_event_size: int, think_tags: bool) -> None:
        self.done = False
        self.failure: UpstreamError | None = None
        self.reason = ""
        self.usage = Usage()
        self._url = url
        self._decoder = EventDecoder(max_event_size)
        self._tags = ThinkTags() if think_tags else None
        # The start of the body, until the first event.
        self._start: bytearray | None = bytearray()
        self._calls = _Calls()

    def feed(self, chunk: bytes) -> list[OpenAIEvent]:
        """Return what the next bytes complete, up to the end or the failure of the answer."""
        if self._start is not None:
            self._start += chunk[: MAX_KEPT - len(self._start)]
        pieces: list[OpenAIEvent] = []
        try:
            for event in self._decoder.feed(chunk):
                self._start = None
                for piece in self._read(event.data.strip()):
                    pieces.append(piece)  # noqa: PERF402 (those before a failure are kept)
                if self.done:
                    break
        except EventTooLarge as error:
            message = f"The server at {self._url} sent an event of more than {error.limit:,} bytes."
            self.failure = UpstreamError(ErrorCode.UPSTREAM_LINE_TOO_LONG, message)
        except UpstreamError as error:
            self.failure = error
        return pieces

    def end(self) -> UpstreamError:
        """Return why the answer is not whole, when the body has ended without `[DONE]`."""
        self.feed(b"")  # an event may have been too large
        if self.failure:
            return self.failure
        if self._start and self._start.lstrip().startswith((b"{", b"<")):
            start = bytes(self._start)
            try:
                content = load_json(start)
            except ValueError:
                content = None
            if isinstance(content, dict) and content.get("error"):
                return reported_error(self._url, content)
            return self._garbage(f"sent {stranger(start) or 'JSON'} instead of an event stream")
        return UpstreamError(
            ErrorCode.UPSTREAM_TRUNCATED,
            f"The answer of the server at {self._url} stopped without `[DONE]`. Try again.",
        )

    def _read(self, data: str) -> Iterator[OpenAIEvent]:
        if data == "[DONE]":
            if not self.reason:
                raise UpstreamError(
                    ErrorCode.UPSTREAM_TRUNCATED,
                    f"The server at {self._url} ended its answer without a finish_reason, so the"
                    " answer is probably not whole. Try again.",
                )
            self.done = True
        elif data:
            yield from self._chunk(self._object(data))

    def _object(self, data: str) -> dict[str, Any]:
        text = data.encode()
        try:
            content = None if has_too_many_values(text) else load_json(text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._garbage("sent an event that is not a JSON object")
        return content

    def _chunk(self, content: dict[str, Any]) -> Iterator[OpenAIEvent]:
        if content.get("error"):
            raise reported_error(self._url, content)
        if (usage := typed(content.get("usage"), dict)) is not None:
            self.usage = Usage(_count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))
        # Only one answer was asked for.
        for choice in (typed(content.get("choices"), list) or [])[:1]:
            if isinstance(choice, dict):
                yield from self._choice(choice)

    def _choice(self, choice: dict[str, Any]) -> Iterator[OpenAIEvent]:
        delta = typed(choice.get("delta"), dict) or {}
        for piece in _pieces(delta):
            if isinstance(piece, TextMessage):
                yield from self._text(piece)
            else:
                yield from self._end_tags()
                yield piece
        if calls := typed(delta.get("tool_calls"), list):
            yield from self._end_tags()
            if not self._calls.add(calls):
                raise self._garbage("called more tools, or with longer arguments, than it may")
        if finish := typed(choice.get("finish_reason"), str):
            yield from self._end_tags()
            if finish in _FAILED:
                message = f"The server at {self._url} broke off its answer ({finish}). Try again."
                raise UpstreamError(ErrorCode.UPSTREAM_ERROR, message)
            yield from self._calls.complete()
            self.reason = _REASONS.get(finish, "stop")

    def _text(self, text: TextMessage) -> Sequence[OpenAIEvent]:
        if self._tags is None:
            return [text]
        pieces = self._tags.feed(text)
        if self._tags.over:
            self._tags = None
        return pieces

    def _end_tags(self) -> Sequence[OpenAIEvent]:
        """Return the text held back, because something other than text follows."""
        tags, self._tags = self._tags, None
        return tags.rest() if tags else ()

    def _garbage(self, what: str) -> UpstreamError:
        return UpstreamError(
            ErrorCode.UPSTREAM_GARBAGE,
            f"The server at {self._url} {what}. Is it OpenAI-compatible, and is this its address?",
        )


class _Calls:
    """The tool calls of one answer, which arrive in pieces."""

    def __init__(self) -> None:
        # By the server's index: id, name, and the pieces of the arguments.
        self._open: dict[int, tuple[str, str, list[str]]] = {}
        self._complete: list[ToolCall] = []
        self._count = 0
        self._bytes = 0
        # Random, so that ids differ from those of other answers in the same chat.
        self._name = f"call_{token_hex(4)}"

    def add(self, deltas: list[Any]) -> bool:
        """Add pieces of calls; return False if they exceed the limits."""
        for delta in deltas:
            if not isinstance(delta, dict):
                continue
            function = typed(delta.get("function"), dict) or {}
            call_id, name = delta.get("id") or "", function.get("name") or ""
            index = self._index(typed(delta.get("index"), int), str(call_id), str(name))
            known_id, known_name, pieces = self._open.get(index, ("", "", []))
            arguments = function.get("arguments")
            if isinstance(arguments, dict):  # as Ollama writes them
                self._open[index] = (str(call_id), str(name), pieces)
                self._close(index, arguments)
                continue
            text = str(arguments or "")
            self._bytes += len(text)
            if text:
                pieces.append(text)
            self._open[index] = (known_id or str(call_id), known_name or str(name), pieces)
        return self._count + len(self._open) <= MAX_CALLS and self._bytes <= MAX_ARGUMENTS

    def _index(self, index: int | None, call_id: str, name: str) -> int:
        """Return the number of the call that a piece belongs to.

        Some servers send no index, or the same one for all calls, which differ by their ids then.
        """
        if index is None:
            index = max(self._open, default=-1) + bool(name) if self._open else 0
        known = self._open.get(index)
        if known and name and call_id and known[0] not in ("", call_id):
            self._close(index)
        return index

    def _close(self, index: int, arguments: object = None) -> None:
        call_id, name, pieces = self._open.pop(index)
        self._count += 1
        read, unreadable = tool_arguments("".join(pieces) if arguments is None else arguments)
        call_id = call_id or f"{self._name}_{self._count}"
        self._complete.append(ToolCall(call_id, name, read, unreadable))

    def complete(self) -> list[ToolCall]:
        """Return the calls in their order, when no further piece follows."""
        for index in [*self._open]:
            self._close(index)
        complete, self._complete = self._complete, []
        return complete


def _pieces(delta: dict[str, Any]) -> Iterator[TextMessage | Thinking]:
    """Yield a delta's thinking and text.

    vLLM, llama.cpp and DeepSeek call the thinking `reasoning_content`, Ollama and OpenRouter
    `reasoning`; Mistral puts both kinds into `content`, as a list of parts.
    """
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if thought and isinstance(thought, str):
        yield Thinking(thought)
    for value in (delta.get("content"), delta.get("refusal")):
        for part in value if isinstance(value, list) else [{"type": "text", "text": value}]:
            match part:
                case {"type": "text", "text": str(text)} if text:
                    yield TextMessage(text)
                case {"type": "thinking", "thinking": [*thoughts]}:
                    for inner in thoughts:
                        match inner:
                            case {"text": str(text)} if text:
                                yield Thinking(text)


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = typed(usage.get(name), int)
    return value if value is not None and 0 <= value <= MAX_COUNT else None
