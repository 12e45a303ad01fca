"""What a fake model is: what it says, how fast, in which pieces, and how it fails."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dripline.recordings.exchange import Exchange
from dripline.recordings.matching import Match, Playlist
from dripline.recordings.recording import Recording
from dripline.recordings.replay import check_speed
from dripline.recordings.splits import SplitPlan, whole
from dripline.testing.fake_ollama.faults import Fault
from dripline.testing.fake_ollama.model_details import ModelDetails
from dripline.testing.fake_ollama.request import ReceivedChat
from dripline.testing.fake_ollama.stop_sequences import Call, ReplyPart, stopped

Text = str | Sequence[str]

# Line breaks, then words and punctuation with their leading blank, cut where they are long; what
# is left is a single blank. Every character is in one of them, so the tokens joined are the text.
_TOKEN = re.compile(r"\n+| ?[\w'’]{1,10}| ?[^\w\s'’]{1,8}|\s")


def tokens(text: Text) -> list[str]:
    """Return a text as tokens, in the way of a real tokeniser; a list is taken as it is."""
    return _TOKEN.findall(text) if isinstance(text, str) else list(text)


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
        cut = limit is not None and limit < len(parts)
        said, met = stopped(parts[:limit] if cut else parts, request.stop)
        return said, "stop" if met else "length" if cut else self.done_reason


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


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Replay:
    """What a real Ollama said: its own bytes again, status, headers, pieces and ending.

    The times are the recorded ones, with whatever loading there was. One recorded exchange answers
    every request. Of several, each is played once; a request that none is left for is answered with
    404, and with what is different from the nearest one.

    Attributes:
        recording: Of requests to a model, such as `POST /api/chat`. A recorded stream answers a
            request for a stream, and a recorded whole answer one with `stream: false`. At another
            endpoint than the recorded one, the same is said in that endpoint's form.
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
        body = b"".join(exchange.body for exchange in self.exchanges)
        return [name for name, pattern in _SHOWS.items() if pattern.search(body)]

    def playlist(self) -> Playlist:
        """Return what hands out its exchanges, from the first on."""
        return Playlist(self.exchanges, self.match, repeat=len(self.exchanges) == 1)

    def each(self) -> list[Replay]:
        """Return a replay for each of its exchanges."""
        return [replace(self, recording=exchange) for exchange in self.exchanges]


# In the answers of Ollama, OpenAI and Anthropic.
_SHOWS = {
    "tools": re.compile(rb'"tool_calls":|"tool_use"|"function_call"'),
    "thinking": re.compile(rb'"(thinking|reasoning|reasoning_content)": ?(?!null)'),
}

Say = Text | Reply | Replay


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

    reply: Say | Callable[[ReceivedChat], Say] = "Hello! How can I help you today?"
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
        said = self.reply(request) if callable(self.reply) else self.reply
        if isinstance(said, Replay):
            return said
        reply = as_reply(said)
        self._check(reply)
        return reply

    def _check(self, reply: Reply) -> None:
        if missing := [need for need in _needs(reply) if not self.can(need)]:
            raise ValueError(f"the reply needs capabilities that the script lacks: {missing}")


def as_reply(say: Text | Reply) -> Reply:
    """Return the `Reply` that a script's `reply` stands for."""
    return say if isinstance(say, Reply) else Reply(say)


def in_rounds(*replies: Say) -> Callable[[ReceivedChat], Say]:
    """Return what a model says that calls tools: one reply for each round of a question.

    It is for `Script.reply`; the script's `capabilities` must name "tools". The first reply answers
    the user's last message, the second the results of the tools that the first has called, and so
    on; the last one answers all that follow. A `Replay` has as many rounds as its recording has
    exchanges.
    """
    if not replies:
        raise ValueError("in_rounds needs at least one reply")
    rounds: list[Say] = []
    for reply in replies:
        rounds += reply.each() if isinstance(reply, Replay) else [reply]

    def say(request: ReceivedChat) -> Say:
        answered = 0
        for message in reversed(request.messages):
            if message.role == "user":
                break
            answered += message.role == "assistant"
        return rounds[min(answered, len(rounds) - 1)]

    return say


Condition = str | re.Pattern[str] | Callable[[ReceivedChat], bool]
Answering = Say | Callable[[ReceivedChat], Say]


def when(
    *cases: tuple[Condition, Answering], otherwise: Answering | None = None
) -> Callable[[ReceivedChat], Say]:
    """Return what a model says that answers by request; the first case that fits answers.

    It is for `Script.reply`: `when(("weather", "It rains."), (re.compile("sk(y|ies)"), "Blue."))`.

    Args:
        cases: Pairs of a condition and what is said then. A text is met where the user's last
            message has it, in any case of letters; a pattern where it is found there; a function
            where it returns true for the request.
        otherwise: What is said where no case fits; None makes that an error, which names the
            message.
    """
    if not cases:
        raise ValueError("when needs at least one case")

    def reply(request: ReceivedChat) -> Say:
        for condition, say in cases:
            if _fits(condition, request):
                return say(request) if callable(say) else say
        if otherwise is None:
            raise LookupError(f"no case of `when` fits {request.question!r}")
        return otherwise(request) if callable(otherwise) else otherwise

    return reply


def _fits(condition: Condition, request: ReceivedChat) -> bool:
    match condition:
        case str():
            return condition.casefold() in request.question.casefold()
        case re.Pattern():
            return condition.search(request.question) is not None
        case _:
            return condition(request)


def _needs(reply: Reply) -> list[str]:
    return ["tools"] * bool(reply.tool_calls) + ["thinking"] * bool(reply.thinking)
