"""`static/net/agui-fetch.js`: one unbroken stream over connections that drop, or an error."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from dripline.testing import Ending, Fault, Pace, Reply, Script
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.npm_clients import AT_ONCE, NpmClients
from tests.support.redis_server import RedisServer, redis_server
from tests.support.scripted_server import Say, ScriptedServer, Then, answer, stream
from tests.support.several import several
from tests.support.stack import stack

Json = dict[str, Any]

INPUT: Json = {
    "threadId": "thread",
    "runId": "run",
    "protocolVersion": "1.0",
    "messages": [{"id": "1", "role": "user", "content": "Change color to red"}],
}
UI_CHAT: Json = {
    "id": "chat",
    "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}],
}
WORDS = [f"{n}é\u2028\n\n" for n in range(40)]
TALK = Script(Reply(WORDS, thinking=["Hm\n\n", "."]))
HEADERS = 700  # bytes that the headers of an answer have at most
AGUI = "?dialect=agui&threadId=thread&runId=run&protocolVersion=1.0"
UI_MESSAGE = "?dialect=ui-message&messageId="


@pytest.mark.parametrize("seed", range(3))
async def test_cut_anywhere(npm_clients: NpmClients, seed: int) -> None:
    """To the byte what a reader with a whole connection gets, and never a half frame."""
    draw = random.Random(seed)
    made = 0
    async with stack(TALK) as s:
        for _ in range(15):
            # A new one each, because the client keeps connections for the next request.
            async with CuttingProxy(s.url) as proxy:
                proxy.cuts.append(draw_cut(draw, HEADERS))
                proxy.cuts.extend(draw_cut(draw) for _ in range(draw.randrange(6)))
                said = await npm_clients.fetched(f"{proxy.url}/agui", INPUT)
            made += len(proxy.done)
            assert said.error == ""
            assert all(piece.endswith(b"\n\n") for piece in said.pieces)
            async with s.http.get(f"{s.url}/runs/{said.run_id}/events{AGUI}") as whole:
                assert said.body == await whole.read()
            assert said.unhandled == []
        assert made > 10
        assert len(s.ollama.chats) == 15


def draw_cut(draw: random.Random, least: int = 0) -> Cut:
    return Cut(least + draw.randrange(4000), "RST" if draw.random() < 0.5 else "FIN")


async def test_the_client_sees_no_cut(npm_clients: NpmClients) -> None:
    """The unmodified `HttpAgent` and the SDK's chat: the whole text, once."""
    async with stack(TALK) as s, CuttingProxy(s.url) as proxy:
        proxy.cuts.extend(Cut(HEADERS + 500 * n, "RST") for n in range(5))
        agent = await npm_clients.agui(proxy.url, INPUT["messages"], resuming=AT_ONCE)
        proxy.cuts.extend(Cut(HEADERS + 500 * n, "RST") for n in range(5))
        chat = await npm_clients.chat(proxy.url, resuming=AT_ONCE)
        assert len(proxy.done) > 5
        assert len(s.ollama.chats) == 2
    assert agent.ending == chat.ending == ("completed", "stop")
    assert agent.text == chat.joined("text") == "".join(WORDS)
    assert agent.thinking == chat.joined("reasoning") == "Hm\n\n."


async def test_without_it_a_cut_is_an_error(npm_clients: NpmClients) -> None:
    """So that the test above shows something."""
    async with stack(TALK) as s, CuttingProxy(s.url) as proxy:
        proxy.cuts.append(Cut(HEADERS + 500, "RST"))
        said = await npm_clients.agui(proxy.url, INPUT["messages"])
    assert said.text != "".join(WORDS)
    assert said.said["error"]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def test_through_another_process(npm_clients: NpmClients, redis: RedisServer) -> None:
    """A run that was started through one server goes on through another, in the same dialect."""
    script = Script(Reply(WORDS), Pace(tokens_per_second=100))
    async with several(script, redis) as s:
        one, other = (server.url for server in s.servers)
        async with CuttingProxy(one, other) as proxy:
            proxy.cuts.extend(Cut(HEADERS + 300 * n) for n in range(4))
            said = await npm_clients.fetched(f"{proxy.url}/agui", INPUT)
            assert len(proxy.done) == 4
        async with s.http.get(f"{other}/runs/{said.run_id}/events{AGUI}") as whole:
            assert said.body == await whole.read()
    assert said.error == ""


def frame(event_id: str, data: str) -> bytes:
    return f"id: {event_id}\ndata: {data}\n\n".encode()


STARTED = frame("1", '{"type":"RUN_STARTED"}')
FINISHED = frame("2", '{"type":"RUN_FINISHED"}')


