"""A token's way: the quick one writes what the general one does, in few calls."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, cast

import aiohttp
import orjson
import pytest
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st

import dripline
import dripline_server
from dripline.events import TEXT_JSON, TextMessage, from_json, to_json
from dripline.sse import encode_event, encode_numbered
from dripline.testing import FakeOllama, Script
from dripline.tool import Tool
from dripline.tool_runner import ToolRunner
from dripline_server import serve
from dripline_server.event_stream import EventStream
from dripline_server.metrics import Metrics
from dripline_server.run_log.memory import Budget, MemoryRunLog
from dripline_server.runs.generation import MAX_TEXTS, Generation
from dripline_server.runs.run_request import RunRequest
from dripline_server.settings import Settings
from dripline_server.upstream import ollama_events
from dripline_server.upstream.chat_chunks import Chunk, ChunkReader
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import HttpAnswer
from dripline_server.upstream.ollama import Ollama
from dripline_server.upstream.ollama_events import OllamaAnswer
from tests.support.recorded import real, recorded

MAX_LINE = 2**20
# For a token of text, from `data_received` to the transport's `write`.
MAX_FRAMES = 8
PACKAGES = tuple(str(Path(str(package.__file__)).parent) for package in (dripline, dripline_server))

OLLAMA = {
    name: one
    for name, one in {**recorded("ollama"), **real()}.items()
    if one.response and one.response.status == 200
}


class ReplayedUpstream:
    """Stands where `Ollama` does: says the same body to every request, in these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self.asked: list[bytes] = []

    async def can(self, model: str, what: str) -> bool | None:
        return None

    def note_lack(self, model: str, what: str) -> None:
        """Hear it."""

    async def chat(
        self,
        model: str,
        body: bytes,
        record: object,
        deliver_now: Callable[[list[Chunk]], bool],
        deliver_text_now: Callable[[bytes], bool],
    ) -> AsyncGenerator[list[Chunk]]:
        self.asked.append(body)
        reader = ChunkReader(MAX_LINE, deliver_now, deliver_text_now)
        for piece in self._pieces:
            if not reader.deliver_now(piece):
                if reader.chunks:
                    yield reader.chunks
                if reader.failure:
                    raise reader.failure
                if reader.done:
                    return
        reader.end()
        if reader.chunks:
            yield reader.chunks
        if reader.failure:
            raise reader.failure


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}?"


async def written(
    pieces: Sequence[bytes], *, tools: bool, think_tags: bool, quick: bool
) -> tuple[list[bytes], int, str, list[bytes]]:
    """Return what the log gets of a body, the tokens counted, the failure, what Ollama is asked."""
    log, metrics, upstream = MemoryRunLog(2**24, Budget(2**24)), Metrics(), ReplayedUpstream(pieces)
    generation = Generation(
        cast("Ollama", upstream),
        ToolRunner(timeout=5, max_result=1000),
        max_rounds=2,
        metrics=metrics,
        log=log,
        on_answer=lambda: None,
        think_tags=think_tags,
    )
    request = RunRequest("m", b'{"messages":[]}', tools=[Tool(look_up)] if tools else ())
    failure = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ollama_events, "token_hex", lambda _: "ab")
        if not quick:
            patch.setattr(Generation, "_deliver_text_now", lambda *_: False)
        try:
            await generation.run(request)
        except UpstreamError as error:
            failure = f"{error.code}: {error.message}"
    await log.finish([b"end"])
    async with log.follow(0) as batches:
        payloads = [payload async for batch in batches for payload in batch.payloads]
    return payloads, metrics.tokens, failure, upstream.asked


def ways(pieces: Sequence[bytes], *, tools: bool = False, think_tags: bool = False) -> list[bytes]:
    """Check that both ways do the same; return what they write."""

    async def both() -> list[bytes]:
        quick = await written(pieces, tools=tools, think_tags=think_tags, quick=True)
        general = await written(pieces, tools=tools, think_tags=think_tags, quick=False)
        assert quick == general
        return quick[0]

    return asyncio.run(both())


