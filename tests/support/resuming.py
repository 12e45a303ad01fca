"""What tests of resuming read, and how."""

from __future__ import annotations

from dripline import Backoff, ChatStream, Event
from dripline.testing import Call, Reply, Script

AT_ONCE = Backoff(first=0, attempts=1000)
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
SHORT = Script(
    Reply(
        ["Grüezi ", "👩‍👩‍👧", "\r\n"],
        thinking=["Hm\u2028"],
        tool_calls=[Call("weather", {"city": "Zürich"}, id="call_1")],
    )
)
WORDS = [f"{word}{n} " for n in range(100) for word in ("naïve", "здравствуйте", "你好", "🇨🇭")]


async def read(events: ChatStream) -> list[Event]:
    """Read a stream to its end; the ids must be those of the events."""
    found = []
    async for event in events:
        found.append(event)
        assert events.last_event_id == str(len(found))
    return found