def first(body: bytes, then: Then = "FIN") -> Say:
    """What a POST is answered with; the body has no end."""
    place = "runs/r/events?dialect=agui"
    return stream(body, cut=True, then=then, X_Run_Id="r", Content_Location=place)


BROKEN = first(STARTED + b"id: 2\ndata: ha")
LOST: dict[str, tuple[list[Say], str, int]] = {
    "gone": ([answer(404, b"no such run")], "HTTP 404: no such run", 2),
    "dropped": ([answer(410, b"dropped")], "HTTP 410: dropped", 2),
    "refused": ([answer(401)], "HTTP 401", 2),
    "nothing after it": ([answer(204)], "HTTP 204", 2),
    "no event stream": ([answer(200, b"<html>", Content_Type="text/html")], "HTTP 200", 2),
    "a server that hangs up": ([answer(503, b"later")], "gave up after 4 attempts", 5),
    "connections that bring nothing": ([stream(b": ping\n")], "gave up after 4 attempts", 5),
    "an end without an end": ([stream(STARTED)], "gave up", 0),
}


@pytest.mark.parametrize(("says", "words", "asked"), LOST.values(), ids=LOST)
async def test_given_up(npm_clients: NpmClients, says: list[Say], words: str, asked: int) -> None:
    """The body fails with what happened; it never just ends, and no half frame is handed on."""
    if not asked:  # each connection brings a frame, so the attempts begin anew: then silence
        says = [*says * 3, stream(b"")]
    async with ScriptedServer(BROKEN, *says) as server:
        said = await npm_clients.fetched(
            f"{server.url}/agui", INPUT, resuming={**AT_ONCE, "attempts": 4}
        )
        assert not asked or len(server.asked) == asked
    assert words in said.error
    assert said.error.startswith("StreamLost")
    assert re.fullmatch(b"(%b)+" % re.escape(STARTED), said.body)
    assert said.unhandled == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_a_status_that_can_pass(npm_clients: NpmClients, status: int) -> None:
    """It is asked again, from the last whole frame on, with what the first request brought."""
    says = [BROKEN, answer(status, Retry_After="1"), stream(FINISHED)]
    async with ScriptedServer(*says) as server:
        said = await npm_clients.fetched(f"{server.url}/agui", INPUT)
        *_, last = server.asked
    assert (said.error, said.body) == ("", STARTED + FINISHED)
    assert (last.method, last.path) == ("GET", "/runs/r/events?dialect=agui")
    assert last.headers["last-event-id"] == b"1"
    assert "content-type" not in last.headers


async def test_silence_is_a_drop(npm_clients: NpmClients) -> None:
    """A connection without a byte for too long is given up, and another one made."""
    async with ScriptedServer(first(STARTED, "silence"), stream(FINISHED)) as server:
        said = await npm_clients.fetched(
            f"{server.url}/agui", INPUT, resuming={**AT_ONCE, "silence": 50}
        )
    assert (said.error, said.body) == ("", STARTED + FINISHED)


@pytest.mark.parametrize(
    "answered",
    [
        answer(400, b'{"error":{}}', Content_Type="application/json"),
        stream(STARTED),
    ],
    ids=["an error status", "another server's stream"],
)
async def test_what_is_not_dripline_s_is_handed_on(npm_clients: NpmClients, answered: Say) -> None:
    """As it is, with its status: there is nothing to attach again to."""
    async with ScriptedServer(answered) as server:
        said = await npm_clients.fetched(f"{server.url}/agui", INPUT)
        assert len(server.asked) == 1
    assert said.error == ""
    assert said.body in answered.data


async def test_abort_while_it_waits(npm_clients: NpmClients) -> None:
    """Aborting ends a wait for the next attempt at once, and asks for the run's end."""
    async with ScriptedServer(BROKEN, answer(503)) as server:
        said = await npm_clients.fetched(
            f"{server.url}/agui",
            INPUT,
            resuming={"firstWait": 60_000, "longestWait": 60_000},
            abortAfter=1,
        )
        await server.wait_asked(2)
    assert "AbortError" in said.error
    assert [(a.method, a.path) for a in server.asked[1:]] == [("DELETE", "/runs/r")]


async def test_abort_stops_the_model(npm_clients: NpmClients) -> None:
    """Also where the run has been attached to again."""
    script = Script(["a", "b"], fault=Fault.stall(at_token=2))
    async with stack(script) as s, CuttingProxy(s.url) as proxy:
        proxy.cuts.append(Cut(HEADERS))
        said = await npm_clients.fetched(f"{proxy.url}/agui", INPUT, abortAfter=2)
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
    assert "AbortError" in said.error
