"""Makes tests/recordings/: `python -m tests.support.make_recordings [NAME ...]`.

`ollama-*` is what the fake Ollama sends, `chat-*` what a dripline server sends: both are recorded
from real sockets by the recorder, and then only ports and dates are taken out. `sse-*` is written
by hand, after the standard and other vendors' documentation, and each file says so.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import (
    Exchange,
    ExchangeEnding,
    Piece,
    Recording,
    Request,
    Response,
)
from dripline.recordings.splits import inside_characters
from dripline.testing import Call, FakeOllama, Fault, Pace, Reply, Script
from dripline_server.app import serve
from dripline_server.settings import Settings

FOLDER = Path(__file__).parents[1] / "recordings"

SCRIPTS = [
    "Latin: naïve façade, ",
    "Ελληνικά: καλημέρα, ",
    "Кириллица: здравствуйте, ",
    "עברית: שלום, ",
    "العربية: مرحبا, ",
    "हिन्दी: नमस्ते, ",
    "ไทย: สวัสดี, ",
    "中文：你好，",
    "日本語：こんにちは、",
    "한국어: 안녕하세요, ",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇨🇭 e\u0301 ",
    "lines: \u0085 \u2028 \u2029 \r\n \x0b \x0c ",
    "marks: \ufeff \ufffd \U0010ffff ",
]
TOKENS = ["The", " sky", " is", " blue", "."]
PACE = Pace(cold_load=0.05, first_token=0.1, tokens_per_second=50, jitter=0.3, seed=1)
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
WEATHER = Call("get_weather", {"city": "Zürich"})

SCRIPTED: dict[str, tuple[str, Script, Mapping[str, Any]]] = {
    "plain": ("A plain answer.", Script(TOKENS, PACE), {}),
    "thinking": ("Thinking, then text.", Script(Reply(TOKENS, thinking=["Hm", "m."]), PACE), {}),
    "tools": (
        "A tool call, without text.",
        Script(Reply(tool_calls=[WEATHER]), PACE),
        {"tools": [TOOL]},
    ),
    "error": (
        "An error line after two tokens.",
        Script(TOKENS, PACE, fault=Fault.error("out of memory", at_token=2)),
        {},
    ),
    "cut": ("Cut after two tokens.", Script(TOKENS, PACE, fault=Fault.cut(at_token=2)), {}),
    "reset": ("Reset after two tokens.", Script(TOKENS, PACE, fault=Fault.reset(at_token=2)), {}),
    "truncated": (
        "Ends after two tokens, without its last line.",
        Script(TOKENS, PACE, fault=Fault.truncated(at_token=2)),
        {},
    ),
    "gap": (
        "A model that takes two seconds to load.",
        Script(TOKENS[:2], Pace(cold_load=2.0, tokens_per_second=2)),
        {},
    ),
    "scripts": (
        "Every kind of script, emoji with joiners, line ends; cut inside its characters.",
        Script(SCRIPTS, split=inside_characters),
        {},
    ),
}


def sse(
    about: str,
    pieces: Iterable[bytes],
    ending: ExchangeEnding = ExchangeEnding.EOF,
    status: int = 200,
) -> Recording:
    """A stream written by hand: a piece each tenth of a second."""
    timed = tuple(Piece(round(0.1 * n, 6), data) for n, data in zip(count(1), pieces, strict=False))
    exchange = Exchange(
        Request("GET", "http://example.com/events", (("Accept", "text/event-stream"),)),
        Response(status, (("Content-Type", "text/event-stream"),), 0.05),
        timed,
        ending,
        ended=timed[-1].at,
    )
    return Recording((exchange,), about=about, by_hand=True)


OPENAI = [
    (
        b'data: {"id":"c-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
        b'{"role":"assistant","content":""},"finish_reason":null}]}\n\n'
    ),
    'data: {"id":"c-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    '{"content":"Grüezi"},"finish_reason":null}]}\n\n'.encode(),
    (
        b'data: {"id":"c-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},'
        b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    ),
]
ANTHROPIC = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m-1","content":[]}}\n\n',
    b'event: ping\ndata: {"type": "ping"}\n\n',
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    '{"type":"text_delta","text":"Grüezi"}}\n\n'.encode(),
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]
BY_HAND = {
    "crlf": sse(
        "CRLF line ends, as sse-starlette and aiohttp-sse send them; reads end between CR and LF.",
        [b"id: 1\r", "\ndata: Grüezi\r\n\r".encode(), b"\nevent: end\r\ndata: x\r\n\r\n"],
    ),
    "cr": sse("CR line ends, which the standard allows.", [b"data: a\rdata: b\r\rid: 2\r", b"\r"]),
    "bom": sse("A byte order mark, in two reads.", [b"\xef\xbb", b"\xbfdata: a\n\ndata: b\n\n"]),
    "fields": sse(
        "Comments, retry, ids without data, ids with NUL, empty data, no space, unknown fields.",
        [
            b": hello\nretry: 1500\n\nid: 7\n\ndata\n\ndata:\ndata:  two\n\n",
            b"id: a\0b\nevent:x\ndata:no space\nunknown: field\n\nid\ndata: reset\n\n",
        ],
    ),
    "invalid": sse(
        "Bytes that are not UTF-8, and a stream that ends inside an event.",
        [b"data: a\xff\xc3(\xed\xa0\x80b\n\ndata: never", b" dispatched"],
        ExchangeEnding.CUT,
    ),
    "openai": sse("Chat completion chunks as OpenAI documents them, with [DONE].", OPENAI),
    "anthropic": sse("Messages as Anthropic documents them, with named events.", ANTHROPIC),
    "nothing": sse(
        "A heartbeat comment and then a time-out.", [b": ping\n"], ExchangeEnding.TIMEOUT
    ),
}


async def record(url: str, path: str, body: object, about: str) -> Recording:
    """Record a POST, to whatever end."""
    file = Path(tempfile.mkdtemp()) / "x.jsonl"
    async with (
        Recorder(file, about=about) as recorder,
        aiohttp.ClientSession(middlewares=[recorder]) as http,
        http.post(f"{url}{path}", json=body) as response,
    ):
        try:
            async for _ in Body(response):
                pass
        except BodyBroken:
            pass  # as is meant; the recording says how
    return Recording.load(file)


def without_ports_and_dates(recording: Recording) -> Recording:
    """Take out what is another in every run, and says nothing."""
    request, response = recording.request, recording.response
    assert response
    kept = {"content-type", "accept", "cache-control", "transfer-encoding", "x-accel-buffering"}
    exchange = replace(
        recording.exchange,
        request=replace(
            request,
            url=re.sub(r":\d+/", "/", request.url),
            headers=tuple((k, v) for k, v in request.headers if k.lower() in kept),
        ),
        response=replace(
            response, headers=tuple((k, v) for k, v in response.headers if k.lower() in kept)
        ),
    )
    return replace(recording, exchanges=(exchange,), date="")


async def make(name: str) -> Recording:
    """Make the recording of this name."""
    kind, variant = name.split("-", 1)
    if kind == "sse":
        return BY_HAND[variant]
    about, script, fields = SCRIPTED[variant]
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}
    async with FakeOllama({"m": script}) as ollama:
        if kind == "ollama":
            about = f"{about} From dripline's fake Ollama."
            return without_ports_and_dates(await record(ollama.url, "/api/chat", chat, about))
        settings = Settings(port=0, ollama=ollama.url, loading_after=0.2, heartbeat=0.5)
        async with serve(settings) as server:
            about = f"{about} From a dripline server."
            return without_ports_and_dates(await record(server.url, "/chat", chat, about))


NAMES = [
    *(f"ollama-{variant}" for variant in SCRIPTED),
    *(f"chat-{variant}" for variant in SCRIPTED),
    *(f"sse-{variant}" for variant in BY_HAND),
]


async def main(names: list[str]) -> None:
    """Make the recordings of these names, or all."""
    for name in names or NAMES:
        (await make(name)).save(FOLDER / f"{name}.jsonl", overwrite=True)
        (FOLDER / f"{name}.jsonl").chmod(0o644)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
