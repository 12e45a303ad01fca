"""What an answer is made of, and where a request's stop sequences end it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dripline.testing.fake_ollama.json_value import JsonValue


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
    """What one chunk of an answer brings: one token of thinking or text, or one tool call.

    Attributes:
        tokens: What the model generated for it, where that is something else than what is sent.
    """

    content: str = ""
    thinking: str = ""
    tool_call: Call | None = None
    tool_index: int = 0
    tokens: tuple[str, ...] = ()

    @property
    def silent(self) -> bool:
        """Whether nothing is sent: a stop sequence has taken all that was generated."""
        return bool(self.tokens) and not (self.content or self.thinking or self.tool_call)

    @property
    def generated(self) -> tuple[str, ...]:
        """The tokens that the model generated for it."""
        return self.tokens or (self.content or self.thinking,)


def stopped(parts: Sequence[ReplyPart], stops: Sequence[str]) -> tuple[list[ReplyPart], bool]:
    """Return the parts up to the first stop sequence, and whether there was one.

    Like llama-server, it holds text back that may be the start of one.
    """
    stops = [stop for stop in stops if stop]
    if not stops:
        return list(parts), False
    said: list[ReplyPart] = []
    held = _Held()
    for part in parts:
        if part.tool_call or held.thinking != bool(part.thinking):
            said += held.release()
            held = _Held(thinking=bool(part.thinking))
        if part.tool_call:
            said.append(part)
            continue
        held.text += part.content or part.thinking
        held.tokens += (part.content or part.thinking,)
        found = [at for stop in stops if (at := held.text.find(stop)) >= 0]
        if found:
            said.append(held.part(min(found)))
            return said, True
        end = len(held.text) - _may_begin(held.text, stops)
        if end or not held.text:
            said.append(held.part(end))
            held = _Held(held.text[end:], (), thinking=held.thinking)
    return said + held.release(), False


@dataclass(slots=True)
class _Held:
    text: str = ""
    tokens: tuple[str, ...] = ()
    thinking: bool = False

    def part(self, end: int) -> ReplyPart:
        """Return the text up to `end` as a part."""
        text = self.text[:end]
        tokens = () if self.tokens == (text,) else self.tokens
        return (
            ReplyPart(thinking=text, tokens=tokens)
            if self.thinking
            else ReplyPart(text, tokens=tokens)
        )

    def release(self) -> list[ReplyPart]:
        """Return what is held as a part, if anything is."""
        return [self.part(len(self.text))] if self.text else []


def _may_begin(text: str, stops: Iterable[str]) -> int:
    """Return how many characters at the end may be the start of a stop sequence."""
    return max(
        (
            size
            for stop in stops
            for size in range(1, min(len(stop), len(text) + 1))
            if text.endswith(stop[:size])
        ),
        default=0,
    )
