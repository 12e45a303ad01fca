"""The JavaScript client's streams: exact over splits and cuts, stopped or left, and never half."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web

from dripline import EventDecoder
from dripline.testing import Ending, FakeOllama, Fault, Pace, Script
from dripline_server import Settings, create_app
from tests.support.client_js import ClientJs, Json
from tests.support.cutting_proxy import Cut, CuttingProxy
from tests.support.programs import require_program
from tests.support.resuming import SHORT, TOOL, WORDS
from tests.support.scripted_server import Say, ScriptedServer, answer, frames, stream, texts
from tests.support.stack import Stack, stack

STALLS = Script(["One", " two"], fault=Fault.stall(at_token=2))
NO_STREAM = ("NotAnEventStream", "not_an_event_stream", "not text/event-stream")
MALFORMED = ("MalformedEvent", "malformed_event")
END = '{"type":"end","data":{"status":"completed"}}'


def comparable(events: list[Json]) -> list[Json]:
    """Leave out what differs from one run to the next."""
    return [
        {"type": event["type"], "data": {**event["data"], "run_id": "", "usage": {}}}
        for event in events
    ]


async def told(s: Stack, run: str) -> list[Json]:
    """What the server tells of a run."""
    async with s.http.get(f"{s.url}/runs/{run}/events") as response:
        decoder = EventDecoder()
        return [json.loads(event.data) for event in decoder.feed(await response.read())]


@pytest.mark.parametrize("bytewise", [False, True])
async def test_every_event_comes_exactly(client_js: ClientJs, bytewise: bool) -> None:
    """Whole and byte by byte: emoji, CR and LF, U+2028, calls, thinking, and one `end`."""
    async with stack(SHORT) as s:
        read = await client_js.read(s.url, fields={"tools": [TOOL]}, bytes=bytewise)
        assert read.error is None
        assert read.events == await told(s, read.run)
        assert read.types[0] == "start"
        assert read.types[-1] == "end"
        assert read.text == "Grüezi 👩‍👩‍👧\r\n"
        assert read.last == str(len(read.events))
        assert read.unhandled == []
        assert read.events[0]["data"]["run_id"] == read.run
        (asked,) = s.ollama.chats
        assert isinstance(asked.body, dict)
        assert asked.body["tools"] == [TOOL]


@pytest.mark.timeout(600)
async def test_a_chat_is_cut_at_every_byte(client_js: ClientJs) -> None:
    """Nothing is lost and nothing comes twice; a chat that is sent again is not a second run.

    Even offsets end in FIN, odd ones in RST.
    """
    async with stack(SHORT) as s:
        expected = comparable((await client_js.read(s.url, fields={"tools": [TOOL]})).events)
        sent_again = resumed = 0
        for offset in count():
            cut = Cut(offset, "RST" if offset % 2 else "FIN")
            # A new one each, because Node.js keeps connections for the next request.
            async with CuttingProxy(s.url) as proxy:
                proxy.cuts.append(cut)
                read = await client_js.read(proxy.url, fields={"tools": [TOOL]})
            assert read.error is None, offset
            assert comparable(read.events) == expected, offset
            assert read.unhandled == []
            asked = [request.split()[0] for request in proxy.requests]
            assert asked in (["POST"], ["POST", "GET"], ["POST", "POST"])
            assert len(s.ollama.chats) == offset + 2
            sent_again += asked.count("POST") - 1
            resumed += read.reconnects
            if not proxy.done:
                break
        assert sent_again > 100
        assert resumed > 400


@pytest.mark.parametrize("seed", range(3))
async def test_any_series_of_cuts(client_js: ClientJs, seed: int) -> None:
    """A long answer arrives exactly, wherever and however often its connections are cut."""
    draw = random.Random(seed)
    script = Script(WORDS, pace=Pace(tokens_per_second=20_000))
    async with stack(script) as s, CuttingProxy(s.url) as proxy:
        for _ in range(5):
            hows = draw.choices(["FIN", "RST"], k=draw.randrange(20))
            proxy.cuts.clear()
            proxy.cuts += [Cut(draw.randrange(3000), how) for how in hows]  # type: ignore[arg-type]
            read = await client_js.read(proxy.url, options={"attempts": 30})
            assert read.error is None
            assert read.text == "".join(WORDS)
            assert read.last == str(len(read.events))
        assert len(s.ollama.chats) == 5


@pytest.mark.parametrize(
    ("does", "said"), [("break", ""), ("throw", "the loop's own"), ("abort", "enough")]
)
async def test_leaving_a_chat_stops_it(client_js: ClientJs, does: str, said: str) -> None:
    """By `break`, an exception or `signal`: Ollama's socket is closed, and nobody asks again."""
    async with stack(STALLS, grace=3600) as s, CuttingProxy(s.url) as proxy:
        read = await client_js.read(proxy.url, after=3, does=does)
        assert (read.error["message"] if read.error else "") == said
        assert len(read.events) == 3
        assert await s.ollama.chats[0].wait_ended() is Ending.CLIENT_LEFT
        assert proxy.requests == ["POST /chat", f"DELETE /runs/{read.run}"]
        assert read.unhandled == []


