"""A recording served over HTTP is what was recorded: status, headers, pieces, time and ending."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import aiohttp
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from dripline import EventDecoder
from dripline.clock import VirtualClock
from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.matching import Match, UnexpectedRequest
from dripline.recordings.recorder import Recorder
from dripline.recordings.recording import (
    Exchange,
    ExchangeEnding,
    Piece,
    Recording,
    Request,
    Response,
)
from dripline.recordings.replay import ending_to_replay, resumed
from dripline.recordings.replay_server import ReplayServer
from dripline.recordings.replayed_request import ReplayEnding
from dripline.recordings.splits import (
    SplitPlan,
    as_recorded,
    every_byte,
    inside_characters,
    usual_splits,
    whole,
)
from dripline.sse import encode_event
from tests.support.raw_http import End, raw_exchange
from tests.support.recordings import exchange_of, recording_of, recordings

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
        response = await raw_exchange(server.url, "GET", "/")
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
    async with ReplayServer(Exchange(ending=ending, ended=0.0), speed=math.inf) as server:
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
    recording = Exchange(Request(), response, pieces, ExchangeEnding.EOF, ended=0.0)
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
    recording = recording_of(EVENTS, gap=60.0)
    async with ReplayServer(recording, clock=clock, repeat=True) as server:
        await raw_exchange(server.url, "GET", "/")
        assert clock.now == pytest.approx(60.0 * 5)
        await raw_exchange(server.url, "GET", "/")
        assert clock.now == pytest.approx(2 * 60.0 * 5)


async def test_pieces_are_not_held_back() -> None:
    """The first event can be read while the server waits for the time of the second."""
    exchange = exchange_of([EVENTS[0], EVENTS[1]])
    late = (Piece(0.5, EVENTS[0]), Piece(1e9, EVENTS[1]))
    stalled = replace(exchange, pieces=late, ended=1e9)
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
    exchange = exchange_of([*EVENTS[:2], EVENTS[2] + EVENTS[3][:5], EVENTS[3][5:]])
    rest = resumed(exchange, "3")
    assert rest
    assert rest.chunks == [EVENTS[3][:5], EVENTS[3][5:]]
    assert rest.started == 2.0
    assert [piece.at for piece in rest.pieces] == [3.0, 4.0]
    assert resumed(exchange, "99") is None


def test_a_crlf_is_one_line_end() -> None:
    """A block with several lines does not end at its first CRLF."""
    body = b"id: 1\r\ndata: a\r\n\r\nid: 2\r\ndata: b\r\n\r\n"
    rest = resumed(exchange_of([body]), "1")
    assert rest
    assert rest.body == b"id: 2\r\ndata: b\r\n\r\n"


async def test_closing_breaks_off_what_goes_on() -> None:
    """No task and no socket is left; a client that leaves leaves none either."""
    before = asyncio.all_tasks()
    recording = recording_of(EVENTS, ending=ExchangeEnding.TIMEOUT)
    server = ReplayServer(recording, speed=math.inf, repeat=True)
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


CHAT_PATH = "/api/chat"


def answers(*texts: str) -> Recording:
    """A recording of chats that are asked with their number, and answered with these texts."""
    found = [
        exchange_of(
            [b'{"message":{"content":"%b"}}\n' % text.encode(), b'{"done":true}\n'],
            content_type="application/x-ndjson",
            request=Request("POST", f"http://127.0.0.1:11434{CHAT_PATH}", body=b'{"n":%d}' % n),
        )
        for n, text in enumerate(texts, start=1)
    ]
    return Recording(tuple(found))


async def ask(http: aiohttp.ClientSession, url: str, n: int, path: str = CHAT_PATH) -> str:
    """What comes for the chat with this number: its text, or a status and a message."""
    async with http.post(f"{url}{path}", json={"n": n}) as response:
        body = await response.read()
        if response.status != 200:
            error = orjson.loads(body)["error"]
            return f"{response.status} {error if isinstance(error, str) else error['message']}"
        text: str = orjson.loads(body.partition(b"\n")[0])["message"]["content"]
        return text


@pytest.mark.parametrize("split", [as_recorded, every_byte], ids=str)
async def test_every_exchange_is_played(split: SplitPlan) -> None:
    """The same request again gets the next answer, and requests at once each get their own."""
    async with (
        ReplayServer(answers("a", "b", "c"), split=split, speed=math.inf) as server,
        aiohttp.ClientSession() as http,
    ):
        found = await asyncio.gather(*(ask(http, server.url, n) for n in (3, 1, 2)))
        assert found == ["c", "a", "b"]
        assert [request.ended for request in server.requests] == [ReplayEnding.FINISHED] * 3
        assert all(request.got_whole_answer for request in server.requests)
        server.assert_expected()


@pytest.mark.parametrize("path", [CHAT_PATH, "/v1/chat/completions", "/other"])
async def test_an_unexpected_request_is_refused(path: str) -> None:
    """With an error status that says what came, and never with nothing or an old answer."""
    seen: list[UnexpectedRequest] = []
    async with (
        ReplayServer(answers("a"), speed=math.inf, on_unexpected=seen.append) as server,
        aiohttp.ClientSession() as http,
    ):
        assert await ask(http, server.url, 1) == "a"
        refusal = await ask(http, server.url, 2, path)
        assert refusal.startswith(f"404 unexpected request: POST {path}\n")
        assert "the nearest recorded request is POST /api/chat" in refusal
        assert "body.n: recorded 1, came 2" in refusal
        assert [*server.unexpected] == seen
        assert server.requests[-1].ended is ReplayEnding.UNEXPECTED
        with pytest.raises(UnexpectedRequest, match=r"body\.n: recorded 1, came 2"):
            server.assert_expected()
        async with http.delete(f"{server.url}/runs/1") as response:
            assert response.status == 404
            assert b"unexpected request: DELETE /runs/1" in await response.read()


async def test_the_recorded_api_may_begin_elsewhere() -> None:
    """A server's own path stands before the paths that its clients ask for."""
    request = Request("POST", "https://example.com/openai/v1/chat/completions")
    recording = recording_of(EVENTS, request=request)
    async with (
        ReplayServer(recording, speed=math.inf, root="/openai/") as server,
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/v1/chat/completions") as response,
    ):
        assert await response.read() == b"".join(EVENTS)


