"""A recording served over HTTP is what was recorded: status, headers, pieces, time and ending."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from dripline import EventDecoder
from dripline.clock import VirtualClock
from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import ExchangeEnding, Piece, Recording, Request, Response
from dripline.recordings.replay import resumed
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.splits import SplitPlan, as_recorded, every_byte, inside_characters, whole
from dripline.sse import encode_event
from tests.support.raw_http import End, raw_exchange
from tests.support.recordings import recording_of

EVENTS = [encode_event(f"Grüße {n}", id=str(n)) for n in range(1, 5)]


@pytest.mark.parametrize("split", [as_recorded, whole, every_byte, inside_characters], ids=str)
@pytest.mark.parametrize(
    ("ending", "end"),
    [
        (ExchangeEnding.EOF, "complete"),
        (ExchangeEnding.CUT, "FIN"),
        (ExchangeEnding.RESET, "RST"),
        (ExchangeEnding.CANCELLED, "FIN"),
        (ExchangeEnding.UNFINISHED, "FIN"),
    ],
)
async def test_pieces_and_ending(split: SplitPlan, ending: ExchangeEnding, end: End) -> None:
    """Each piece is an HTTP chunk of its own, and a reset is a reset."""
    recording = recording_of(EVENTS, ending=ending)
    async with ReplayServer(recording, split=split, speed=math.inf) as server:
        response = await raw_exchange(server.url, "GET", "/any/where?at=all")
    assert response.chunks == split(EVENTS)
    assert (response.status, response.end) == (200, end)
    assert response.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize(
    ("ending", "end"),
    [
        (ExchangeEnding.RESET, "RST"),
        (ExchangeEnding.CUT, "FIN"),
        (ExchangeEnding.UNREACHABLE, "FIN"),
    ],
)
async def test_an_end_before_the_response(ending: ExchangeEnding, end: End) -> None:
    """Where no response came, none comes."""
    async with ReplayServer(Recording(ending=ending, ended=0.0), speed=math.inf) as server:
        response = await raw_exchange(server.url, "GET", "/")
    assert (response.status, response.end) == (0, end)


@pytest.mark.parametrize(
    ("response", "body", "expected"),
    [
        (Response(404, (("Content-Length", "2"), ("X-A", "b"), ("X-A", "c"))), b"no", b"no"),
        (Response(200, (("Content-Length", "9"),)), b"shorter", b"shorter"),
        (Response(200, (("Transfer-Encoding", "chunked"), ("Connection", "close"))), b"x", b"x"),
        (Response(503, (("Retry-After", "3"),)), b"", b""),
        (Response(204), b"", b""),
    ],
)
async def test_status_and_headers(response: Response, body: bytes, expected: bytes) -> None:
    """They are the recorded ones, but for HTTP's own framing, which fits the body."""
    pieces = (Piece(0, body),) if body else ()
    recording = Recording(Request(), response, pieces, ExchangeEnding.EOF, ended=0.0)
    async with (
        ReplayServer(recording, speed=math.inf) as server,
        aiohttp.ClientSession() as http,
        http.get(server.url) as answer,
    ):
        assert await answer.read() == expected
    assert answer.status == response.status
    for name, _ in response.headers:
        if name.startswith(("X-", "Retry")):
            found = [value for known, value in response.headers if known == name]
            assert answer.headers.getall(name) == found


@pytest.mark.parametrize(
    "ending", [ExchangeEnding.EOF, ExchangeEnding.CUT, ExchangeEnding.RESET, ExchangeEnding.TIMEOUT]
)
async def test_recorded_again_it_is_the_same(tmp_path: Path, ending: ExchangeEnding) -> None:
    """Recording, replay, recording: nothing is lost on the way."""
    original = recording_of(EVENTS, ending=ending)
    async with (
        ReplayServer(original, speed=math.inf) as server,
        Recorder(tmp_path / "x.jsonl") as recorder,
        aiohttp.ClientSession(
            middlewares=[recorder], timeout=aiohttp.ClientTimeout(sock_read=0.3)
        ) as http,
        http.get(server.url) as response,
    ):
        try:
            came = [piece async for piece in Body(response)]
        except BodyBroken:
            came = []
    again = Recording.load(tmp_path / "x.jsonl")
    assert again.chunks == original.chunks
    assert again.ending is original.ending
    assert not came or came == original.chunks
    assert original.response
    assert again.response
    assert set(original.response.headers) <= set(again.response.headers)


