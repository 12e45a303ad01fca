"""`EventSource`: any SSE endpoint, read as the standard says, through every drop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from dripline import (
    Backoff,
    DriplineError,
    EventSource,
    EventTooLarge,
    NotAnEventStream,
    RequestError,
    RequestRefused,
    ServerSentEvent,
    ServerTimeout,
    ServerUnreachable,
    StreamTruncated,
    TextMessage,
)
from dripline.events import from_json
from dripline.testing import Script
from tests.support.cutting_proxy import CuttingProxy
from tests.support.scripted_server import Say, ScriptedServer, answer, stream
from tests.support.stack import stack, user
from tests.support.wait_log import WaitLog

DONE = answer(204)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a server says to one request after the other, and what comes of it.

    Attributes:
        says: The answers.
        data: The data of the events that come.
        positions: `Last-Event-ID` of each request.
        waits: The seconds before each request but the first.
        error: What is raised at the end; None where the iteration ends.
        options: What the source is told.
    """

    says: Sequence[Say]
    data: Sequence[str] = ()
    positions: Sequence[bytes | None] = (None,)
    waits: Sequence[float] = ()
    error: type[DriplineError] | None = None
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "204 ends it": Case(says=[DONE]),
    "the end of the body reconnects": Case(
        says=[stream(b"data: a\n\n"), stream(b"data: b\n\n"), DONE],
        data=["a", "b"],
        positions=[None] * 3,
        waits=[3, 3],
    ),
    "a cut reconnects": Case(
        says=[stream(b"id: 1\ndata: a\n\n", cut=True), DONE],
        data=["a"],
        positions=[None, b"1"],
        waits=[3],
    ),
    "a reset reconnects": Case(
        says=[stream(b"id: 1\ndata: a\n\n", cut=True, then="RST"), DONE],
        data=["a"],
        positions=[None, b"1"],
        waits=[3],
    ),
    "silence reconnects": Case(
        says=[stream(b"id: 1\ndata: a\n\n", cut=True, then="silence"), DONE],
        data=["a"],
        positions=[None, b"1"],
        waits=[3],
        options={"silence_timeout": 0.05},
    ),
    "broken framing reconnects": Case(
        says=[Say(stream(b"", cut=True).data + b"zz\r\ngarbage"), DONE],
        positions=[None, None],
        waits=[3],
    ),
    "an event in parts is dropped": Case(
        says=[stream(b"id: 1\ndata: a\n\nid: 2\ndata: b\n"), stream(b"data: c\n\n"), DONE],
        data=["a", "c"],
        positions=[None, b"1", b"1"],
        waits=[3, 3],
    ),
    "a new stream has its own BOM and field buffers": Case(
        says=[stream(b"event: x\nda", cut=True), stream(b"\xef\xbb\xbfdata: c\n\n"), DONE],
        data=["c"],
        positions=[None] * 3,
        waits=[3, 3],
    ),
    "the id stays": Case(
        says=[stream(b"id: 1\ndata: a\n\n"), stream(b"data: b\n\n"), stream(b""), DONE],
        data=["a", "b"],
        positions=[None, b"1", b"1", b"1"],
        waits=[3, 3, 3],
    ),
    "an empty id resets it": Case(
        says=[stream(b"id: 1\ndata: a\n\n"), stream(b"id\ndata: b\n\n"), DONE],
        data=["a", "b"],
        positions=[None, b"1", None],
        waits=[3, 3],
    ),
    "an id without data counts": Case(
        says=[stream(b"id: 7\n\n"), DONE], positions=[None, b"7"], waits=[3]
    ),
    "an id with NUL does not": Case(
        says=[stream(b"id: 1\n\nid: 2\x00\n\n"), DONE], positions=[None, b"1"], waits=[3]
    ),
    "ids go as UTF-8": Case(
        says=[stream("id: …né😀\ndata: a\n\n".encode()), DONE],
        data=["a"],
        positions=[None, "…né😀".encode()],
        waits=[3],
    ),
    "it can start somewhere": Case(
        says=[stream(b"data: a\n\n"), DONE],
        data=["a"],
        positions=[b"41", b"41"],
        waits=[3],
        options={"last_event_id": "41"},
    ),
    "retry is obeyed, and stays": Case(
        says=[stream(b"retry: 1500\n\n"), stream(b"data: a\n\n"), stream(b"retry: 0\n"), DONE],
        data=["a"],
        positions=[None] * 4,
        waits=[1.5, 1.5, 0],
    ),
    "a bogus retry is not": Case(
        says=[stream(b"retry: 1.5\nretry: -1\nretry: x\n\n"), DONE],
        positions=[None, None],
        waits=[3],
    ),
    "errors that can pass do, at longer and longer intervals": Case(
        says=[answer(500), answer(502), answer(429), stream(b"data: a\n\n"), answer(503), DONE],
        data=["a"],
        positions=[None] * 6,
        waits=[3 + 1, 3 + 2, 3 + 4, 3 + 1, 3 + 2],
        options={"first": 1},
    ),
    "Retry-After is obeyed": Case(
        says=[answer(503, Retry_After="120"), answer(503, Retry_After="1"), DONE],
        positions=[None] * 3,
        waits=[120, 3],
    ),
    "a connection that breaks before the answer is tried again": Case(
        # aiohttp asks again by itself, once, and then it counts as a failure.
        says=[Say(b""), Say(b"HTTP/1.1 200", "RST"), stream(b"data: a\n\n"), DONE],
        data=["a"],
        positions=[None] * 4,
        waits=[3, 3],
    ),
    "attempts come to an end": Case(
        says=[answer(500)],
        positions=[None] * 5,
        waits=[3] * 4,
        error=RequestRefused,
        options={"attempts": 4},
    ),
    "404 is final": Case(says=[answer(404), DONE], error=RequestRefused),
    "401 is final, later too": Case(
        says=[stream(b"data: a\n\n"), answer(401), DONE],
        data=["a"],
        positions=[None, None],
        waits=[3],
        error=RequestRefused,
    ),
    "206 is final": Case(says=[stream(b"data: a\n\n", status=206), DONE], error=RequestRefused),
    "304 is final": Case(says=[answer(304), DONE], error=RequestRefused),
    "HTML is final": Case(
        says=[answer(200, b"data: a\n\n", Content_Type="text/html"), DONE], error=NotAnEventStream
    ),
    "no type is final": Case(says=[answer(200, b"data: a\n\n"), DONE], error=NotAnEventStream),
    "the type is taken in any case, with parameters": Case(
        says=[
            answer(200, b"data: \xc3\xa9\n\n", Content_Type="Text/Event-Stream;charset=latin1"),
            DONE,
        ],
        data=["é"],
        positions=[None, None],
        waits=[3],
    ),
    "an event too large is final": Case(
        says=[stream(b"data: a\n\ndata: " + b"b" * 100), DONE],
        data=["a"],
        error=EventTooLarge,
        options={"max_event_size": 50},
    ),
    "what comes after the last event of a stream that ends is not asked for": Case(
        says=[stream(b"data: a\n\ndata: [DONE]\n\n"), stream(b"data: never\n\n")],
        data=["a", "[DONE]"],
        options={"reconnect": False},
    ),
    "without reconnecting a cut is an error": Case(
        says=[stream(b"data: a\n\n", cut=True), DONE],
        data=["a"],
        error=StreamTruncated,
        options={"reconnect": False},
    ),
    "without reconnecting half an event is an error": Case(
        says=[stream(b"data: a\n\ndata: b\n"), DONE],
        data=["a"],
        error=StreamTruncated,
        options={"reconnect": False},
    ),
    "without reconnecting silence is an error": Case(
        says=[stream(b"data: a\n\n", then="silence", cut=True), DONE],
        data=["a"],
        error=ServerTimeout,
        options={"reconnect": False, "silence_timeout": 0.05},
    ),
    "without reconnecting a status is an error at once": Case(
        says=[answer(503), DONE], error=RequestRefused, options={"reconnect": False}
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_it_does(case: Case) -> None:
    """See the names of the cases."""
    clock = WaitLog()
    options = {"first": 0, "seconds": float("inf")} | case.options
    limits = {
        name: options.pop(name)
        for name in ("first", "seconds", "attempts", "longest")
        if name in options
    }
    found: list[str] = []
    async with (
        ScriptedServer(*case.says) as server,
        EventSource(f"{server.url}/events", backoff=clock.backoff(**limits), **options) as source,
    ):
        for _ in range(2):  # However often one asks, an error does not become an end.
            with pytest.raises(case.error) if case.error else nullcontext():
                async for event in source:
                    found.append(event.data)
                    assert source.ready_state == "open"
                    assert source.last_event_id == event.id
            assert (source.ready_state == "closed") == (case.error is None)
    assert found == list(case.data)
    assert [asked.headers.get("last-event-id") for asked in server.asked] == list(case.positions)
    assert clock.waits == list(case.waits)


async def test_the_request_of_a_get() -> None:
    """What the standard says is sent; the caller's own headers go first."""
    async with ScriptedServer(DONE) as server:
        async with EventSource(f"{server.url}/a?b=c", headers={"Authorization": "Bearer x"}) as one:
            assert one.ready_state == "connecting"
            assert [event async for event in one] == []
        async with EventSource(server.url, headers={"accept": "*/*"}) as two:
            assert [event async for event in two] == []
    first, second = server.asked
    assert (first.method, first.path, first.body) == ("GET", "/a?b=c", b"")
    assert first.headers["accept"] == b"text/event-stream"
    assert first.headers["cache-control"] == b"no-cache"
    assert first.headers["authorization"] == b"Bearer x"
    assert second.headers["accept"] == b"*/*"


async def test_a_post_is_sent_once() -> None:
    """A body asks for something to be done: it is not sent again unless that is said."""
    says = [stream(b"data: a\n\n", cut=True), DONE]
    async with (
        ScriptedServer(*says) as server,
        EventSource(server.url, body={"stream": True}) as source,
    ):
        with pytest.raises(StreamTruncated):
            [event async for event in source]
    (asked,) = server.asked
    assert asked.method == "POST"
    assert asked.headers["content-type"] == b"application/json"
    assert asked.body == b'{"stream":true}'


async def test_a_post_is_resent_where_asked() -> None:
    """Method, headers and body are the same each time, with the position."""
    says = [stream(b"id: 1\ndata: a\n\n", cut=True), DONE]
    async with ScriptedServer(*says) as server:
        source = EventSource(
            server.url,
            method="REPORT",
            body=b"\x00raw",
            headers={"Content-Type": "x/y"},
            reconnect=True,
            backoff=WaitLog().backoff(),
        )
        async with source:
            assert [event.data async for event in source] == ["a"]
    assert [(a.method, a.body, a.headers["content-type"]) for a in server.asked] == [
        ("REPORT", b"\x00raw", b"x/y")
    ] * 2
    assert server.asked[1].headers["last-event-id"] == b"1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_each_time(status: int) -> None:
    """Each connection starts at the original address."""
    there = answer(status, Location="/there")
    async with (
        ScriptedServer(there, stream(b"id: 1\ndata: a\n\n"), there, DONE) as server,
        EventSource(f"{server.url}/here", backoff=WaitLog().backoff()) as source,
    ):
        assert [event.data async for event in source] == ["a"]
    assert [asked.path for asked in server.asked] == ["/here", "/there"] * 2
    assert server.asked[3].headers["last-event-id"] == b"1"


NOWHERE = {
    "a redirect without an address": answer(302),
    "a redirect to another protocol": answer(302, Location="ftp://localhost/"),
    "a redirect to nonsense": answer(302, Location="http://:99999999/"),
}


@pytest.mark.parametrize("says", NOWHERE.values(), ids=NOWHERE)
async def test_redirects_to_nowhere_are_final(says: Say) -> None:
    """They are not tried again."""
    async with ScriptedServer(says) as server, EventSource(server.url) as source:
        with pytest.raises(RequestError):
            await anext(source)
        assert len(server.asked) == 1


async def test_a_server_that_is_not_there_yet() -> None:
    """Refused, then there: the first connection is tried again as well."""
    async with (
        ScriptedServer(stream(b"data: a\n\n"), DONE) as server,
        CuttingProxy(server.url) as proxy,
    ):
        await proxy.refuse()

        async def come_up() -> None:
            if len(clock.waits) == 3:
                await proxy.listen()

        clock = WaitLog(come_up)
        async with EventSource(proxy.url, backoff=clock.backoff()) as source:
            assert [event.data async for event in source] == ["a"]


async def test_a_server_that_never_comes() -> None:
    """The last failure is raised."""
    clock = WaitLog()
    async with EventSource("http://127.0.0.1:1", backoff=clock.backoff(attempts=3)) as source:
        with pytest.raises(ServerUnreachable, match=r"127\.0\.0\.1:1"):
            await anext(source)
    assert len(clock.waits) == 3


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", ""])
async def test_an_address_that_cannot_be(url: str) -> None:
    """It is said at once, and not tried again."""
    async with EventSource(url) as source:
        with pytest.raises(RequestError, match="cannot be sent"):
            await anext(source)


async def test_a_header_that_cannot_be() -> None:
    """The same."""
    async with (
        ScriptedServer(DONE) as server,
        EventSource(server.url, headers={"X": "a\r\nb"}) as source,
    ):
        with pytest.raises(RequestError, match="cannot be sent"):
            await anext(source)


@pytest.mark.parametrize("position", ["a\nb", "a\r", "\0"])
def test_a_position_that_cannot_be(position: str) -> None:
    """Nothing can be smuggled into a header."""
    with pytest.raises(ValueError, match="last_event_id"):
        EventSource("http://127.0.0.1:1", last_event_id=position)


async def test_the_callers_session_stays_open() -> None:
    """It brings cookies, proxies and what else there is; its time-outs do not cut streams."""
    timeout = aiohttp.ClientTimeout(total=0.05)
    async with (
        aiohttp.ClientSession(headers={"X-Mine": "yes"}, timeout=timeout) as session,
        ScriptedServer(stream(b"data: a\n\n", cut=True, then="silence")) as server,
    ):
        async with EventSource(server.url, session=session) as source:
            await anext(source)
            waiting = asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            assert not done
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        assert not session.closed
        assert server.asked[0].headers["x-mine"] == b"yes"


async def test_a_cancelled_step_loses_nothing() -> None:
    """Not while it reads, and not while it waits to reconnect."""
    async with ScriptedServer(
        stream(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n", cut=True, then="silence"), DONE
    ) as server:
        async with EventSource(server.url) as source:
            assert (await anext(source)).data == "a"
            assert source.last_event_id == "1"  # Not yet 2, though that has come.
            assert (await anext(source)).data == "b"
            for _ in range(5):
                step = asyncio.ensure_future(anext(source))
                await asyncio.sleep(0)
                step.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await step
            assert source.ready_state == "open"
        assert len(server.asked) == 1


async def test_it_is_iterated_inside_its_context() -> None:
    """Outside there is no connection to read from."""
    source = EventSource("http://127.0.0.1:1")
    with pytest.raises(RuntimeError, match="async with"):
        await anext(source)


async def test_it_reads_a_run() -> None:
    """Dripline's own server: POST, then the same run as any `EventSource` would read it."""
    async with stack(Script(["One", " two"])) as s:
        body = {"messages": user("Hi")}
        async with EventSource(f"{s.url}/chat", body=body) as source:
            events = [event async for event in source]
        assert [event.id for event in events] == ["1", "2", "3", "4"]
        start = from_json(events[0].data)
        run_id = getattr(start, "run_id")  # noqa: B009
        url = f"{s.url}/runs/{run_id}/events"
        async with EventSource(url, backoff=WaitLog().backoff(), last_event_id="1") as source:
            # It reconnects after the end, and is told by 204 that nothing follows.
            again = [event async for event in source]
    assert again == events[1:]
    assert from_json(again[0].data) == TextMessage("One")
    assert isinstance(again[0], ServerSentEvent)


NEGATIVE = [{"first": -1}, {"longest": -0.1}, {"attempts": -1}, {"seconds": float("nan")}]


@pytest.mark.parametrize("option", NEGATIVE, ids=str)
def test_a_backoff_that_cannot_be(option: dict[str, float]) -> None:
    """It names the option."""
    with pytest.raises(ValueError, match=next(iter(option))):
        Backoff(**option)  # type: ignore[arg-type]


def test_waits_grow_and_are_random() -> None:
    """From a half of the bound to the bound, which doubles up to the longest wait."""
    for draw, factor in ((0.0, 1.0), (1.0, 0.5)):
        backoff = Backoff(first=1, longest=10, draw=lambda draw=draw: draw)  # type: ignore[misc]
        waits = [backoff.delay(failures) for failures in (0, 1, 2, 3, 4, 5, 10**6)]
        assert waits == [factor * wait for wait in (1, 2, 4, 8, 10, 10, 10)]
    drawn = {Backoff().delay(3) for _ in range(10)}
    assert len(drawn) > 1
    assert all(0.8 <= wait <= 1.6 for wait in drawn)


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
async def test_headers_from_a_function(kind: str) -> None:
    """It is called at each connection, so that a token that has expired is not sent again."""
    numbers = itertools.count(1)

    def token() -> dict[str, str]:
        return {"Authorization": f"Bearer {next(numbers)}"}

    async def token_of_elsewhere() -> dict[str, str]:
        await asyncio.sleep(0)
        return token()

    async with (
        ScriptedServer(stream(b"id: 1\ndata: a\n\n"), DONE) as server,
        EventSource(
            server.url,
            headers=token if kind == "function" else token_of_elsewhere,
            backoff=WaitLog().backoff(),
        ) as source,
    ):
        assert [event.data async for event in source] == ["a"]
    assert [asked.headers["authorization"] for asked in server.asked] == [b"Bearer 1", b"Bearer 2"]
    assert server.asked[1].headers["last-event-id"] == b"1"


async def test_what_happens_is_told() -> None:
    """Each connection, each loss with its reason, and comments, which are no events."""
    told: list[object] = []
    says = [stream(b": ping\ndata: a\n\n:2\n", cut=True), answer(503), stream(b": x\n"), DONE]
    async with (
        ScriptedServer(*says) as server,
        EventSource(
            server.url,
            backoff=WaitLog().backoff(),
            on_open=lambda: told.append("open"),
            on_drop=lambda error: told.append(type(error)),
            on_comment=told.append,
        ) as source,
    ):
        assert [event.data async for event in source] == ["a"]
    assert told == [
        "open", "ping", "2", StreamTruncated, RequestRefused, "open", "x", StreamTruncated,
    ]  # fmt: skip
