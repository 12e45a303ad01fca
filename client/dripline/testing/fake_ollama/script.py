"""What a fake model is: what it says, how fast, in which pieces, and how it fails."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from dripline.recordings.exchange import Exchange
from dripline.recordings.matching import Match, Playlist
from dripline.recordings.recording import Recording
from dripline.recordings.replay import check_speed
from dripline.recordings.splits import SplitPlan, whole
from dripline.testing.fake_ollama.request import JsonValue, ReceivedChat
from dripline.testing.fake_ollama.wire import ModelDetails

Text = str | Sequence[str]

# Line breaks, then words and punctuation with their leading blank, cut where they are long; what
# is left is a single blank. Every character is in one of them, so the tokens joined are the text.
_TOKEN = re.compile(r"\n+| ?[\w'’]{1,10}| ?[^\w\s'’]{1,8}|\s")


def tokens(text: Text) -> list[str]:
    """Return a text as tokens, in the way of a real tokeniser; a list is taken as it is."""
    return _TOKEN.findall(text) if isinstance(text, str) else list(text)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the client's tools.

    Attributes:
        name: The tool's name; it is called as scripted, whether the client offers it or not.
        arguments: The arguments, in this order.
        id: Ollama's id of the call; made up where it is empty.
    """

    name: str
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class ReplyPart:
    """What one chunk of an answer brings: one token of thinking or text, or one tool call."""

    content: str = ""
    thinking: str = ""
    tool_call: Call | None = None
    tool_index: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model: thinking, then text, then tool calls.

    Attributes:
        text: A text, which is cut into tokens, or the exact tokens.
        thinking: The same; left out where the request switches thinking off.
        tool_calls: Left out where the request offers no tools, because a model makes none then.
        done_reason: What the last line says; "length" where `num_predict` cuts the reply short.
    """

    text: Text = ""
    thinking: Text = ""
    tool_calls: Sequence[Call] = ()
    done_reason: str = "stop"

    def parts(self, request: ReceivedChat, *, think: bool) -> tuple[list[ReplyPart], str]:
        """Return the chunks of the answer to `request`, and its `done_reason`."""
        parts = [ReplyPart(thinking=token) for token in tokens(self.thinking)] if think else []
        parts += [ReplyPart(content=token) for token in tokens(self.text)]
        if request.tools:
            calls = enumerate(self.tool_calls)
            parts += [ReplyPart(tool_call=call, tool_index=index) for index, call in calls]
        limit = request.num_predict
        if limit is not None and limit < len(parts):
            return parts[:limit], "length"
        return parts, self.done_reason


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a model is. All times are in seconds; by default none passes.

    Attributes:
        cold_load: Time to load the model when it is not in memory; `math.inf` never ends.
        first_token: Time from then to the first token, in which a real model reads the prompt.
        tokens_per_second: Speed of the tokens after it; None sends them without a pause. The
            `done` line takes a gap too, as a real model's end token does.
        jitter: How much the gaps between tokens vary: 0.2 means by up to a fifth, either way.
        seed: What the variation is drawn from: the same seed, the same gaps in every answer.

    Raises:
        ValueError: A value is out of its range; names it.
    """

    cold_load: float = 0.0
    first_token: float = 0.0
    tokens_per_second: float | None = None
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("cold_load", "first_token"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more seconds, not {getattr(self, name)}")
        if self.tokens_per_second is not None and not self.tokens_per_second > 0:
            raise ValueError(f"tokens_per_second must be above 0, not {self.tokens_per_second}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, not {self.jitter}")

    def gaps(self) -> Iterator[float]:
        """Give the time before each token, and so before the `done` line; without end."""
        draw = random.Random(self.seed)
        gap = 0.0 if self.tokens_per_second is None else 1 / self.tokens_per_second
        yield self.first_token
        while True:
            yield gap * draw.uniform(1 - self.jitter, 1 + self.jitter)


class FaultKind(Enum):
    """The ways in which an answer fails."""

    STATUS = "HTTP status"
    ERROR = "error line"
    CUT = "cut"
    TRUNCATED = "truncated"
    RESET = "reset"
    STALL = "stall"
    GARBAGE = "garbage line"
    LONG_LINE = "long line"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Fault:
    """A way in which answers fail; made by the methods below, one for each kind.

    `at_token` is how many tokens come before it; thinking counts, and so does a tool call. At 0
    nothing has been sent, not even the headers: like Ollama, the fake holds them back until the
    first token. A reply that is shorter fails after its last token, before `done`. Without
    streaming nothing is sent before the end, so that the fault comes instead of the whole answer.

    `times` is how many chats it hits, counted from the first; None hits them all.

    Raises:
        ValueError: A value is out of its range; names it.
    """

    kind: FaultKind
    at_token: int = 0
    times: int | None = None
    code: int = 0
    message: str = ""
    line: bytes = b""
    size: int = 0

    def __post_init__(self) -> None:
        if self.at_token < 0:
            raise ValueError(f"at_token must be 0 or more, not {self.at_token}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, or None for always, not {self.times}")
        if self.kind is FaultKind.STATUS and not 400 <= self.code <= 599:
            raise ValueError(f"code must be an HTTP error status, 400 to 599, not {self.code}")
        if self.kind is FaultKind.LONG_LINE and self.size < 1:
            raise ValueError(f"size must be at least 1 character, not {self.size}")

    @staticmethod
    def status(code: int, message: str = "", *, times: int | None = None) -> Fault:
        """Answer an HTTP error instead of anything else, before the model loads.

        Args:
            code: 404, 500, 503 or any other.
            message: What `error` in the body says; by default what Ollama would say.
            times: How many chats it hits.
        """
        return Fault(FaultKind.STATUS, times=times, code=code, message=message)

    @staticmethod
    def error(
        message: str = "an error was encountered while running the model: unexpected EOF",
        *,
        at_token: int = 0,
        times: int | None = None,
    ) -> Fault:
        """End with a line `{"error": message}`; before the first token that is a status 500."""
        return Fault(FaultKind.ERROR, at_token, times, code=500, message=message)

    @staticmethod
    def cut(*, at_token: int = 0, times: int | None = None) -> Fault:
        """Close the socket (TCP FIN) inside the chunked body."""
        return Fault(FaultKind.CUT, at_token, times)

    @staticmethod
    def truncated(*, at_token: int = 0, times: int | None = None) -> Fault:
        """End the body as HTTP wants it, but without the `done` line."""
        return Fault(FaultKind.TRUNCATED, at_token, times)

    @staticmethod
    def reset(*, at_token: int = 0, times: int | None = None) -> Fault:
        """Reset the connection (TCP RST)."""
        return Fault(FaultKind.RESET, at_token, times)

    @staticmethod
    def stall(*, at_token: int = 0, times: int | None = None) -> Fault:
        """Fall silent, with the connection open, until the client leaves."""
        return Fault(FaultKind.STALL, at_token, times)

    @staticmethod
    def garbage(
        line: bytes = b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        *,
        at_token: int = 0,
        times: int | None = None,
    ) -> Fault:
        """Send a line that is not Ollama's, and go on; without streaming it is the whole body."""
        return Fault(FaultKind.GARBAGE, at_token, times, line=line)

    @staticmethod
    def long_line(size: int, *, at_token: int = 0, times: int | None = None) -> Fault:
        """Send one more chunk, right but with `size` characters of content, and go on."""
        return Fault(FaultKind.LONG_LINE, at_token, times, size=size)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Replay:
    """What a real Ollama said: its own bytes again, status, headers, pieces and ending.

    The times are the recorded ones, with whatever loading there was. One recorded exchange answers
    every request. Of several, each is played once; a request that none is left for is answered with
    404, and with what is different from the nearest one.

    Attributes:
        recording: Of requests to a model, such as `POST /api/chat`. A recorded stream answers a
            request for a stream, and a recorded whole answer one with `stream: false`.
        speed: 1 as recorded, 10 ten times as fast; by default no time passes.
        match: How a request finds its exchange: "path", "body", "order" or a function; see
            `Playlist`.

    Raises:
        ValueError: `speed` is not above 0, there is no such `match`, or nothing is recorded.
    """

    recording: Recording | Exchange
    speed: float = math.inf
    match: Match = "path"

    def __post_init__(self) -> None:
        check_speed(self.speed)
        if not self.exchanges:
            raise ValueError("the recording holds no exchange")
        self.playlist()

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """What it plays."""
        if isinstance(self.recording, Exchange):
            return (self.recording,)
        return self.recording.exchanges

    @property
    def capabilities(self) -> list[str]:
        """What the recorded model must have been able to do, beyond "completion"."""
        found = {"tools": b'"tool_calls":', "thinking": b'"thinking":'}
        body = b"".join(exchange.body for exchange in self.exchanges)
        return [capability for capability, field in found.items() if field in body]

    def playlist(self) -> Playlist:
        """Return what hands out its exchanges, from the first on."""
        return Playlist(self.exchanges, self.match, repeat=len(self.exchanges) == 1)

    def each(self) -> list[Replay]:
        """Return a replay for each of its exchanges."""
        return [replace(self, recording=exchange) for exchange in self.exchanges]


Say = Text | Reply


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A fake model.

    Attributes:
        reply: What it says: a text, exact tokens, a `Reply`, a `Replay` of what a real model said,
            or a function from the request to one of these; the function must not block.
        pace: How fast; a `Replay` has its own.
        split: How the bytes are cut; applied to each line (without streaming: to the body; of a
            `Replay`: to each piece) as it leaves. Each piece is an HTTP chunk and a write to the
            socket of its own.
        fault: How it fails; a `Replay` fails as its recording did.
        capabilities: What `/api/show` tells and requests are checked against; None takes what
            `reply` needs. A function can only be known to need "completion": name the others.
        details: What else `/api/show`, `/api/tags` and `/api/ps` tell.

    Raises:
        ValueError: `reply` does what `capabilities` does not say, or is a `Replay` with a fault.
    """

    reply: Say | Replay | Callable[[ReceivedChat], Say | Replay] = (
        "Hello! How can I help you today?"
    )
    pace: Pace = Pace()
    split: SplitPlan = whole
    fault: Fault | None = None
    capabilities: Sequence[str] | None = None
    details: ModelDetails = field(default_factory=ModelDetails)

    def __post_init__(self) -> None:
        if isinstance(self.reply, Replay):
            if self.fault:
                raise ValueError("a Replay fails as its recording did: it takes no fault")
        elif not callable(self.reply):
            self._check(as_reply(self.reply))

    def can(self, capability: str) -> bool:
        """Return whether the model has a capability, such as "tools"."""
        return capability in self.all_capabilities

    @property
    def all_capabilities(self) -> list[str]:
        """What `/api/show` lists."""
        if self.capabilities is not None:
            return list(self.capabilities)
        if isinstance(self.reply, Replay):
            return ["completion", *self.reply.capabilities]
        return ["completion", *([] if callable(self.reply) else _needs(as_reply(self.reply)))]

    def answer(self, request: ReceivedChat) -> Reply | Replay:
        """Return what the model says to `request`.

        Raises:
            ValueError: The reply does what `capabilities` does not say.
        """
        if not callable(self.reply):
            return self.reply if isinstance(self.reply, Replay) else as_reply(self.reply)
        said = self.reply(request)
        if isinstance(said, Replay):
            return said
        reply = as_reply(said)
        self._check(reply)
        return reply

    def _check(self, reply: Reply) -> None:
        if missing := [need for need in _needs(reply) if not self.can(need)]:
            raise ValueError(f"the reply needs capabilities that the script lacks: {missing}")


def as_reply(say: Say) -> Reply:
    """Return the `Reply` that a script's `reply` stands for."""
    return say if isinstance(say, Reply) else Reply(say)


def in_rounds(*replies: Say | Replay) -> Callable[[ReceivedChat], Say | Replay]:
    """Return what a model says that calls tools: one reply for each round of a question.

    It is for `Script.reply`; the script's `capabilities` must name "tools". The first reply answers
    the user's last message, the second the results of the tools that the first has called, and so
    on; the last one answers all that follow. A `Replay` has as many rounds as its recording has
    exchanges.
    """
    if not replies:
        raise ValueError("in_rounds needs at least one reply")
    rounds: list[Say | Replay] = []
    for reply in replies:
        rounds += reply.each() if isinstance(reply, Replay) else [reply]

    def say(request: ReceivedChat) -> Say | Replay:
        answered = 0
        for message in reversed(request.messages):
            if message.role == "user":
                break
            answered += message.role == "assistant"
        return rounds[min(answered, len(rounds) - 1)]

    return say


def _needs(reply: Reply) -> list[str]:
    return ["tools"] * bool(reply.tool_calls) + ["thinking"] * bool(reply.thinking)