def read(pieces: Sequence[bytes], *, quick: bool) -> tuple[list[bytes], bool, str]:
    """Return what the log would get of these pieces, whether they end, and what they fail of."""
    answer, payloads = OllamaAnswer(0.0), list[bytes]()

    def deliver_text(inside: bytes) -> bool:
        payloads.append(TEXT_JSON % inside)
        return quick

    def deliver(chunks: list[Chunk]) -> bool:
        payloads.extend(map(to_json, answer.events(chunks, 1.0)))
        return True

    reader = ChunkReader(MAX_LINE, deliver, deliver_text if quick else lambda _: False)
    for piece in pieces:
        if not reader.deliver_now(piece):
            break
    else:
        reader.end()
    payloads += map(to_json, answer.events(reader.chunks, 1.0)) if reader.chunks else ()
    return payloads, reader.done, str(reader.failure)


@pytest.mark.parametrize("name", OLLAMA)
def test_both_ways_read_the_same_of_every_recording(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever its pieces end: in each line at every place, the lines beside it whole."""
    monkeypatch.setattr(ollama_events, "token_hex", lambda _: "ab")
    body = OLLAMA[name].body
    lines = body.splitlines(keepends=True)
    assert read(lines, quick=True) == read([body], quick=False)
    for nth, one in enumerate(lines):
        before, after = lines[max(0, nth - 1) : nth], lines[nth + 1 : nth + 2]
        expected = read([b"".join([*before, one, *after])], quick=False)
        for at in range(1, len(one)):
            assert read([*before, one[:at], one[at:], *after], quick=True) == expected


@pytest.mark.parametrize("tools", [False, True])
@pytest.mark.parametrize("name", OLLAMA)
def test_both_ways_write_the_same_of_every_recording(name: str, tools: bool) -> None:
    """A run's log, what is counted, what is asked next: whatever a read brings."""
    body = OLLAMA[name].body

    async def all_ways() -> None:
        expected = await written([body], tools=tools, think_tags=True, quick=False)
        lines = body.splitlines(keepends=True)
        assert await written(lines, tools=tools, think_tags=True, quick=True) == expected

    asyncio.run(all_ways())


def line(text: str, *, ascii_alone: bool, spaces: bool, more: dict[str, Any]) -> bytes:
    """A line as Ollama writes it, or as something that stands in for it does."""
    record = {
        "model": "m",
        "created_at": "2026-08-04T10:00:00.1Z",
        "message": {"role": "assistant", "content": text},
        "done": False,
        **more,
    }
    separators = (", ", ": ") if spaces else (",", ":")
    return json.dumps(record, ensure_ascii=ascii_alone, separators=separators).encode(
        errors="surrogatepass"
    )


Texts = st.one_of(
    st.text(st.characters()),
    st.sampled_from(
        ["", " ", "\n", "a", " a", "a\u3000", '"', "\\", "/", "\\u0061", "\x7f", "\x85"]
    ),
    st.sampled_from(["<think>", "</think>", "<", "\u2028", "\ud83d", "\ude00", "é", "😀", "\x00"]),
)
Lines = st.builds(
    line,
    Texts,
    ascii_alone=st.booleans(),
    spaces=st.sampled_from([False, False, False, True]),
    more=st.sampled_from([{}, {}, {}, {"logprobs": None}, {"done_reason": "x"}]),
)
# As JSON may also be written, by hand or by other programs.
ODD = [
    rb'{"model":"m","created_at":"t","message":{"role":"assistant","content":"%b"},"done":false}'
    % inside
    for inside in (
        rb"\/",
        rb"\u003c\u003e\u0026",
        rb"\u00e9\u2028",
        rb"\ud83d\ude00",
        rb"\ud83d",
        rb"\x",
        rb"\u12",
        b"\xff",
        b"\xed\xa0\xbd",
        b"\xc2\x85",
        rb"\b\f\n\r\t\"\\",
        b"\x7f",
    )
]


@given(
    st.lists(st.one_of(Lines, st.sampled_from(ODD)), max_size=8),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@example([line("a", ascii_alone=True, spaces=False, more={})] * 40, True, False, False)
@example([line("a ", ascii_alone=True, spaces=False, more={})] * 31, False, False, False)
@example([line("é", ascii_alone=False, spaces=False, more={})] * 31, False, False, False)
@example([line("b", ascii_alone=True, spaces=False, more={})] * (MAX_TEXTS + 2), True, True, False)
def test_both_ways_write_the_same_bytes_of_any_text(
    lines: list[bytes], done: bool, tools: bool, think_tags: bool
) -> None:
    """Escapes, surrogates, unusual spacing, bytes that are no UTF-8: and the same failures."""
    ends = [b'{"message":{"content":""},"done":true,"done_reason":"stop"}'] if done else []
    ways([one + b"\n" for one in (*lines, *ends)], tools=tools, think_tags=think_tags)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_the_quick_way_is_taken(text: str) -> None:
    """A second piece of text, as Ollama writes it, makes no string, event or JSON of its own."""
    made: list[bytes] = []

    def deliver_text(inside: bytes) -> bool:
        made.append(inside)
        return True

    reader = ChunkReader(MAX_LINE, lambda _: False, deliver_text)
    for ascii_alone in (False, True):
        one = line(text, ascii_alone=ascii_alone, spaces=False, more={})
        if len(one) < 1024:
            assert reader.deliver_now(one + b"\n")
            assert made.pop() == orjson.dumps(text)[1:-1]


def test_a_tools_transcript_has_the_text_of_both_ways() -> None:
    """What the model said before it called a tool is sent back to it whole and in order."""
    call = {"function": {"name": "look_up", "arguments": {"word": "sky"}}}
    said = [line(text, ascii_alone=False, spaces=False, more={}) for text in ("I ", "lö", "ok\n")]
    called = orjson.dumps({"message": {"content": "", "tool_calls": [call]}, "done": True})
    pieces = [one + b"\n" for one in (*said, called)]

    async def ask() -> list[bytes]:
        return (await written(pieces, tools=True, think_tags=False, quick=True))[3]

    first, second, *_ = asyncio.run(ask())
    assert orjson.loads(first)["messages"] == []
    assert orjson.loads(second)["messages"][0]["content"] == "I löok\n"


@given(st.integers(1, 10**12), st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_numbered_events_are_those_of_the_general_encoder(first: int, texts: list[str]) -> None:
    lines = [to_json(TextMessage(text)) for text in texts]
    each = [encode_event(one, id=str(number)) for number, one in enumerate(lines, start=first)]
    assert encode_numbered(first, lines) == b"".join(each)
    assert [from_json(one) for one in lines] == [TextMessage(text) for text in texts]


class Calls:
    """Counts the Python calls from `data_received` to its return, those that wrote to a reader."""

    def __init__(self) -> None:
        self.roads: list[list[str]] = []
        self._road: list[CodeType] | None = None

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if code is HttpAnswer.data_received.__code__ and event == "call":
            self._road = []
        if self._road is None:
            return
        if event == "call":
            self._road.append(code)
        elif event == "return" and code is HttpAnswer.data_received.__code__:
            if EventStream.deliver_now.__code__ in self._road:
                self.roads.append([f"{one.co_filename}:{one.co_qualname}" for one in self._road])
            self._road = None


@pytest.mark.parametrize("functions", [(), (look_up,)])
def test_a_token_takes_few_python_calls(functions: Sequence[Any]) -> None:
    """From Ollama's bytes to the reader's socket; each call is in the layer that it belongs to."""
    calls = Calls()

    async def chat() -> None:
        script = Script(["word"] * 60)
        async with (
            FakeOllama({"story": script}) as ollama,
            serve(Settings(port=0, ollama=ollama.url, model="story"), functions) as server,
            aiohttp.ClientSession() as http,
            http.post(
                f"{server.url}/chat", json={"messages": [{"role": "user", "content": "Hi"}]}
            ) as response,
        ):
            sys.setprofile(calls)
            try:
                await response.read()
            finally:
                sys.setprofile(None)

    uvloop.run(chat())
    assert calls.roads
    shortest = min(calls.roads, key=len)
    assert len(shortest) <= MAX_FRAMES, shortest
    assert all(name.startswith(PACKAGES) for name in shortest)
