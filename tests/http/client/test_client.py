"""The chat client against servers that are wrong: each way has its error, and none is an answer."""

from __future__ import annotations

import asyncio

import pytest

from dripline import (
    Backoff,
    ChatClient,
    DriplineError,
    EventsDropped,
    EventTooLarge,
    MalformedEvent,
    NotAnEventStream,
    RequestError,
    RequestRefused,
    RunFailed,
    RunGone,
    ServerTimeout,
    ServerUnreachable,
    StreamTruncated,
    TextMessage,
)
from dripline.http.backoff import may_pass
from dripline.http.sending import retry_after
from tests.support.scripted_server import Say, ScriptedServer, answer, frames, stream, texts

AT_ONCE = Backoff(first=0)
END = '{"type":"end","data":{"status":"completed"}}'
CANCELLED = '{"type":"end","data":{"status":"cancelled"}}'
ERROR_BODY = b'{"error":{"code":"server_full","message":"Full. Try later."}}'

BEFORE_THE_STREAM: dict[str, tuple[Say, type[DriplineError], str]] = {
    "no answer": (Say(b""), ServerUnreachable, "closed the connection without an answer"),
    "a reset": (Say(b"", "RST"), ServerUnreachable, "reset"),
    "half the headers": (Say(b"HTTP/1.1 200 OK\r\nConte"), ServerUnreachable, "without an answer"),
    "half the headers, then silence": (
        Say(b"HTTP/1.1 200 OK\r\nConte", "silence"),
        ServerTimeout,
        r"nothing for 0\.1 s",
    ),
    "silence": (Say(b"", "silence"), ServerTimeout, r"nothing for 0\.1 s"),
    "not HTTP": (Say(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), ServerUnreachable, "answer is not HTTP"),
    "a bad header": (
        Say(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        ServerUnreachable,
        "answer is not HTTP",
    ),
    "a web page": (
        answer(200, b"<html>", Content_Type="text/html"),
        NotAnEventStream,
        "answered text/html",
    ),
    "no type": (answer(200), NotAnEventStream, "nothing typed"),
    "no content": (answer(204), NotAnEventStream, "nothing typed"),
    "a redirect to a log-in": (answer(302, Location="/login"), RequestError, "moved to http://"),
    "a redirect to elsewhere": (
        answer(307, Location="http://example.com/chat"),
        RequestError,
        r"moved to http://example\.com/chat",
    ),
    "a redirect that names another page": (
        answer(303, Location="/there"),
        RequestError,
        "moved to",
    ),
    "a redirect to nonsense": (
        answer(308, Location="http://:99999999/"),
        RequestError,
        r"moved \(HTTP 308\) to an invalid address",
    ),
    "a redirect without an address": (answer(301), RequestRefused, "HTTP 301"),
    "an error of dripline's": (
        answer(503, ERROR_BODY, Retry_After="5"),
        RequestRefused,
        r"HTTP 503 server_full: Full\. Try later\.",
    ),
    "an error page": (answer(502, b"<h1>Bad Gateway</h1>"), RequestRefused, "HTTP 502: <h1>Bad"),
    "an error without a body": (answer(500), RequestRefused, "HTTP 500: Said"),
    "an error that is cut": (
        Say(b"HTTP/1.1 500 Oops\r\nContent-Length: 50\r\n\r\n{"),
        RequestRefused,
        r"HTTP 500: \{",
    ),
    "an error of another shape": (
        answer(400, b'{"error": "no"}'),
        RequestRefused,
        r'HTTP 400: \{"error": "no"\}',
    ),
    "an error in another alphabet": (answer(400, b"\xff\xfe"), RequestRefused, "HTTP 400: \ufffd"),
}


@pytest.mark.parametrize(
    ("says", "error", "words"), BEFORE_THE_STREAM.values(), ids=BEFORE_THE_STREAM
)
async def test_a_chat_that_does_not_begin(
    says: Say, error: type[DriplineError], words: str
) -> None:
    """It raises, and the chat is sent once: sent twice it would run twice."""
    async with (
        ScriptedServer(says) as server,
        ChatClient(server.url, backoff=AT_ONCE, silence_timeout=0.1) as client,
    ):
        with pytest.raises(error, match=words):
            await client.ask("Hi")
        assert [asked.method for asked in server.asked].count("POST") == 1


def frame(data: str) -> bytes:
    return frames(data)


def second(raw: bytes) -> bytes:
    """A good event, and then this."""
    return frames(*texts("a")) + raw


IN_THE_STREAM: dict[str, tuple[bytes, type[DriplineError], str]] = {
    "not JSON": (second(b"id: 2\ndata: {\n\n"), MalformedEvent, "data: not JSON"),
    "no object": (second(b"id: 2\ndata: [1]\n\n"), MalformedEvent, "not a JSON object"),
    "no type": (
        second(b"id: 2\ndata: {}\n\n"),
        MalformedEvent,
        "type: is missing; it should be a string",
    ),
    "a wrong field": (
        second(b'id: 2\ndata: {"type":"text_message","data":{"content":1}}\n\n'),
        MalformedEvent,
        "content: should be a string, is a whole number",
    ),
    "a wrong status": (
        second(b'id: 2\ndata: {"type":"end","data":{"status":"fine"}}\n\n'),
        MalformedEvent,
        "status: should be one of",
    ),
    "[DONE]": (second(b"id: 2\ndata: [DONE]\n\n"), MalformedEvent, "data: not JSON"),
    "no id": (
        second(b"data: " + END.encode() + b"\n\n"),
        MalformedEvent,
        "id: should be 2, is '1'",
    ),
    "a missing event": (second(frames(END, first=3)), MalformedEvent, "id: should be 2, is '3'"),
    "an event twice": (second(frames(*texts("a"))), MalformedEvent, "id: should be 2, is '1'"),
    "a missing first": (frames(END, first=2), MalformedEvent, "id: should be 1, is '2'"),
    "no ids at all": (b"data: " + END.encode() + b"\n\n", MalformedEvent, "id: should be 1, is ''"),
    "an id that is no number": (
        b"id: first\ndata: " + END.encode() + b"\n\n",
        MalformedEvent,
        "id: should be 1, is 'first'",
    ),
    "an id with zeros": (second(b"id: 02\ndata: {}\n\n"), MalformedEvent, "is '02'"),
    "too large an event": (second(b"data: " + b"a" * 3000), EventTooLarge, "2,000 bytes"),
    "a failure without a reason": (
        second(frames('{"type":"end","data":{"status":"failed"}}', first=2)),
        RunFailed,
        "does not say",
    ),
    "no end": (second(b""), StreamTruncated, "after event 1, without its end .the body ended"),
    "nothing": (b"", StreamTruncated, "before any event"),
    "another stream": (b"event: delta\ndata: {}\n\n", MalformedEvent, "id: should be 1"),
}


@pytest.mark.parametrize(("body", "error", "words"), IN_THE_STREAM.values(), ids=IN_THE_STREAM)
async def test_a_stream_that_is_wrong(body: bytes, error: type[DriplineError], words: str) -> None:
    """It raises, however often one asks again: it never seems to have come to its end."""
    async with (
        ScriptedServer(stream(body, X_Run_Id="r"), answer(202)) as server,
        ChatClient(server.url, backoff=Backoff(attempts=0), max_event_size=2000) as client,
        client.chat("Hi") as chat,
    ):
        with pytest.raises(error, match=words):
            [event async for event in chat]
        for _ in range(3):
            with pytest.raises(DriplineError):
                await anext(chat)


async def test_a_wrong_server_is_not_made_right_by_resuming() -> None:
    """A hole stays a hole: what the next connection brings is checked against the last event."""
    says = [stream(frames(*texts("a")), cut=True, X_Run_Id="r"), stream(frames(END, first=3))]
    async with (
        ScriptedServer(*says) as server,
        ChatClient(server.url, backoff=AT_ONCE) as client,
        client.chat("Hi", on_leave="detach") as chat,
    ):
        with pytest.raises(MalformedEvent, match="id: should be 2, is '3'"):
            [event async for event in chat]


async def test_an_answer_that_is_no_stream_any_more() -> None:
    """A login page in the place of the run: what it is, is said, and it is not tried again."""
    says = [
        stream(frames(*texts("a")), cut=True, X_Run_Id="r"),
        answer(200, b"<html>", Content_Type="text/html"),
    ]
    async with (
        ScriptedServer(*says) as server,
        ChatClient(server.url, backoff=AT_ONCE) as client,
        client.chat("Hi", on_leave="detach") as chat,
    ):
        with pytest.raises(NotAnEventStream, match="text/html"):
            [event async for event in chat]
        assert len(server.asked) == 2


async def test_what_comes_after_the_end_is_ignored() -> None:
    """Also where the server keeps the connection open: nobody waits for more."""
    body = frames(*texts("a"), END, *texts("b"), "garbage")
    async with (
        ScriptedServer(stream(body, cut=True, then="silence", X_Run_Id="r")) as server,
        ChatClient(server.url, silence_timeout=60) as client,
        client.chat("Hi") as chat,
    ):
        events = [event async for event in chat]
        assert [event async for event in chat] == []
    assert len(events) == 2
    assert chat.answer.text == "a"
    assert len(server.asked) == 1


async def test_what_is_not_known_yet_is_ignored() -> None:
    """New types and new fields of a newer server; their ids count all the same."""
    new = '{"type":"weather","data":{"rain":true},"more":1}'
    known = '{"type":"text_message","data":{"content":"a","colour":"red"},"more":1}'
    async with (
        ScriptedServer(stream(frames(new, known, new, CANCELLED), X_Run_Id="r")) as server,
        ChatClient(server.url) as client,
        client.chat("Hi") as chat,
    ):
        assert await anext(chat) == TextMessage("a")
        assert chat.last_event_id == "2"
        answered = [event async for event in chat]
    assert len(answered) == 1


@pytest.mark.parametrize("url", ["", "nonsense", "ftp://127.0.0.1", "http://127.0.0.1:99999"])
async def test_an_address_that_cannot_be(url: str) -> None:
    """It is the caller's mistake, and is said so."""
    async with ChatClient(url) as client:
        with pytest.raises(RequestError, match="cannot be sent"):
            await client.ask("Hi")


async def test_no_server() -> None:
    """Where a caller would look for it: a `ConnectionError`."""
    async with ChatClient("http://127.0.0.1:1") as client:
        with pytest.raises(ConnectionError, match=r"no server answers at http://127\.0\.0\.1:1 "):
            await client.ask("Hi")


async def test_a_closed_client() -> None:
    """It opens no connection again."""
    client = ChatClient("http://127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(RequestError, match="closed"):
        await client.models()


MODELS = [b"", b"[]", b'{"models": 1}', b'{"models": [{}]}', b'{"models": [{"name": "x"}]}']


@pytest.mark.parametrize("body", MODELS, ids=repr)
async def test_models_of_another_server(body: bytes) -> None:
    """What answers is not dripline, and that is said."""
    async with ScriptedServer(answer(200, body)) as server, ChatClient(server.url) as client:
        with pytest.raises(RequestError, match="returned an unusable answer"):
            await client.models()


ERRORS: dict[DriplineError, tuple[str, bool]] = {
    RequestRefused(503, "server_full", "Full."): ("HTTP 503 server_full: Full.", True),
    RequestRefused(429, "", "Slow down."): ("HTTP 429: Slow down.", True),
    RequestRefused(400, "bad_field", "model: no."): ("HTTP 400 bad_field: model: no.", False),
    RequestError("the client is closed"): ("the client is closed", False),
    RunFailed("boom", "It broke.", retryable=True): ("boom: It broke.", False),
    ServerUnreachable("http://x", "refused"): (
        "no server answers at http://x (refused); is it running?",
        True,
    ),
    ServerTimeout(60): ("the server sent nothing for 60 s", True),
    StreamTruncated("7", "cut"): ("the stream stopped after event 7, without its end (cut)", True),
    RunGone("secret"): (
        "the server knows no such run: it ended a while ago, or the server was restarted",
        False,
    ),
    EventsDropped("7", "40"): (
        "events after 7 have been discarded; the first available one is 40",
        False,
    ),
    EventsDropped("", ""): (
        "events after the start have been discarded; the first available one is not known",
        False,
    ),
    NotAnEventStream("http://x", ""): (
        "http://x answered nothing typed, not text/event-stream",
        False,
    ),
    MalformedEvent("id", "no"): ("malformed event: id: no", False),
}


@pytest.mark.parametrize(("error", "expected"), ERRORS.items(), ids=lambda one: type(one).__name__)
def test_the_sentences_of_the_errors(error: DriplineError, expected: tuple[str, bool]) -> None:
    """Each says what happened, and the client knows which of them can pass."""
    assert (str(error), may_pass(error)) == expected


WAITS: dict[str, tuple[dict[str, str], float]] = {
    "none": ({}, 0),
    "seconds": ({"Retry-After": " 120 "}, 120),
    "no whole number": ({"Retry-After": "1.5"}, 0),
    "negative": ({"Retry-After": "-5"}, 0),
    "unusual digits": ({"Retry-After": "\u0665"}, 0),
    "very many": ({"Retry-After": "9" * 400}, float("inf")),
    "a date by the server's clock": (
        {
            "Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT",
            "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
        },
        30,
    ),
    "a date that has passed": ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
    "a date that cannot be": ({"Retry-After": "Wed, 41 Oct 2026 07:28:00 GMT"}, 0),
    "blank": ({"Retry-After": " "}, 0),
}


@pytest.mark.parametrize(("headers", "seconds"), WAITS.values(), ids=WAITS)
def test_retry_after(headers: dict[str, str], seconds: float) -> None:
    """RFC 9110, section 10.2.3: seconds, or a date; what makes no sense asks for nothing."""
    assert retry_after(headers) == seconds


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_a_chat_that_has_moved_is_posted_again(status: int) -> None:
    """With its body, and never as a GET, which would ask for something else."""
    there = answer(status, Location="/there/chat")
    whole = stream(frames(*texts("Hi"), '{"type":"end","data":{"status":"completed"}}'))
    async with ScriptedServer(there, whole) as server, ChatClient(server.url) as client:
        assert (await client.ask("Hello")).text == "Hi"
    first, second = server.asked
    assert (first.method, first.path) == ("POST", "/chat")
    assert (second.method, second.path, second.body) == ("POST", "/there/chat", first.body)


async def test_a_chat_that_moves_for_ever() -> None:
    """It is given up."""
    async with ScriptedServer(answer(308, Location="/chat")) as server:
        async with ChatClient(server.url) as client:
            with pytest.raises(RequestError, match="redirects too often"):
                await client.ask("Hi")
        assert {asked.method for asked in server.asked} == {"POST"}


async def test_a_client_belongs_to_one_event_loop() -> None:
    """In another one, where its connections cannot be used, it says so."""
    whole = stream(frames(*texts("Hi"), '{"type":"end","data":{"status":"completed"}}'))
    async with ScriptedServer(whole) as server, ChatClient(server.url) as client:
        await client.ask("Hello")
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, client.ask("Hello"))
        assert (await client.ask("Hello")).text == "Hi"
