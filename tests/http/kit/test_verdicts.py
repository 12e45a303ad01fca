"""What a client did to a stream that broke: each check passes, and fails in words."""

from __future__ import annotations

import asyncio
import math
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import httpx
import pytest

from dripline.recordings.proxy import RecordingProxy
from dripline.recordings.recording import Exchange, ExchangeEnding, Recording
from dripline.recordings.replay_server import ReplayServer
from dripline.testing import (
    FakeOllama,
    Fault,
    Script,
    assert_gave_up,
    assert_no_half_answer,
    assert_read_to_end,
    assert_resilient,
    assert_retried,
)
from dripline.testing.verdicts import Witness
from tests.support.recordings import CHAT, exchange_of

LINES = [b'{"message":{"content":"Blue"}}\n', b'{"message":{"content":" sky"},"done":true}\n']


def answer(lines: Sequence[bytes], ending: ExchangeEnding, status: int = 200) -> Exchange:
    return exchange_of(
        lines, ending=ending, request=CHAT, content_type="application/x-ndjson", status=status
    )


WHOLE = answer(LINES, ExchangeEnding.EOF)
CUT = answer(LINES[:1], ExchangeEnding.CUT)
RESET = answer(LINES[:1], ExchangeEnding.RESET)
SILENT = answer(LINES[:1], ExchangeEnding.TIMEOUT)
TRUNCATED = answer(LINES[:1], ExchangeEnding.EOF)
BUSY = answer([b'{"error":"busy"}'], ExchangeEnding.EOF, 503)
BROKEN = {"cut": CUT, "reset": RESET, "silence": SILENT, "truncated": TRUNCATED, "busy": BUSY}


async def client(url: str, attempts: int, wait: float = 0.0) -> None:
    """Ask up to so many times, until an answer is whole."""
    timeout = aiohttp.ClientTimeout(sock_read=0.2)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(wait)
            try:
                async with http.post(f"{url}/api/chat", data=b"{}") as response:
                    if b'"done":true' in await response.read():
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass


async def seen(attempts: int, *exchanges: Exchange, wait: float = 0.0) -> ReplayServer:
    """A server, closed, that has seen a client."""
    async with ReplayServer(Recording(exchanges), speed=math.inf) as server:
        await client(server.url, attempts, wait)
        for request in server.requests:
            await request.wait_ended()
    return server


def fails(check: Callable[[], None], *words: str) -> str:
    """Check that a check fails with these words, and return its message."""
    with pytest.raises(AssertionError) as raised:
        check()
    for word in words:
        assert re.search(word, str(raised.value)), f"{word!r} is not in:\n{raised.value}"
    return str(raised.value)


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_a_client_that_retries(broken: Exchange) -> None:
    """Whatever breaks; it got over it, and did not give up."""
    server = await seen(5, broken, broken, WHOLE)
    assert_retried(server)
    assert_retried(server, times=2, path="/api/chat")
    assert_resilient(server, "Blue sky")
    assert_no_half_answer(server, "Blue sky")
    fails(lambda: assert_gave_up(server), "did not give up: it got a whole answer", "3. .* later")
    fails(lambda: assert_retried(server, times=1), "the client retried twice, not once")
    fails(lambda: assert_read_to_end(server), "not every answer was read to its end")
    fails(
        lambda: assert_resilient(server, "Blue"),
        "returned the beginning of the answer, 'Blue', and not all of it, 'Blue sky'",
    )


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
async def test_a_client_that_gives_up(broken: Exchange) -> None:
    """After so many attempts; the answer that it has then is only half of one."""
    server = await seen(2, broken, broken, WHOLE)
    assert_gave_up(server)
    assert_gave_up(server, attempts=2)
    assert_retried(server, times=1)
    assert_no_half_answer(server, None)
    fails(lambda: assert_gave_up(server, attempts=3), "gave up after 2 attempts, not 3")
    fails(lambda: assert_resilient(server), "the client gave up without a whole answer")
    fails(
        lambda: assert_no_half_answer(server, "Blue"),
        "took half an answer for a whole one: it returned 'Blue'",
    )


@pytest.mark.parametrize(
    ("broken", "verdict"),
    [
        (CUT, "1. POST /api/chat met the cut after 1 piece and "),
        (RESET, "1. POST /api/chat met the reset after 1 piece and "),
        (SILENT, "1. POST /api/chat left after 1 piece and 0.2"),
        (TRUNCATED, "1. POST /api/chat got an answer without its last word after 1 piece and "),
        (BUSY, "1. POST /api/chat got HTTP 503 after 1 piece and "),
    ],
)
async def test_a_client_that_does_not_retry(broken: Exchange, verdict: str) -> None:
    """Each attempt is shown, with what became of it."""
    server = await seen(1, broken)
    message = fails(lambda: assert_retried(server), "the client did not retry")
    assert message.splitlines()[1].strip().startswith(verdict)


async def test_how_long_it_waited() -> None:
    """At least, and at most; from the break to the next request."""
    server = await seen(3, CUT, CUT, WHOLE, wait=0.15)
    assert_retried(server, after=0.1, within=20)
    fails(
        lambda: assert_retried(server, after=20), r"retry 1 came after 0\.\d+ s, .* 20 s at least"
    )
    fails(lambda: assert_retried(server, within=0.01), r"0\.01 s at most")


async def test_nothing_broke() -> None:
    """Then a test of what happens when something does has not tested it."""
    server = await seen(1, WHOLE)
    assert_read_to_end(server)
    assert_no_half_answer(server, " Blue sky\n")
    assert_no_half_answer(server, "BLUE SKY")
    fails(lambda: assert_retried(server), "nothing broke")
    fails(lambda: assert_no_half_answer(server, "Blue s"), "returned the beginning of the answer")