async def test_a_large_request_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures come in the body; what is beyond all measure is refused."""
    monkeypatch.setattr("dripline.recordings.serving.MAX_BODY", 2**22)
    picture = b'{"images":["%b"]}' % (b"x" * 2**21)
    request = Request("POST", f"http://127.0.0.1:11434{CHAT_PATH}", body=picture)
    recording = recording_of(EVENTS, request=request)
    async with (
        ReplayServer(recording, speed=math.inf, match="body") as server,
        aiohttp.ClientSession() as http,
    ):
        async with http.post(f"{server.url}{CHAT_PATH}", data=BytesIO(picture)) as response:
            assert response.status == 200
        async with http.post(
            f"{server.url}{CHAT_PATH}", data=BytesIO(b"x" * (2**22 + 1))
        ) as response:
            assert response.status == 413


async def test_a_client_that_came_back_in_the_recording_too() -> None:
    """Its second request has an exchange of its own, which comes before the rest of the first."""
    back = Request("GET", "http://localhost/", (("Last-Event-ID", "2"),))
    first = exchange_of(EVENTS[:2], ending=ExchangeEnding.CUT)
    second = exchange_of([b"data: as recorded\n\n"], request=back)
    recording = Recording((first, second))
    async with ReplayServer(recording, speed=math.inf) as server, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with http.get(server.url) as response:
                await response.read()
        for expected in (b"data: as recorded\n\n", b""):
            try:
                async with http.get(server.url, headers={"Last-Event-ID": "2"}) as response:
                    assert await response.read() == expected
            except aiohttp.ClientPayloadError:
                assert not expected  # what is left of the first, which was cut


async def test_it_goes_on_with_the_stream_that_was_played_last() -> None:
    """Streams count their events from 1, each; a path of its own is not asked for."""
    streams = [
        exchange_of(
            [encode_event(f"{name}{n}", id=str(n)) for n in range(1, 4)],
            request=Request("POST", f"http://localhost/{name}"),
        )
        for name in "ab"
    ]
    async with (
        ReplayServer(Recording(tuple(streams)), speed=math.inf) as server,
        aiohttp.ClientSession() as http,
    ):
        for name in "ab":
            async with http.post(f"{server.url}/{name}") as response:
                await response.read()
            headers = {"Last-Event-ID": "2"}
            async with http.get(f"{server.url}/runs/7/events", headers=headers) as response:
                assert b"data: %b3" % name.encode() in await response.read()
        async with http.get(f"{server.url}/c", headers={"Last-Event-ID": "99"}) as response:
            assert response.status == 404


@settings(deadline=None, max_examples=25)
@given(
    recording=recordings(exchange_count=3),
    plan=st.sampled_from(usual_splits),
    match=st.sampled_from(["path", "body", "order"]),
)
def test_any_recording_at_any_split(recording: Recording, plan: SplitPlan, match: Match) -> None:
    """Asked for what was recorded, in its order, every exchange is played, byte for byte."""
    ordinary = tuple(
        replace(exchange, response=Response(exchange.response.status, at=exchange.response.at))
        for exchange in recording.exchanges
        if exchange.response and exchange.response.status not in (204, 205, 304)
        if exchange.ending is not ExchangeEnding.TIMEOUT  # that is silence without end
    )

    async def play() -> None:
        async with ReplayServer(
            Recording(ordinary), split=plan, speed=math.inf, match=match
        ) as server:
            for exchange in ordinary:
                asked, path = exchange.request, URL(exchange.request.url).raw_path_qs
                got = await raw_exchange(server.url, asked.method, path, asked.body)
                if ending_to_replay(exchange) == "eof":
                    assert got.body == exchange.body
                assert exchange.response
                assert got.status == exchange.response.status
            server.assert_expected()

    asyncio.run(play())