@pytest.mark.parametrize("does", ["break", "abort"])
async def test_detaching_leaves_the_run_to_others(client_js: ClientJs, does: str) -> None:
    """It goes on, and `attach` reads the rest after the last event that the loop has had."""
    async with stack(Script(WORDS)) as s, CuttingProxy(s.url) as proxy:
        left = await client_js.read(proxy.url, after=7, does=does, fields={"onLeave": "detach"})
        assert left.last == "7"
        rest = await client_js.read(proxy.url, run=left.run, fields={"after": left.last})
        assert rest.error is None
        assert left.events + rest.events == await told(s, left.run)
        none = await client_js.read(proxy.url, run=left.run, fields={"after": rest.last})
        assert (none.events, none.error) == ([], None)
        assert not [request for request in proxy.requests if request.startswith("DELETE")]
        assert len(s.ollama.chats) == 1


async def test_a_reader_that_leaves_by_default_leaves_the_run_alone(client_js: ClientJs) -> None:
    """`attach` detaches: the run is another client's."""
    async with stack(STALLS) as s, s.client.chat("Hi") as chat:
        await anext(chat)
        read = await client_js.read(s.url, run=chat.run_id, after=1, does="break")
        assert read.types == ["start"]
        assert s.ollama.chats[0].ended is None
        await client_js.read(
            s.url, run=chat.run_id, after=1, does="break", fields={"onLeave": "stop"}
        )
        assert await s.ollama.chats[0].wait_ended() is Ending.CLIENT_LEFT


async def test_an_aborted_signal_asks_nobody(client_js: ClientJs) -> None:
    """As `fetch` does: the loop throws the signal's reason."""
    async with ScriptedServer(answer(500)) as server:
        read = await client_js.read(server.url, after=0, does="abort")
        assert read.error
        assert read.error["name"] == "AbortError"
        assert server.asked == []


async def test_stopping_goes_on_to_the_end(client_js: ClientJs) -> None:
    """`stream.stop()`: the model is stopped, and `end` says "cancelled"; as for all its readers."""
    async with stack(STALLS) as s:
        read = await client_js.read(s.url, after=2, does="stop")
        assert read.error is None
        assert read.events[-1]["data"]["status"] == "cancelled"
        assert await s.ollama.chats[0].wait_ended() is Ending.CLIENT_LEFT


async def test_a_failed_run_is_no_answer(client_js: ClientJs) -> None:
    """The loop sees `error` and `end`, and then throws what the error says."""
    async with stack(Script(["One"], fault=Fault.error("boom", at_token=1))) as s:
        read = await client_js.read(s.url)
        assert read.types == ["start", "text_message", "error", "end"]
        assert read.error
        failed = read.events[-2]["data"]
        assert {name: read.error[name] for name in failed} == failed
        assert (read.error["name"], read.code) == ("RunFailed", "ollama_error")