async def test_no_request_came() -> None:
    """What came instead is named."""
    server = await seen(1, WHOLE)
    fails(lambda: assert_retried(server, path="/x"), "no request to /x came; .*: POST /api/chat")
    nothing = await seen(0)
    checks: list[Callable[[Witness], None]] = [
        assert_retried,
        assert_gave_up,
        assert_read_to_end,
        assert_resilient,
    ]
    for check in checks:
        fails(lambda check=check: check(nothing), "no request came; what came: nothing")  # type: ignore[misc]


async def test_a_client_that_still_reads() -> None:
    """Has not given up."""
    async with (
        ReplayServer(Recording((SILENT,)), speed=math.inf) as server,
        aiohttp.ClientSession() as http,
        http.post(f"{server.url}/api/chat", data=b"{}") as response,
    ):
        await response.content.readline()
        fails(lambda: assert_gave_up(server), "it is still reading", "still reading after 1 piece")


async def test_the_fake_ollama_has_verdicts_too() -> None:
    """A fault of a script is a break as a recorded one is."""
    script = Script(["Blue", " sky"], fault=Fault.cut(at_token=1, times=2))
    chat = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    async with FakeOllama({"m": script}) as fake, aiohttp.ClientSession() as http:
        for _ in range(3):
            try:
                async with http.post(f"{fake.url}/api/chat", json=chat) as response:
                    await response.read()
            except aiohttp.ClientError:
                pass
        assert_resilient(fake)
        assert_retried(fake, times=2)
        fails(lambda: assert_gave_up(fake), "1. POST /api/chat met the cut after 1 tokens")


async def test_coming_back_with_the_last_event_id_is_an_attempt_too() -> None:
    """At another address: as dripline's own client does."""
    events = [b"id: 1\ndata: a\n\n", b"id: 2\ndata: b\n\n"]
    stream = exchange_of(events, request=CHAT, ending=ExchangeEnding.CUT)
    async with ReplayServer(stream, speed=math.inf) as server, aiohttp.ClientSession() as http:
        for method, path in (("POST", "/api/chat"), ("GET", "/runs/1/events")):
            try:
                headers = {"Last-Event-ID": "1"} if method == "GET" else {}
                async with http.request(method, server.url + path, headers=headers) as response:
                    await response.read()
            except aiohttp.ClientError:
                pass
        assert_retried(server, times=1)
        assert_gave_up(server, attempts=2)


class OwnThread:
    """Runs a server in an event loop of its own thread, as a fixture or a user's helper may."""

    def __init__(self, server: ReplayServer | FakeOllama) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.server = server

    def __enter__(self) -> str:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self.loop).result()
        return self.server.url

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


LEAVES_AT_DONE = exchange_of(
    [b'data: {"choices":[{"delta":{"content":"Blue"}}]}\n\n', b"data: [DONE]\n\n"],
    request=CHAT,
    content_type="text/event-stream",
)


@pytest.mark.parametrize("kind", ["replay", "fake", "replay that the client leaves at [DONE]"])
def test_a_verdict_right_after_a_call_waits_for_the_server(kind: str) -> None:
    """The server notes an answer's end after the client has it; the check waits for the server."""
    leaves = "[DONE]" in kind
    for _ in range(4):
        server: ReplayServer | FakeOllama = FakeOllama({"m": Script("Blue sky")})
        if kind != "fake":
            # The recorded end comes 50 ms after [DONE].
            server = ReplayServer(LEAVES_AT_DONE if leaves else WHOLE, speed=20)
        with OwnThread(server) as url:
            asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            with httpx.stream("POST", f"{url}/api/chat", json=asked) as response:
                for data in response.iter_bytes():
                    if leaves and b"[DONE]" in data:
                        break
            assert_read_to_end(server)


def test_a_verdict_waits_no_longer_than_a_moment() -> None:
    """A client that is still reading is said to be, after a second."""
    server = ReplayServer(SILENT, speed=math.inf)
    with OwnThread(server) as url, httpx.stream("POST", f"{url}/api/chat"):
        fails(lambda: assert_read_to_end(server), "still reading")


async def test_a_server_in_the_tests_own_loop_is_waited_for_with_settled() -> None:
    """`await server.settled()` lets it note what has reached it: here, that the client left."""
    async with ReplayServer(SILENT, speed=math.inf) as server:
        async with aiohttp.ClientSession() as http, http.post(f"{server.url}/api/chat"):
            assert server.requests[0].ended is None
        await server.settled()
        assert server.requests[0].verdict.startswith("left")
    async with FakeOllama({"m": Script(fault=Fault.stall())}) as ollama:
        asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2), aiohttp.ClientSession() as http:
                await http.post(f"{ollama.url}/api/chat", json=asked)
        await ollama.settled()
        assert ollama.requests[0].verdict.startswith("left")


async def test_while_recording_a_client_that_leaves_at_the_last_word_has_read_all(
    tmp_path: Path,
) -> None:
    """As in the replay: OpenAI's clients leave at `[DONE]`, before the server ends the body."""
    ends_late = replace(LEAVES_AT_DONE, ending=ExchangeEnding.TIMEOUT)
    async with (
        ReplayServer(ends_late, speed=math.inf) as real,
        RecordingProxy(real.url, tmp_path / "x.jsonl") as proxy,
        ReplayServer(Recording(), elsewhere=proxy.pass_on) as tape,
        aiohttp.ClientSession() as http,
    ):
        async with http.post(f"{tape.url}/api/chat") as response:
            async for data in response.content.iter_any():
                if b"[DONE]" in data:
                    break
        await tape.settled()
        assert_read_to_end(tape)
