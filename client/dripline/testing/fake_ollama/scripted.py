"""One answer to `POST /api/chat`: its tokens in their time, and the fault that meets them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import islice

from aiohttp import web

from dripline.clock import Clock, forever
from dripline.testing.fake_ollama import wire
from dripline.testing.fake_ollama.body import ResponseBody
from dripline.testing.fake_ollama.received import Ending, Phase, ReceivedRequest
from dripline.testing.fake_ollama.request import ApiError, JsonValue, ReceivedChat
from dripline.testing.fake_ollama.script import Fault, FaultKind, Reply, ReplyPart, Script, tokens

# Ollama leaves out what is zero, and a real model never takes no time: so a step that takes none
# is told as this many seconds.
_LEAST = 0.001

_TOKENS_OF_AN_IMAGE = 256
_TOKENS_OF_A_ROLE = 4


class ScriptedAnswer:
    """The answer to one chat request, once its model is loaded.

    Args:
        http: The request, as aiohttp has it.
        received: Where to note what happens.
        request: What the client asks for.
        script: The model.
        reply: What it says to the request.
        fault: The fault that is to strike, or None.
        load_seconds: How long loading took.
        clock: What to wait with.
    """

    def __init__(
        self,
        http: web.BaseRequest,
        received: ReceivedRequest,
        request: ReceivedChat,
        script: Script,
        reply: Reply,
        fault: Fault | None,
        *,
        load_seconds: float,
        clock: Clock,
    ) -> None:
        self._received = received
        self._request = request
        self._fault = fault
        self._clock = clock
        self._load_seconds = load_seconds
        content_type = wire.NDJSON if request.stream else wire.JSON
        headers = [("Content-Type", content_type)]
        self._body = ResponseBody(http, received, script.split, headers)
        think = script.can("thinking") and request.think is not False
        self._parts, self._done_reason = reply.parts(request, think=think)
        self._gaps = list(islice(script.pace.gaps(), len(self._parts) + 1))
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
        if self._request.stream:
            await self._body.send(self._line([part]))
            self._received.sent(1)
        else:
            self._said.append(part)

    async def _say_done(self) -> None:
        """Send the `done` line, or without streaming everything; and end the answer."""
        if self._request.stream:
            await self._body.send(self._line([], done_reason=self._done_reason))
            self._received.end(Ending.FINISHED)
            await self._body.finish()
        else:
            await self._send_whole(self._done_reason)
            self._received.sent(len(self._parts))
            self._received.end(Ending.FINISHED)

    async def _send_whole(self, done_reason: str) -> None:
        """Send what has been said so far as the whole body; `done` only with a reason."""
        await self._body.send_whole(self._response(self._said, done_reason))

    async def _strike(self, fault: Fault) -> None:
        """Let a fault happen; most end the answer."""
        self._received.fault = fault
        match fault.kind:
            case FaultKind.STALL:
                self._received.enter(Phase.STALLED)
                await forever()
            case FaultKind.CUT:
                self._received.end(Ending.FAULTED)
                self._body.cut()
            case FaultKind.RESET:
                self._received.end(Ending.FAULTED)
                await self._body.reset()
            case FaultKind.ERROR:
                await self._strike_with_error(fault.message)
            case FaultKind.TRUNCATED:
                await (self._body.finish() if self._request.stream else self._send_whole(""))
                self._received.end(Ending.FAULTED)
            case FaultKind.GARBAGE:
                await self._strike_with_garbage(fault.line)
            case FaultKind.LONG_LINE:
                await self._strike_with_long_line(fault.size)
            case FaultKind.STATUS:
                raise AssertionError("a status is sent before the model loads")

    async def _strike_with_error(self, message: str) -> None:
        """Send an error line; what has sent nothing yet can still be a status instead."""
        if not self._body.started:
            self._received.end(Ending.FAULTED)
            raise ApiError(500, message)
        await self._body.send(wire.error(message) + b"\n")
        self._received.end(Ending.FAULTED)
        await self._body.finish()

    async def _strike_with_garbage(self, line: bytes) -> None:
        if self._request.stream:
            await self._body.send(line + b"\n")
        else:
            await self._body.send_whole(line)
            self._received.end(Ending.FAULTED)

    async def _strike_with_long_line(self, size: int) -> None:
        part = ReplyPart("x" * size)
        if self._request.stream:
            await self._body.send(self._line([part]))
        else:
            self._said.append(part)

    def _line(self, parts: Sequence[ReplyPart], done_reason: str = "") -> bytes:
        return self._response(parts, done_reason) + b"\n"

    def _response(self, parts: Sequence[ReplyPart], done_reason: str) -> bytes:
        """Return a chunk, or the whole answer, that brings `parts`."""
        said = [token for part in parts if (token := part.content or part.thinking)]
        wanted = said if self._request.logprobs else []
        message = wire.message(
            "".join(part.content for part in parts),
            thinking="".join(part.thinking for part in parts),
            tool_calls=[call for part in parts if (call := self._tool_call(part))],
        )
        return wire.chat_response(
            self._request.model,
            self._clock.time_ns(),
            message,
            done_reason=done_reason,
            logprobs=[wire.logprob(token, self._request.top_logprobs) for token in wanted],
            usage=self._usage() if done_reason else None,
        )

    def _tool_call(self, part: ReplyPart) -> dict[str, JsonValue] | None:
        """Return the call as JSON; an id that the script leaves out is made, always the same."""
        if (call := part.tool_call) is None:
            return None
        about = repr((call.name, call.arguments, part.tool_index, len(self._request.messages)))
        call_id = call.id or f"call_{hashlib.sha256(about.encode()).hexdigest()[:8]}"
        return wire.tool_call(part.tool_index, call.name, call.arguments, call_id)

    def _usage(self) -> wire.AnswerFigures:
        """Return counts and times as the script has them, so that they are always the same."""
        return wire.AnswerFigures(
            load=max(self._load_seconds, _LEAST),
            prompt_tokens=_prompt_tokens(self._request),
            prompt_eval=max(self._gaps[0], _LEAST),
            completion_tokens=len(self._parts),
            eval=max(sum(self._gaps[1:]), _LEAST * len(self._parts)),
        )


def _prompt_tokens(request: ReceivedChat) -> int:
    said = sum(
        _TOKENS_OF_A_ROLE + len(tokens(message.content)) + len(message.images) * _TOKENS_OF_AN_IMAGE
        for message in request.messages
    )
    return said + (len(tokens(json.dumps(request.tools))) if request.tools else 0)
