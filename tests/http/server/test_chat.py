"""`POST /chat`: a chat becomes a stream of events."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import orjson
import pytest

from dripline import (
    AddButton,
    ChangeTheme,
    End,
    Event,
    EventDecoder,
    Start,
    Status,
    TextMessage,
    Thinking,
)
from dripline.events import ToolCall, from_json
from dripline.recordings.splits import every_byte
from dripline.testing import (
    Call,
    Ending,
    Fault,
    Pace,
    Phase,
    Reply,
    Script,
)
from tests.support.stack import Stack, stack, user


async def events_of(response: aiohttp.ClientResponse) -> list[Event]:
    """Read a stream to its end."""
    body = await response.read()
    found = (from_json(message.data) for message in EventDecoder().feed(body))
    return [event for event in found if event]


async def test_the_stream_is_the_documented_one() -> None:
    """Headers, frames, order and the one `end` are what the README says."""
    async with stack(Script(["Once", " upon", " a time"])) as s:
        response = await s.http.post(f"{s.url}/chat", json={"messages": user("Tell me a story")})
        body = await response.text()
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    frames = body.split("\n\n")
    assert frames.pop() == ""
    run_id = response.headers["X-Run-Id"]
    start = {"agent": "ollama", "run_id": run_id, "model": "story"}
    assert frames[0] == f"id: 1\ndata: {orjson.dumps({'type': 'start', 'data': start}).decode()}"
    assert frames[1] == 'id: 2\ndata: {"type":"text_message","data":{"content":"Once"}}'
    assert [frame.splitlines()[0] for frame in frames] == [f"id: {n}" for n in range(1, 6)]
    end = orjson.loads(frames[-1].split("data: ")[1])
    assert end["type"] == "end"
    assert end["data"]["status"] == "completed"
    assert end["data"]["reason"] == "stop"
    usage = end["data"]["usage"]
    assert usage["completion_tokens"] == 3
    assert usage["prompt_tokens"] > 0
    assert 0 <= usage["first_token_time"] <= usage["total_time"]


async def test_headers_and_start_come_while_the_model_loads() -> None:
    """Nothing is held back until the first token; readers hear that the model loads."""
    script = Script(pace=Pace(cold_load=math.inf))
    async with stack(script, loading_after=0.01, heartbeat=0.05) as s:
        response = await s.http.post(f"{s.url}/chat", json={"messages": user("Hi")})
        decoder, raw = EventDecoder(), b""
        events: list[Event | None] = []
        while b": ping\n" not in raw or len(events) < 2:
            chunk = await response.content.readany()
            raw += chunk
            events += [from_json(message.data) for message in decoder.feed(chunk)]
        assert events == [
            Start("ollama", response.headers["X-Run-Id"], "story"),
            Status("loading", "story"),
        ]
        assert b": ping\n\n" not in raw
        response.close()


async def test_a_loaded_model_is_not_said_to_load() -> None:
    """Silence before the first token is waiting where the model is in memory."""
    script = Script(pace=Pace(first_token=0.1))
    async with stack(script, loading_after=0.001) as s:
        await s.client.ask("Warm up")
        async with s.client.chat("Hi") as stream:
            events = [event async for event in stream]
    assert [e for e in events if isinstance(e, Status)] == [Status("waiting", "story")]


async def test_thinking_text_and_tool_calls_keep_their_order() -> None:
    """Each kind of chunk becomes its own event, as it comes."""
    call = Call("weather", {"city": "Zürich"}, id="call_1")
    script = Script(Reply(["Let me", " look."], thinking=["Hmm"], tool_calls=[call]))
    tool: dict[str, Any] = {
        "type": "function",
        "function": {"name": "weather", "description": "", "parameters": {"type": "object"}},
    }
    async with (
        stack(script) as s,
        s.client.chat("Weather?", tools=[tool]) as stream,
    ):
        events = [event async for event in stream]
    assert events[1:-1] == [
        Thinking("Hmm"),
        TextMessage("Let me"),
        TextMessage(" look."),
        ToolCall("call_1", "weather", {"city": "Zürich"}),
    ]


async def test_everything_that_ollama_takes_is_passed_on() -> None:
    """Every field reaches Ollama as it was sent, and no other does."""
    message = {
        "role": "user",
        "content": "Look",
        "images": ["aGVsbG8="],
    }
    earlier = {
        "role": "assistant",
        "content": "",
        "thinking": "Hmm",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
    }
    result = {"role": "tool", "content": "42", "tool_name": "f"}
    fields: dict[str, Any] = {
        "messages": [earlier, result, message],
        "model": "story",
        "options": {"temperature": 0.2, "stop": ["\n"]},
        "format": {"type": "object"},
        "keep_alive": "10m",
        "think": False,
        "logprobs": True,
        "top_logprobs": 2,
    }
    script = Script(capabilities=["completion", "thinking", "tools", "vision"])
    async with stack(script) as s:
        response = await s.http.post(f"{s.url}/chat", json={**fields, "ui_control": "off"})
        await response.read()
        assert s.ollama.chats[-1].body == {**fields, "stream": True}


async def test_a_request_for_colour_is_obeyed_and_told_to_the_model() -> None:
    """The event comes before `start`, and the model is told what has been done."""
    async with stack(Script(["Done!"])) as s:
        prompt = "Change color to light green"
        response = await s.http.post(f"{s.url}/chat", json={"messages": user(prompt)})
        events = await events_of(response)
        sent = s.ollama.chats[-1].body
    assert events[0] == ChangeTheme("#90EE90")
    assert isinstance(events[1], Start)
    assert isinstance(sent, dict)
    note, asked = sent["messages"]
    assert note["role"] == "system"
    assert "light green" in note["content"]
    assert asked["content"] == prompt


async def test_a_button_is_added_and_talk_about_colours_does_nothing() -> None:
    """Rules act on requests to the page, and only where they are on."""
    async with stack(Script()) as s:
        asked = await s.client.ask("Add a button that says Tell me a joke")
        talked = await s.client.ask("What is the color of the sky?")
        off = await s.client.ask("Change color to light green", ui_control="off")
    assert asked.ui_controls == [AddButton("Tell me a joke", "Tell me a joke")]
    assert talked.ui_controls == off.ui_controls == []


async def test_an_answer_in_one_piece() -> None:
    """`stream: false` answers one JSON object."""
    async with stack(Script(Reply(["One", " two"], thinking="Hmm"))) as s:
        body = {"messages": user("Make the background navy"), "stream": False}
        response = await s.http.post(f"{s.url}/chat", json=body)
        answer = await response.json()
    assert response.status == 200
    assert answer.pop("usage")["completion_tokens"] > 0
    assert answer == {
        "run_id": response.headers["X-Run-Id"],
        "model": "story",
        "text": "One two",
        "thinking": "Hmm",
        "tool_calls": [],
        "ui_controls": [{"action": "change_theme", "color": "#000080"}],
        "status": "completed",
        "reason": "stop",
    }


async def test_a_failed_answer_in_one_piece_is_an_error_status() -> None:
    """A failure keeps its code, and what came before it."""
    async with stack(Script(["One", " two"], fault=Fault.cut(at_token=1))) as s:
        body = {"messages": user("Hi"), "stream": False}
        response = await s.http.post(f"{s.url}/chat", json=body)
        answer = await response.json()
    assert response.status == 502
    assert answer["error"]["code"] == "upstream_cut"
    assert answer["text"] == "One"
    assert answer["status"] == "failed"


async def test_nobody_waits_for_a_whole_answer_that_was_left() -> None:
    """Without a stream nobody could come back to the run, so it is stopped at once."""
    async with stack(Script(fault=Fault.stall(at_token=1)), grace=600) as s:
        body = {"messages": user("Hi"), "stream": False}
        asking = asyncio.create_task(s.http.post(f"{s.url}/chat", json=body))
        request = await s.ollama.wait_for_request()
        await request.wait_phase(Phase.STALLED)
        asking.cancel()
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_a_whole_answer_has_a_bound() -> None:
    """An answer that never ends is stopped, and the request told to stream."""
    async with stack(Script(["word "] * 1000), log_bytes=5000) as s:
        body = {"messages": user("Hi"), "stream": False}
        response = await s.http.post(f"{s.url}/chat", json=body)
        error = (await response.json())["error"]
    assert (response.status, error["code"]) == (502, "answer_too_large")


LEAVE: dict[str, tuple[Script, Phase]] = {
    "cold load": (Script(pace=Pace(cold_load=math.inf)), Phase.LOADING),
    "before the first token": (Script(pace=Pace(first_token=math.inf)), Phase.EVALUATING),
    "mid-answer": (Script("word " * 10_000, pace=Pace(tokens_per_second=50)), Phase.ANSWERING),
    "stall": (Script("word " * 9, fault=Fault.stall(at_token=3)), Phase.STALLED),
}


@pytest.mark.parametrize(("script", "phase"), LEAVE.values(), ids=LEAVE)
async def test_upstream_closes_when_the_reader_leaves(script: Script, phase: Phase) -> None:
    """Within 100 ms Ollama's socket is closed, whatever Ollama is doing.

    The best of five counts: a busy machine may be late, but it cannot be early.
    """
    delays = []
    async with stack(script, grace=0) as s:
        for nth in range(5):
            response = await s.http.post(f"{s.url}/chat", json={"messages": user("Hi")})
            request = await s.ollama.wait_for_request(nth + 1)
            await request.wait_phase(phase)
            left = asyncio.get_running_loop().time()
            response.close()
            assert await request.wait_ended() is Ending.CLIENT_LEFT
            await request.wait_closed()
            assert request.closed_at is not None
            delays.append(request.closed_at - left)
    assert min(delays) < 0.1


async def test_more_streams_at_once_than_http_clients_allow() -> None:
    """Stream 101 is not kept waiting: 150 are open at once before any of them ends."""
    async with stack(Script(fault=Fault.stall(at_token=1))) as s, AsyncExitStack() as streams:
        connector = aiohttp.TCPConnector(limit=0)
        http = await streams.enter_async_context(aiohttp.ClientSession(connector=connector))
        for _ in range(150):
            response = await http.post(f"{s.url}/chat", json={"messages": user("Hi")})
            streams.callback(response.close)
        for nth in range(150):
            request = await s.ollama.wait_for_request(nth + 1)
            await request.wait_phase(Phase.STALLED)


async def test_heartbeats_do_not_disturb_the_answer() -> None:
    """Comment lines between slow tokens, and every decoder still gets each event once."""
    script = Script(["a", "b", "c"], pace=Pace(tokens_per_second=10), split=every_byte)
    async with stack(script, heartbeat=0.02) as s:
        response = await s.http.post(f"{s.url}/chat", json={"messages": user("Hi")})
        body = await response.read()
    assert body.count(b": ping\n") >= 2
    decoded = EventDecoder().feed(body)
    assert [message.id for message in decoded] == ["1", "2", "3", "4", "5"]
    assert isinstance(from_json(decoded[-1].data), End)


async def test_shutdown_ends_every_stream() -> None:
    """No reader is left without its `end` when the server stops."""
    script = Script(fault=Fault.stall(at_token=1))
    s: Stack
    async with aiohttp.ClientSession() as http:
        async with stack(script) as s:
            response = await http.post(f"{s.url}/chat", json={"messages": user("Hi")})
            request = await s.ollama.wait_for_request()
            await request.wait_phase(Phase.STALLED)
        events = await events_of(response)
    assert [type(event).__name__ for event in events[-2:]] == ["Error", "End"]
