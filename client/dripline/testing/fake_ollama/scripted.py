"""One answer of a scripted model: its tokens in their time, and the fault that meets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from aiohttp import web

from dripline.testing.fake_ollama.faults import Fault, FaultKind
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.received import Ending, Phase
from dripline.testing.fake_ollama.request import ApiError, ReceivedChat
from dripline.testing.fake_ollama.script import Reply, Script, tokens
from dripline.testing.fake_ollama.stop_sequences import ReplyPart
from dripline.testing.fake_ollama.visit import Visit
from dripline.testing.fake_ollama.wire import (
    AnswerFigures,
    AnswerStep,
    MadeCall,
    call_as_text,
    logprob,
)

# Ollama leaves out what is zero, and a real model never takes no time: so a step that takes none
# is told as this many seconds.
_LEAST = 0.001

_TOKENS_OF_AN_IMAGE = 256
_TOKENS_OF_A_ROLE = 4
_VOCABULARY = 32_000
_REPEATS = 30  # how often Ollama lets a model repeat a token before it gives the model up


@dataclass(frozen=True, slots=True)
class FittedPrompt:
    """What a model reads, cut to its context.

    Attributes:
        request: What is asked for, without the messages that do not go in.
        tokens: How many there are, as they are counted here.
        whole: How many there would be without a cut.
    """

    request: ReceivedChat
    tokens: int
    whole: int

    @staticmethod
    def fitting(request: ReceivedChat, context: int) -> FittedPrompt:
        """Return the prompt; the oldest messages go first, and system messages stay."""
        whole = prompt_tokens(request)
        kept = request
        if request.truncate:
            for start in range(len(request.messages)):
                system = [m for m in request.messages[:start] if m.role == "system"]
                kept = replace(request, messages=(*system, *request.messages[start:]))
                if prompt_tokens(kept) <= context:
                    break
        return FittedPrompt(kept, min(prompt_tokens(kept), context), whole)


class ScriptedAnswer:
    """The answer to one request, once its model is loaded.

    Args:
        visit: The request.
        prompt: What the model reads.
        script: The model.
        reply: What it says.
        fault: The fault that is to strike, or None.
        gaps: The seconds before each token, and before the end.
        load_seconds: How long loading took.
        context: Whether the end brings the tokens of the conversation.
    """

    def __init__(
        self,
        visit: Visit,
        prompt: FittedPrompt,
        script: Script,
        reply: Reply,
        fault: Fault | None,
        gaps: Iterator[float],
        *,
        load_seconds: float,
        context: bool,
    ) -> None:
        self._visit = visit
        self._received = visit.received
        self._prompt = prompt
        self._request = prompt.request
        self._fault = fault if fault and fault.at_byte is None else None
        self._clock = visit.state.clock
        self._load_seconds = load_seconds
        self._with_context = context
        door = visit.door
        content_type = door.stream_type if self._request.stream else door.whole_type
        headers = door.stream_headers if self._request.stream else ()
        visit.fault = fault
        self._body = visit.body(content_type, split=script.split, headers=headers)
        think = script.can("thinking") and self._request.think is not False
        self._parts, self._done_reason = reply.parts(self._request, think=think)
        self._gaps = list(islice(gaps, len(self._parts) + 1))
        self._said: list[ReplyPart] = []

    async def send(self) -> web.StreamResponse:
        """Send the answer, or what its fault leaves of it.

        Raises:
            ApiError: The answer is an error status.
        """
        due = self._clock.monotonic()
        for number, gap in enumerate(self._gaps):
            # From deadline to deadline, so that what sending takes does not slow the pace.
            due += gap
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            if self._fault and min(self._fault.at_token, len(self._parts)) == number:
                await self._strike(self._fault)
            if self._received.ended:
                break
            if number < len(self._parts):
                await self._say(self._parts[number])
                self._received.enter(Phase.ANSWERING)
            else:
                await self._say_done()
        return self._body.response

    async def _say(self, part: ReplyPart) -> None:
        """Send a token, or without streaming keep it for the end."""
        if not self._request.stream:
            self._said.append(part)
            return
        if part.silent and not self._request.logprobs:
            return
        if part.tool_call and self._request.logprobs:
            # Ollama's parser takes the text of a call away, and passes on how likely it was.
            for token in _call_tokens(part)[:-1]:
                buffered = AnswerStep(logprobs=[self._logprob(token)])
                await self._send(buffered)
        await self._send(self._step([part]))
        self._received.sent(1)

    async def _say_done(self) -> None:
        """Send the end, or without streaming everything; and end the answer."""
        if self._request.stream:
            await self._send(self._step([], self._done_reason))
            if not self._body.over:
                self._received.end(Ending.FINISHED)
                await self._body.finish()
        else:
            await self._send_whole(self._done_reason)
            if not self._body.over:
                self._received.sent(len(self._parts))
                self._received.end(Ending.FINISHED)

    async def _send(self, step: AnswerStep) -> None:
        timed = replace(step, model=self._request.model, time_ns=self._clock.time_ns())
        if data := self._visit.door.line(timed):
            await self._body.send(data)

    async def _send_whole(self, done_reason: str) -> None:
        """Send what has been said so far as the whole body; `done` only with a reason."""
        step = replace(
            self._step(self._said, done_reason),
            model=self._request.model,
            time_ns=self._clock.time_ns(),
        )
        await self._body.send_whole(self._visit.door.whole(step))

    async def _strike(self, fault: Fault) -> None:
        """Let a fault happen; most end the answer."""
        self._received.fault = fault
        match fault.kind:
            case FaultKind.ERROR:
                await self._strike_with_error(fault.message)
            case FaultKind.TRUNCATED:
                await self._stop_short()
            case FaultKind.LOOP:
                said = [part.content or part.thinking for part in self._parts[: fault.at_token]]
                for _ in range(_repeats_left(said, fault.message)):
                    await self._say(ReplyPart(fault.message))
                await self._stop_short()
            case FaultKind.GARBAGE:
                await self._strike_with_garbage(fault.line)
            case FaultKind.LONG_LINE:
                await self._strike_with_long_line(fault.size)
            case FaultKind.STATUS:
                raise AssertionError("a status is sent before the model loads")
            case _:
                await self._body.strike(fault)

    async def _stop_short(self) -> None:
        """End the body well, but without the end of the answer."""
        await (self._body.finish() if self._request.stream else self._send_whole(""))
        self._received.end(Ending.FAULTED)

    async def _strike_with_error(self, message: str) -> None:
        """Send an error line; what has sent nothing yet can still be a status instead."""
        if not self._body.started:
            self._received.end(Ending.FAULTED)
            raise ApiError(500, message, late=True)
        if line := self._visit.door.error_line(message):
            await self._body.send(line)
        self._received.end(Ending.FAULTED)
        await self._body.finish()

    async def _strike_with_garbage(self, line: bytes) -> None:
        if self._request.stream:
            await self._body.send(self._visit.door.garbage(line))
        else:
            await self._body.send_whole(line)
            self._received.end(Ending.FAULTED)

    async def _strike_with_long_line(self, size: int) -> None:
        part = ReplyPart("x" * size)
        if self._request.stream:
            await self._send(self._step([part]))
        else:
            self._said.append(part)

    def _step(self, parts: Sequence[ReplyPart], done_reason: str = "") -> AnswerStep:
        """Return what `parts` bring."""
        calls = [
            MadeCall.of(part.tool_call, part.tool_index, len(self._request.messages))
            for part in parts
            if part.tool_call
        ]
        return AnswerStep(
            content="".join(part.content for part in parts),
            thinking="".join(part.thinking for part in parts),
            calls=calls,
            logprobs=self._logprobs(parts) if self._request.logprobs else (),
            done_reason=done_reason,
            figures=self._figures() if done_reason else None,
            context=self._context() if done_reason and self._with_context else (),
        )

    def _logprobs(self, parts: Sequence[ReplyPart]) -> list[JsonValue]:
        found: list[JsonValue] = []
        for part in parts:
            if part.tool_call:
                generated = _call_tokens(part)
                # The stream has sent the others before.
                generated = generated[-1:] if self._request.stream else generated
            else:
                generated = list(part.generated)
            found += [self._logprob(token) for token in generated if token]
        return found

    def _logprob(self, token: str) -> JsonValue:
        return logprob(token, self._request.top_logprobs)

    def _figures(self) -> AnswerFigures:
        """Return counts and times as the script has them, so that they are always the same."""
        count = sum(max(1, len(part.generated)) for part in self._parts)
        return AnswerFigures(
            load=max(self._load_seconds, _LEAST),
            prompt_tokens=self._prompt.tokens,
            prompt_eval=max(self._gaps[0], _LEAST),
            completion_tokens=count,
            eval=max(sum(self._gaps[1:]), _LEAST * len(self._parts)),
        )

    def _context(self) -> list[int]:
        """Return the tokens of the prompt and of the answer, as numbers of a made-up kind."""
        said = [token for part in self._parts for token in part.generated]
        asked = [token for message in self._request.messages for token in tokens(message.content)]
        return [*self._request.context, *(_number_of(token) for token in (*asked, *said))]


def _repeats_left(said: Sequence[str], token: str) -> int:
    """Return how often a token passes before Ollama, which ignores blanks, gives the model up."""
    last, repeats = "", 0
    for one in said:
        repeats = repeats + 1 if one.strip() == last else 0
        last = one.strip()
    return max(0, _REPEATS - repeats) if token.strip() == last else _REPEATS + 1


def _call_tokens(part: ReplyPart) -> list[str]:
    return tokens(call_as_text(part.tool_call)) if part.tool_call else []


def _number_of(token: str) -> int:
    digest = hashlib.sha256(token.encode(errors="replace")).digest()
    return int.from_bytes(digest[:4]) % _VOCABULARY


def prompt_tokens(request: ReceivedChat) -> int:
    """Return how many tokens a prompt has, as they are counted here."""
    said = sum(
        _TOKENS_OF_A_ROLE + len(tokens(message.content)) + len(message.images) * _TOKENS_OF_AN_IMAGE
        for message in request.messages
    )
    return said + (len(tokens(json.dumps(request.tools))) if request.tools else 0)
