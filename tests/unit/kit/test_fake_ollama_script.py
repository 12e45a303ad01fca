"""Scripts of the fake Ollama: what a model says, how fast, and what is refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline.testing import (
    Call,
    Fault,
    Message,
    Pace,
    ReceivedChat,
    Reply,
    Script,
    VirtualClock,
    in_rounds,
)
from dripline.testing.fake_ollama.script import tokens
from dripline.testing.fake_ollama.stop_sequences import ReplyPart

CHAT = ReceivedChat("story", (Message("user", "Hi"),))
WITH_TOOLS = ReceivedChat("story", CHAT.messages, tools=({"type": "function"},))
REPLY = Reply(["Sun", "ny"], thinking=["Hm", "m"], tool_calls=[Call("weather", {"days": 2})])


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    """Cutting a text into tokens loses and adds nothing, and makes no empty token."""
    assert "".join(tokens(text)) == text
    assert all(tokens(text))


def test_tokens_are_words_with_their_leading_blank() -> None:
    """A text is cut as tokenisers cut it: words keep their blank, long ones come in parts."""
    assert tokens("Done! I've changed it") == ["Done", "!", " I've", " changed", " it"]
    assert tokens("internationally…\n\n  ok") == ["internatio", "nally", "…", "\n\n", " ", " ok"]


def test_exact_tokens_are_kept() -> None:
    """A list of tokens is said as it stands, empty ones included."""
    assert tokens(["a b", "", "\u0085"]) == ["a b", "", "\u0085"]


def test_pace_is_the_same_for_the_same_seed() -> None:
    """Gaps vary within the jitter, and are drawn from the seed alone."""
    pace = Pace(first_token=0.5, tokens_per_second=20, jitter=0.2, seed=1)
    gaps = list(islice(pace.gaps(), 200))
    assert gaps[0] == 0.5
    assert all(0.04 <= gap <= 0.06 for gap in gaps[1:])
    assert max(gaps[1:]) - min(gaps[1:]) > 0.015
    assert list(islice(pace.gaps(), 200)) == gaps
    other = Pace(first_token=0.5, tokens_per_second=20, jitter=0.2, seed=2)
    assert list(islice(other.gaps(), 200)) != gaps


def test_pace_takes_no_time_by_default() -> None:
    """Without a pace nothing waits."""
    assert list(islice(Pace().gaps(), 3)) == [0, 0, 0]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Pace(cold_load=-1), "cold_load"),
        (lambda: Pace(cold_load=math.nan), "cold_load"),
        (lambda: Pace(first_token=-0.1), "first_token"),
        (lambda: Pace(tokens_per_second=0), "tokens_per_second"),
        (lambda: Pace(tokens_per_second=math.nan), "tokens_per_second"),
        (lambda: Pace(jitter=1.5), "jitter"),
        (lambda: Pace(jitter=-0.5), "jitter"),
        (lambda: Fault.cut(at_token=-1), "at_token"),
        (lambda: Fault.status(503, times=0), "times"),
        (lambda: Fault.status(200), "code"),
        (lambda: Fault.long_line(-1), "size"),
        (lambda: Script(Reply(thinking="Hm"), capabilities=["completion"]), "thinking"),
        (lambda: Script(REPLY, capabilities=["completion", "thinking"]), "tools"),
        (in_rounds, "at least one reply"),
    ],
)
def test_a_wrong_value_is_named(make: Callable[[], object], named: str) -> None:
    """A script that cannot work is refused where it is written, by the name of the field."""
    with pytest.raises(ValueError, match=named):
        make()


def test_a_reply_comes_as_thinking_then_text_then_tool_calls() -> None:
    """Each token and each tool call is a chunk of its own."""
    assert REPLY.parts(WITH_TOOLS, think=True) == (
        [
            ReplyPart(thinking="Hm"),
            ReplyPart(thinking="m"),
            ReplyPart("Sun"),
            ReplyPart("ny"),
            ReplyPart(tool_call=Call("weather", {"days": 2})),
        ],
        "stop",
    )


def test_a_reply_leaves_out_what_is_not_asked_for() -> None:
    """Without thinking and without tools on offer only the text is left."""
    assert REPLY.parts(CHAT, think=False)[0] == [ReplyPart("Sun"), ReplyPart("ny")]


@pytest.mark.parametrize(
    ("limit", "count", "reason"),
    [(1, 1, "length"), (3, 3, "length"), (4, 4, "stop"), (-1, 4, "stop"), (0, 4, "stop")],
)
def test_num_predict_cuts_the_reply(limit: int, count: int, reason: str) -> None:
    """The option counts tokens, thinking too, and shows in `done_reason`; below 1 it is off."""
    request = ReceivedChat("story", CHAT.messages, options={"num_predict": limit})
    parts, done_reason = REPLY.parts(request, think=True)
    assert (len(parts), done_reason) == (count, reason)


def test_capabilities_follow_from_the_reply() -> None:
    """Where a script names none, they are what its reply needs."""
    assert Script("Hi").all_capabilities == ["completion"]
    assert set(Script(REPLY).all_capabilities) == {"completion", "thinking", "tools"}
    assert Script(lambda _: "Hi").all_capabilities == ["completion"]
    assert Script("Hi", capabilities=["embedding"]).all_capabilities == ["embedding"]


def test_a_function_answers_the_request() -> None:
    """A reply can be a function from the request to a text, tokens or a `Reply`."""
    assert Script(lambda request: request.messages[-1].content).answer(CHAT) == Reply("Hi")
    assert Script(lambda _: ["a", "b"]).answer(CHAT) == Reply(["a", "b"])
    assert Script(lambda _: REPLY, capabilities=["thinking", "tools"]).answer(CHAT) is REPLY


def test_a_function_cannot_do_more_than_its_script_says() -> None:
    """A reply that thinks where the model cannot is an error of the script's, not left out."""
    with pytest.raises(ValueError, match="thinking"):
        Script(lambda _: Reply(thinking="Hm")).answer(CHAT)


async def test_a_virtual_clock_is_moved_by_sleeping() -> None:
    """A minute of sleep passes at once, on both of the clock's faces."""
    clock = VirtualClock(start_ns=5_000_000_000)
    await clock.sleep(60)
    await clock.sleep(-1)
    assert clock.monotonic() == 60
    assert clock.time_ns() == 65_000_000_000


async def test_a_virtual_clock_does_not_skip_eternity() -> None:
    """An endless sleep stays endless, and can be cancelled."""
    sleeping = asyncio.ensure_future(VirtualClock().sleep(math.inf))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not sleeping.done()
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
