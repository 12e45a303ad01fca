"""The demo models: short, friendly, and always the same answer to the same question."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from dripline.testing.fake_ollama.demo.schema_value import UnsatisfiableSchema, value_for
from dripline.testing.fake_ollama.faults import Fault
from dripline.testing.fake_ollama.json_value import JsonValue
from dripline.testing.fake_ollama.request import ApiError, ReceivedChat
from dripline.testing.fake_ollama.script import Pace, Reply, Script, as_reply
from dripline.testing.fake_ollama.stop_sequences import Call

# The server tells a model in a system message that begins so what it has done to the page.
NOTE = "[dripline] "

_PACE = Pace(first_token=0.3, tokens_per_second=35, jitter=0.4, seed=9)


def demo_models() -> dict[str, Script]:
    """Return the models that come with the fake Ollama, by name."""
    seen = ["completion", "vision"]
    return {
        "demo": Script(page_reply, _PACE, capabilities=[*seen, "tools"]),
        "demo-thinking": Script(thinking_reply, _PACE, capabilities=[*seen, "thinking"]),
        "demo-tools": Script(tools_reply, _PACE, capabilities=[*seen, "tools"]),
        "demo-slow": Script(
            demo_reply,
            Pace(cold_load=8, first_token=1, tokens_per_second=8, jitter=0.4, seed=9),
            capabilities=seen,
        ),
        "demo-broken": Script(BROKEN, _PACE, fault=Fault.cut(at_token=21)),
    }


def demo_reply(request: ReceivedChat) -> str:
    """Return what `demo` says: what was done to the page, JSON, or words that fit the question."""
    if notes := _notes(request):
        return "\n\n".join(map(_done, notes))
    said = _said(request)
    if request.format is not None:
        return _json_reply(request.format, said)
    if size := sum(len(image) for message in request.messages for image in message.images):
        return (
            f"Thank you for the picture! I'm only a demo model and cannot see it — "
            f"but all {size:,} bytes of it came through."
        )
    for pattern, answer in _ANSWERS.items():
        if re.search(pattern, said, re.IGNORECASE):
            return answer
    return (
        f"You said: “{_shorten(said)}”. I'm only a demo model, so there is not much that I can say "
        "about it — but every piece of this sentence came to you as an event of its own.\n\n"
        "Ask me how streams work, for some code, or for a joke."
    )


def page_reply(request: ReceivedChat) -> str | Reply:
    """Return what `demo` says to one who wants another mood or buttons: calls of the page's tools.

    Then it tells what it has done; else it says what `demo_reply` does.
    """
    if request.messages[-1].role == "tool":
        return "Done! I hope you like it."
    names = {str(function.get("name")) for function in _functions(request)}
    calls = [call for call in _page_calls(_said(request)) if call.name in names]
    return Reply(tool_calls=calls) if calls else demo_reply(request)


def thinking_reply(request: ReceivedChat) -> Reply:
    """Return what `demo-thinking` says: it thinks aloud first."""
    return Reply(
        demo_reply(request),
        thinking=(
            f"The message is “{_shorten(_said(request))}”. I know a handful of answers by heart… "
            "Let me see which of them fits best, and keep it short. Yes: this one."
        ),
    )


def tools_reply(request: ReceivedChat) -> Reply:
    """Return what `demo-tools` says: it calls a tool once, and then tells what the tool said."""
    last = request.messages[-1]
    if last.role == "tool" and last.tool_name not in _PAGE_TOOLS:
        return Reply(f"The tool {last.tool_name or 'that I called'} says: {last.content}")
    said = _said(request)
    if last.role == "tool":
        return as_reply(page_reply(request))
    functions = [
        function
        for function in _functions(request)
        if function.get("name") not in _PAGE_TOOLS or _ABOUT_PAGE.search(said)
    ]
    if _notes(request) or _page_calls(said) or not functions:
        return as_reply(page_reply(request))
    function = _fitting_tool(functions, said)
    name = str(function.get("name", ""))
    parameters = function.get("parameters")
    shape = {"type": "object", **parameters} if isinstance(parameters, Mapping) else {}
    arguments = _example(shape or {"type": "object"}, said, f"the tool {name!r}")
    call = Call(name, arguments if isinstance(arguments, Mapping) else {})
    return Reply(tool_calls=[call])


BROKEN = (
    "Streams are a bit like stories: what matters is how they end. A stream that ends well says "
    "so, and one that does not is only a stream that has stopped — as this one never should."
)

_STREAMS = """\
A stream is an ordinary HTTP response that takes its time. Here is what happens:

1. You send **one request**, and the connection stays open.
2. The server sends each token as an event, as soon as the model has it.
3. The last event says `end` — so a stream that breaks off is never mistaken for a whole answer.

Voilà! That is why these words come one after another. 💧"""

_CODE = """\
Here is a chat with dripline in Python:

```python
import asyncio
from dripline import ChatClient

async def main() -> None:
    async with ChatClient("http://127.0.0.1:8000") as client:
        print((await client.ask("Why is the sky blue?")).text)

asyncio.run(main())
```

A few things to know:

- `client.chat(...)` gives the tokens **as they come**.
- A stream that breaks off raises; you never get *half* an answer by mistake.
- It is plain HTTP underneath, so `curl` works too ✓"""

_ANSWERS = {
    r"\b(code|python|function|program|script|markdown|example)\b": _CODE,
    r"\bsky\b": (
        "The sky is blue because air scatters blue light far more than red — Rayleigh scattering. "
        "At sunset the light comes a longer way through the air, so most of the blue is gone "
        "before it reaches you."
    ),
    r"\bjoke\b": (
        "Why did the token cross the network? To get to the other `id:`! "
        "And when the line dropped, it went on from where it was. 🙂"
    ),
    r"\b(streams?|streaming|sse|events?)\b": _STREAMS,
    r"\b(who|what) are you\b|\byour name\b|\bwhich model\b": (
        "I'm the demo model that comes with dripline: a script, not a language model. I'm here so "
        "that you can watch answers stream in before you have installed anything. With Ollama "
        "running on this machine, you talk to a real model instead."
    ),
    r"\b(unicode|emoji|languages?)\b": (
        "Of course: naïve café, Größe, Ελλάδα, привет, 東京, नमस्ते, مرحبا, שלום, 안녕하세요 — "
        "and 👩‍🔬 is four characters in one."
    ),
    r"\bthank": "You're welcome!",
    r"\b(hello|hi|hey|good (morning|evening))\b": (
        "Hello! 👋 I'm dripline's demo model. Ask me how streams work, for some code, or for a "
        "joke — or say “change color to light green”."
    ),
}


def _said(request: ReceivedChat) -> str:
    """Return the last message of the user's."""
    return next((m.content for m in reversed(request.messages) if m.role == "user"), "")


def _notes(request: ReceivedChat) -> list[str]:
    """Return what the server says that it has done to the page."""
    return [
        message.content.removeprefix(NOTE)
        for message in request.messages
        if message.role == "system" and message.content.startswith(NOTE)
    ]


_DEED = re.compile(
    r"colour has just been changed to (?P<colour>.+?)(?: \(#[0-9A-F]{6}\))?\.(?= |$)"
    r'|button labelled "(?P<label>.*?)" has just been added'
)


def _done(note: str) -> str:
    """Return how a model tells the user what the server has done."""
    deeds = [
        f"changed the colour to {deed['colour']}"
        if deed["colour"]
        else f"added a button that says “{deed['label']}”"
        for deed in _DEED.finditer(note)
    ]
    return f"Done! I've {' and '.join(deeds)}." if deeds else f"Done! {note}"


def _shorten(text: str, limit: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[:limit].rstrip()}…"


def _json_reply(wanted: str | Mapping[str, JsonValue], said: str) -> str:
    """Return JSON, as `format` promises: a value that fits the schema where it is one."""
    if not isinstance(wanted, Mapping):
        return json.dumps({"you_said": _shorten(said)}, ensure_ascii=False)
    return json.dumps(_example(wanted, said, "the format"), ensure_ascii=False)


_PAGE_TOOLS = ("change_theme", "add_button")
_ABOUT_PAGE = re.compile(r"colou?r|theme|background|button", re.IGNORECASE)
_MOODS = {
    r"\b(sea|ocean|calm(er)?)\b": "cadetblue",
    r"\b(forest|woods|nature)\b": "darkseagreen",
    r"\b(sunset|warm(er)?|cosy)\b": "peachpuff",
    r"\bnight\b": "midnightblue",
}


def _page_calls(said: str) -> list[Call]:
    """Return calls of the page's tools for "something calmer, like the sea" or buttons."""
    if buttons := re.search(r"\bbuttons for (\w+) and (\w+)", said, re.IGNORECASE):
        return [Call("add_button", {"label": word.capitalize()}) for word in buttons.groups()]
    if not re.search(r"\b(something|make it|like)\b", said, re.IGNORECASE):
        return []
    moods = (color for mood, color in _MOODS.items() if re.search(mood, said, re.IGNORECASE))
    return [Call("change_theme", {"color": color}) for color in moods][:1]


def _functions(request: ReceivedChat) -> list[Mapping[str, JsonValue]]:
    """Return the functions that are offered."""
    return [f for tool in request.tools if isinstance(f := tool.get("function"), dict)]


def _fitting_tool(
    functions: Sequence[Mapping[str, JsonValue]], said: str
) -> Mapping[str, JsonValue]:
    """Return the tool whose name and description share most words with the user's message."""
    words = set(re.findall(r"\w{3,}", said.lower()))

    def shared(function: Mapping[str, JsonValue]) -> int:
        about = f"{function.get('name')} {function.get('description')}".lower()
        return sum(word in about for word in words)

    return max(functions, key=shared, default={})


def _example(schema: JsonValue, said: str, what: str) -> JsonValue:
    """Return a value that fits a JSON schema, made of the user's words where they fit.

    Raises:
        ApiError: There is none.
    """
    try:
        return value_for(schema, lambda name: _words_for(name, said), said)
    except UnsatisfiableSchema as error:
        raise ApiError(400, f"{what}: {error}") from error


def _words_for(name: str, said: str) -> str:
    """Return the user's words that an argument of this name is probably after."""
    if "colo" in name.lower():
        pattern = r"\bto\s+([\w #-]+)"
    elif "label" in name.lower():
        pattern = r"\bsays?\s+[\"“']?([^\"”']+)"
    elif any(place in name.lower() for place in ("city", "location", "place")):
        pattern = r"\bin\s+([\w -]+)"
    else:
        pattern = r"(.+)"
    found = re.search(pattern, said, re.IGNORECASE | re.DOTALL)
    return (found[1] if found else said).strip()