async def test_the_pace_is_the_recorded_one() -> None:
    """By the clock that is injected: a minute between the pieces passes at once."""
    clock = VirtualClock()
    async with ReplayServer(recording_of(EVENTS, gap=60.0), clock=clock) as server:
        await raw_exchange(server.url, "GET", "/")
        assert clock.now == pytest.approx(60.0 * 5)
        await raw_exchange(server.url, "GET", "/")
        assert clock.now == pytest.approx(2 * 60.0 * 5)


async def test_pieces_are_not_held_back() -> None:
    """The first event can be read while the server waits for the time of the second."""
    recording = recording_of([EVENTS[0], EVENTS[1]])
    assert recording.response
    late = (Piece(0.5, EVENTS[0]), Piece(1e9, EVENTS[1]))
    stalled = replace(recording, pieces=late, ended=1e9)
    async with (
        ReplayServer(stalled, speed=1e3) as server,
        aiohttp.ClientSession() as http,
        http.get(server.url) as response,
    ):
        assert await response.content.readany() == EVENTS[0]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("seen", range(1, 5))
@pytest.mark.parametrize("split", [as_recorded, whole, every_byte], ids=str)
async def test_it_goes_on_behind_the_last_event(
    line_end: bytes, seen: int, split: SplitPlan
) -> None:
    """With `Last-Event-ID`, what comes is what the client lacks; 204 where it lacks nothing."""
    body = b"".join(EVENTS).replace(b"\n", line_end)
    recording = recording_of(split([body]))
    async with ReplayServer(recording, speed=math.inf) as server, aiohttp.ClientSession() as http:
        headers = {"Last-Event-ID": str(seen)}
        async with http.get(server.url, headers=headers) as response:
            came = EventDecoder().feed(await response.read())
    assert [event.id for event in came] == [str(n) for n in range(seen + 1, 5)]
    assert response.status == (204 if seen == 4 else 200)


def test_what_is_left_comes_in_its_time() -> None:
    """The wait before the next piece is what it was in the middle of the stream."""
    recording = recording_of([*EVENTS[:2], EVENTS[2] + EVENTS[3][:5], EVENTS[3][5:]])
    rest = resumed(recording, "3")
    assert rest.chunks == [EVENTS[3][:5], EVENTS[3][5:]]
    assert rest.started == 2.0
    assert [piece.at for piece in rest.pieces] == [3.0, 4.0]
    assert resumed(recording, "99") == recording


def test_a_crlf_is_one_line_end() -> None:
    """A block with several lines does not end at its first CRLF."""
    body = b"id: 1\r\ndata: a\r\n\r\nid: 2\r\ndata: b\r\n\r\n"
    assert resumed(recording_of([body]), "1").body == b"id: 2\r\ndata: b\r\n\r\n"


async def test_other_methods_get_no_stream() -> None:
    """A client's DELETE, which stops a run, is taken."""
    recording = replace(recording_of(EVENTS), request=Request("POST"))
    statuses = {}
    async with ReplayServer(recording, speed=math.inf) as server, aiohttp.ClientSession() as http:
        for method in ("POST", "GET", "DELETE"):
            async with http.request(method, server.url) as response:
                statuses[method] = (response.status, await response.read())
    stream = b"".join(EVENTS)
    assert statuses == {"POST": (200, stream), "GET": (200, stream), "DELETE": (204, b"")}


async def test_closing_breaks_off_what_goes_on() -> None:
    """No task and no socket is left; a client that leaves leaves none either."""
    before = asyncio.all_tasks()
    server = ReplayServer(recording_of(EVENTS, ending=ExchangeEnding.TIMEOUT), speed=math.inf)
    async with server, aiohttp.ClientSession() as http:
        left = await http.get(server.url)
        await left.content.readany()
        left.close()
        async with http.get(server.url) as response:
            await response.content.readany()
            await server.close()
            await server.close()
            with pytest.raises(aiohttp.ClientError):
                await response.read()
    assert asyncio.all_tasks() == before
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


async def test_a_port_that_is_taken() -> None:
    """Is an error, and leaves nothing behind."""
    recording = recording_of(EVENTS)
    async with ReplayServer(recording) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"):
            await ReplayServer(recording, port=port).start()
        with pytest.raises(RuntimeError, match="running already"):
            await server.start()
    with pytest.raises(ValueError, match="speed"):
        ReplayServer(recording, speed=0)