def chat_events(*, first: int = 1) -> bytes:
    return frames(*texts("One", "two"), END, first=first)


@dataclass(frozen=True, slots=True)
class Wrong:
    """An answer that no right server gives, and what the client makes of it."""

    says: tuple[Say, ...]
    name: str
    code: str
    words: str
    retryable: bool = False
    text: str = ""


LOST = stream(frames(*texts("One")), cut=True)
REFUSAL = b'{"error": {"code": "bad_field", "message": "model: name one"}}'
GONE = b'{"error": {"code": "not_found", "message": "No such run"}}'
DROPPED = b'{"error": {"code": "position_gone", "message": "gone"}}'
WRONG = {
    "a bad request": Wrong(
        (answer(400, REFUSAL),), "RequestRefused", "bad_field", "model: name one"
    ),
    "not JSON": Wrong((answer(404, b"<h1>Not here</h1>"),), "RequestRefused", "", "Not here"),
    "JSON of another": Wrong((answer(403, b'{"error": "no"}'),), "RequestRefused", "", '"no"'),
    "no body": Wrong((answer(418),), "RequestRefused", "", "HTTP 418"),
    "a redirect": Wrong(
        (answer(302, Location="/login"), answer(405, b"{}")),
        *("RequestRefused", "", "POST was redirected to http://127.0.0.1"),
    ),
    "always full": Wrong((answer(503, REFUSAL),), "RequestRefused", "bad_field", "503", True),
    "a page": Wrong((answer(200, b"<html>", Content_Type="text/html"),), *NO_STREAM),
    "nothing typed": Wrong((answer(200, b"{}"),), *NO_STREAM),
    "a gap": Wrong(
        (stream(frames(*texts("One")) + frames(END, first=3)),),
        *("MalformedEvent", "malformed_event", 'id should be 2, is "3"', False, "One"),
    ),
    "an event twice": Wrong(
        (stream(frames(*texts("One")) + frames(*texts("One"))),),
        *("MalformedEvent", "malformed_event", 'id should be 2, is "1"', False, "One"),
    ),
    "no id": Wrong((stream(b'data: {"type": "start"}\n\n'),), *MALFORMED, 'id should be 1, is ""'),
    "no number": Wrong(
        (stream(b'id: x\ndata: {"type": "start"}\n\n'),), *MALFORMED, 'id should be 1, is "x"'
    ),
    "no JSON": Wrong((stream(frames("{")),), *MALFORMED, "not JSON"),
    "a wrong field": Wrong(
        (stream(frames('{"type":"text_message","data":{"content":5}}')),),
        *MALFORMED,
        "data.content: should be a text",
    ),
    "a wrong end": Wrong(
        (stream(frames('{"type":"end","data":{"status":"done"}}')),), *MALFORMED, "data.status"
    ),
    "a huge event": Wrong(
        (stream(frames(*texts("One")) + b"data: " + b"x" * 5000),),
        *("EventTooLarge", "event_too_large", "larger than 4096 bytes", False, "One"),
    ),
    "cut, and away": Wrong(
        (LOST, stream(b"", cut=True)),
        *("StreamTruncated", "stream_truncated", "after event 1", True, "One"),
    ),
    "ended without its end": Wrong(
        (stream(frames(*texts("One"))), stream(b"")),
        *("StreamTruncated", "stream_truncated", "the connection was closed", True, "One"),
    ),
    "cut, and full": Wrong(
        (LOST, answer(503, REFUSAL)),
        *("StreamTruncated", "stream_truncated", "attempts to attach again: 3", True, "One"),
    ),
    "cut, and restarted": Wrong(
        (LOST, answer(404, GONE)), "RunGone", "run_gone", "no longer has", False, "One"
    ),
    "cut, and forgotten": Wrong(
        (LOST, answer(410, DROPPED, X_First_Event_Id="5")),
        *(
            "EventsDropped",
            "position_gone",
            "after 1 have been discarded; the first available one is 5",
        ),
        *(False, "One"),
    ),
    "cut, and nothing left": Wrong(
        (LOST, answer(204)), "RunGone", "run_gone", "no longer has", False, "One"
    ),
    "cut, and no token": Wrong(
        (LOST, answer(401, REFUSAL)), "RequestRefused", "bad_field", "401", False, "One"
    ),
    "silence": Wrong(
        (stream(frames(*texts("One")), cut=True, then="silence"), Say(b"", "silence")),
        *("StreamTruncated", "stream_truncated", "the server sent nothing for 0.2 s", True, "One"),
    ),
    "silence from the start": Wrong(
        (Say(b"", "silence"),), "ServerTimeout", "server_timeout", "nothing for 0.2 s", True
    ),
    "no HTTP": Wrong(
        (Say(b"SSH-2.0-OpenSSH\r\n"),), "ServerUnreachable", "server_unreachable", "no server", True
    ),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_what_no_right_server_says(client_js: ClientJs, wrong: Wrong) -> None:
    """Each fault has its own error, which says what happened; what came before it is kept."""
    options = {"attempts": 3, "silence": 200, "maxEventSize": 4096}
    async with ScriptedServer(*wrong.says) as server:
        read = await client_js.read(server.url, options=options)
    assert read.error
    assert (read.error["name"], read.error["code"]) == (wrong.name, wrong.code)
    assert wrong.words in read.error["message"]
    assert read.error["retryable"] is wrong.retryable
    assert read.text == wrong.text
    assert read.unhandled == []
    assert "end" not in read.types


async def test_what_a_newer_server_may_say(client_js: ClientJs) -> None:
    """Unknown types, fields and actions are passed over, and their ids are counted."""
    newer = (
        '{"type":"smell","data":{}}',
        '{"type":"ui_control","data":{"action":"explode"}}',
        '{"type":"text_message","data":{"content":"One","mood":"blue"}}',
        END,
    )
    async with ScriptedServer(stream(b": hello\nretry: 5\n\n" + frames(*newer))) as server:
        read = await client_js.read(server.url)
    assert read.types == ["text_message", "end"]
    assert read.events[0]["data"] == {"content": "One", "mood": "blue"}
    assert read.last == "4"


async def test_a_busy_server_says_how_long_to_wait(client_js: ClientJs) -> None:
    """`Retry-After` is honoured up to the client's longest wait; then the chat is sent again."""
    busy = answer(503, REFUSAL, Retry_After="1")
    async with ScriptedServer(busy, stream(chat_events())) as server:
        started = time.monotonic()
        read = await client_js.read(server.url, options={"longestWait": 2000})
        assert time.monotonic() - started >= 1
        first, second = (json.loads(asked.body) for asked in server.asked)
    assert read.text == "Onetwo"
    assert first == second
    assert first["run_id"] == read.run


async def test_what_is_sent(client_js: ClientJs) -> None:
    """The token, the client's headers and the chat's fields; no more of the run than its id."""
    messages = [{"role": "user", "content": "cut \ud83d"}]
    fields = {"model": "story", "think": "low", "format": {"type": "object"}, "future": 1}
    options = {"token": "s3cret", "headers": {"X-Team": "sky"}}
    async with ScriptedServer(LOST, stream(chat_events(first=2))) as server:
        sent = {"messages": messages, "fields": fields, "options": options}
        read = await client_js.read(f"{server.url}/ai/", **sent)
        posted, attached = server.asked
    assert (posted.method, posted.path) == ("POST", "/ai/chat")
    assert json.loads(posted.body) == {"messages": messages, **fields, "run_id": read.run}
    assert (attached.method, attached.path) == ("GET", f"/ai/runs/{read.run}/events")
    assert attached.headers["last-event-id"] == b"1"
    for asked in server.asked:
        assert asked.headers["authorization"] == b"Bearer s3cret"
        assert asked.headers["x-team"] == b"sky"
    assert read.text == "OneOnetwo"


async def test_below_a_path_and_with_a_token(client_js: ClientJs) -> None:
    """As a part of another app, to which only the right token opens the door."""
    async with FakeOllama({"story": Script(["Blue."])}) as ollama:
        settings = Settings(ollama=ollama.url, model="story", token="a-token-of-its-own")
        whole = web.Application()
        whole.add_subapp("/ai/", create_app(settings))
        runner = web.AppRunner(whole, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/ai/"
            refused = await client_js.read(url)
            read = await client_js.read(url, options={"token": settings.token})
        finally:
            await runner.cleanup()
    assert refused.code == "unauthorized"
    assert read.text == "Blue."


MISUSE: dict[str, tuple[Json, str]] = {
    "no address": ({"url": "nonsense"}, "url: should be an HTTP address"),
    "another scheme": ({"url": "ftp://127.0.0.1/"}, "url: should be an HTTP address"),
    "a password": ({"url": "http://me:pass@127.0.0.1/"}, "without a user name"),
    "a query": ({"url": "http://127.0.0.1/?a=b"}, "without a query"),
    "a token of two lines": ({"options": {"token": "a\nb"}}, "token: should be printable ASCII"),
    "attempts": ({"options": {"attempts": -1}}, "attempts: should be 0 or more, is -1"),
    "a wait in words": ({"options": {"firstWait": "soon"}}, "firstWait: should be 0 or more"),
    "one message": ({"messages": {"role": "user"}}, "messages: should be a prompt or a list"),
    "a way to leave": ({"fields": {"onLeave": "run"}}, 'onLeave: should be "stop" or "detach"'),
    "no run": ({"run": "..", "fields": {}}, "runId: should be a run's id"),
    "no position": ({"run": "x", "fields": {"after": "five"}}, "after: should be a last event ID"),
}


@pytest.mark.parametrize(("asked", "words"), MISUSE.values(), ids=MISUSE)
async def test_misuse_is_told_at_once(client_js: ClientJs, asked: Json, words: str) -> None:
    """A `TypeError` that names the argument, before anything is sent; it shows no password."""
    read = await client_js.read(**{"url": "http://127.0.0.1:9", **asked})
    assert read.error
    assert read.error["name"] == "TypeError"
    assert words in read.error["message"]
    assert "pass" not in read.error["message"].replace("password", "")


async def test_a_server_that_restarts(client_js: ClientJs) -> None:
    """A run in its memory is gone, and that is told: what came is not taken for the answer."""
    async with stack(STALLS) as s, CuttingProxy(s.url) as proxy:
        client_js.begin(proxy.url, messages="Hi", after=2, does="tell")
        await client_js.said()
        async with stack(STALLS) as new:
            proxy.targets = (new.url,)
            proxy.reset_all()
            read = await client_js.outcome()
    assert read.code == "run_gone"
    assert read.text == "One two"
    assert len(read.drops) == 1


async def test_two_loops_over_one_stream(client_js: ClientJs, project: Path) -> None:
    """The second throws; each stream that the client returns is its own."""
    program = """
        import { ChatClient } from "dripline-client";
        const client = new ChatClient(process.argv[1]);
        const stream = client.chat("Hi");
        await stream.stop(); // before it has begun, there is nothing to ask
        const other = client.chat("Hi");
        const loops = other[Symbol.asyncIterator]();
        try {
          other[Symbol.asyncIterator]();
        } catch (error) {
          console.log(error.message);
        }
        const waiting = [loops.next(), loops.next(), loops.next(), loops.next()];
        console.log((await Promise.all(waiting.slice(0, 3))).map(({ value }) => value.type).join());
        const left = loops.return();
        console.log((await waiting[3]).done, (await left).done, other.answer.text);
    """
    async with stack(STALLS, grace=3600) as s:
        node = await asyncio.create_subprocess_exec(
            *(require_program("node"), "--input-type=module", "--eval", program, s.url),
            cwd=project,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await node.communicate()
        assert await s.ollama.chats[0].wait_ended() is Ending.CLIENT_LEFT
        assert len(s.ollama.chats) == 1
    assert said.decode().splitlines() == [
        "a stream is iterated once; ask the client for another one",
        "start,text_message,text_message",
        "true true One two",
    ]
