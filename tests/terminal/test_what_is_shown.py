"""What `dripline chat` shows beside plain text: thinking, tools, colours; and what it must not."""

from __future__ import annotations

import re

from dripline.testing import Call, Fault, Pace, Reply, Script, in_rounds
from tests.support.gated_clock import GatedClock
from tests.support.stack import stack
from tests.support.terminal_chat import asked, chat

HELD = Pace(first_token=1, tokens_per_second=1)


async def test_thinking_is_folded_and_unfolds() -> None:
    """It is there while it goes on, then one line; Ctrl-T shows it."""
    reply = Reply("Yes.", thinking=[f"thought{i}\n" for i in range(30)])
    clock = GatedClock()
    async with stack(Script(reply, HELD), clock=clock) as s, chat(s) as t:
        await t.type("Hi")
        clock.let_go(3)
        await t.wait("thought2")
        clock.let_go(100)  # more than both answers take
        text = await t.wait(lambda text: "tokens/s" in text)
        assert "▸ thought for" in text
        assert "thought7" not in text
        await t.press("C-t")
        text = await t.wait("thought29")
        assert text.count("thought") == 31
        await t.type("/thinking on")
        await t.wait("thinking is shown")
        await t.type("Again")
        text = await t.wait(lambda text: text.count("tokens/s") == 2)
        assert text.count("thought17") == 2


async def test_thinking_unfolds_and_folds_while_it_comes() -> None:
    """Ctrl-T at a thinking that goes on: all of it, then its end again; no line comes twice."""
    reply = Reply("Yes.", thinking=[f"thought{i}\n" for i in range(30)])
    async with stack(Script(reply, fault=Fault.stall(at_token=20))) as s, chat(s) as t:
        await t.type("Hi")
        text = await t.wait("thought19")
        assert "Ctrl-T unfolds" in text
        assert "thought7" not in text
        await t.press("C-t")
        text = await t.wait("Ctrl-T folds")
        assert re.findall(r"thought(\d+)", text) == [str(i) for i in range(20)]
        await t.press("C-t")
        await t.wait("Ctrl-T unfolds")
        await t.press("C-c")
        text = await t.wait("stopped")
        assert re.findall(r"thought(\d+)", text) == [str(i) for i in range(20)]


def population(city: str) -> int:
    """Return how many people live in a city."""
    return {"Zurich": 443_000}[city]


async def test_tools_are_seen_at_work() -> None:
    """Each call, and what it gave or how it failed, between the texts."""
    call, wrong = (Call("population", {"city": city}) for city in ("Zurich", "Atlantis"))
    script = in_rounds(
        Reply("Let me see.", tool_calls=[call]),
        Reply("", tool_calls=[wrong]),
        Reply("That is all."),
    )
    async with (
        stack(Script(script, capabilities=["completion", "tools"]), functions=[population]) as s,
        chat(s) as t,
    ):
        await t.type("Hi")
        text = await t.wait("tokens/s")
    parts = (
        "Let me see.",
        '→ population {"city":"Zurich"}',
        "← population: 443000",
        '→ population {"city":"Atlantis"}',
        "← population: failed: KeyError",
        "That is all.",
    )
    places = [text.find(part) for part in parts]
    assert -1 not in places, text
    assert places == sorted(places)


async def test_the_model_drives() -> None:
    """A swatch in its colour; a button that its number presses."""
    async with stack(Script("Done.")) as s, chat(s) as t:
        await t.type("Change color to #ff8800")
        await t.wait("the colour is now #FF8800")
        assert "38;2;255;136;0" in await t.text(styles=True) or "38;5;" in await t.text(styles=True)
        await t.type("Add a button that says Tell me a joke")
        await t.wait("[1] Tell me a joke")
        await t.type("1")
        await t.wait("> Tell me a joke")
        await t.wait(lambda text: text.count("Done.") == 3)
        assert asked(s)[-1] == "Tell me a joke"


async def test_line_ends_between_two_tokens() -> None:
    """CR and LF are one line end, though they come apart."""
    reply = Reply(["one\r", "\ntwo\r", "\n\r", "\nthree"], thinking=["deep\r", "\nthought"])
    async with stack(Script(reply, Pace(tokens_per_second=8))) as s, chat(s) as t:
        await t.type("/thinking on")
        await t.type("Hi")
        text = await t.wait("tokens/s")
    assert "␍" not in text
    assert re.search(r"deep *\n +thought *\n.*\none two *\n *\nthree *\n", text, re.DOTALL)


HOSTILE = "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[31mred &#27;[1m &#13;over\x9b2J\rX"


async def test_the_terminal_is_not_driven() -> None:
    """Not its title, its clipboard, its screen; not by thinking, text, code or a button."""
    reply = Reply(f"{HOSTILE}\n\n```\n{HOSTILE}\n```\n\nlast", thinking=HOSTILE)
    async with stack(Script(reply)) as s, chat(s) as t:
        title = await t.ask("pane_title")
        await t.type("/thinking on")
        await t.type("Hi")
        text = await t.wait("tokens/s")
        assert await t.ask("pane_title") == title
        assert await t.run("list-buffers") == ""
    assert text.count("␛[31mred") == 3
    assert "/help" in text


async def test_no_color() -> None:
    """NO_COLOR is kept; bold and dim are no colours."""
    script = Script("```python\nimport os\n```")
    async with stack(script) as s, chat(s, environment={"NO_COLOR": "1"}) as t:
        await t.type("Change color to red")
        await t.wait("tokens/s")
        styled = await t.text(styles=True)
    assert not re.search(r"\x1b\[[\d;]*\b(3[0-8]|4[0-8]|9[0-7])\b", styled)
