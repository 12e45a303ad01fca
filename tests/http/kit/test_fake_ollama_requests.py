"""What the fake Ollama says about its clients, and what is left of it when it is closed."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest

from dripline.recordings.splits import every_byte
from dripline.testing import (
    Ending,
    FakeOllama,
    Fault,
    Pace,
    Phase,
    ReceivedRequest,
    Script,
    VirtualClock,
)
from tests.support.raw_http import raw_exchange, raw_request, texts

CHAT = {"model": "story", "messages": [{"role": "user", "content": "Hi"}]}
ENDLESS = "word " * 100_000

# A chat in each phase in which a client can leave it.
PHASES: dict[str, tuple[Script, Phase, int]] = {
    "cold load": (Script(pace=Pace(cold_load=math.inf)), Phase.LOADING, 0),
    "before the first token": (Script(pace=Pace(first_token=math.inf)), Phase.EVALUATING, 0),
    "between tokens": (
        Script(["one", " two"], Pace(tokens_per_second=1e-9)),
        Phase.ANSWERING,
        1,
    ),
    "in a stall": (Script("a b c", fault=Fault.stall(at_token=2)), Phase.STALLED, 2),
}
in_each_phase = pytest.mark.parametrize(
    ("script", "phase", "tokens"), PHASES.values(), ids=PHASES.keys()
)


class Client:
    """A client that sends a chat and reads only when told to."""

    def __init__(self, url: str, body: object = CHAT) -> None:
        host, port = url.removeprefix("http://").split(":")
        self._address = (host, int(port))
        self._body = body

    async def __aenter__(self) -> Client:
        self.socket = socket.create_connection(self._address)
        self.socket.sendall(raw_request("POST", "/api/chat", self._body))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    def leave(self) -> None:
        """Close the connection, as a program does that exits."""
        self.socket.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent (TCP FIN), and keep the socket."""
        self.socket.shutdown(socket.SHUT_WR)


@asynccontextmanager
async def chatting(
    script: Script, version: str = "0.33.0"
) -> AsyncIterator[tuple[FakeOllama, Client, ReceivedRequest]]:
    """A fake with a chat under way."""
    async with (
        FakeOllama({"story": script}, version=version) as ollama,
        Client(ollama.url) as client,
    ):
        yield ollama, client, await ollama.wait_for_request()


@in_each_phase
@pytest.mark.parametrize("how", [Client.leave, Client.half_close])
async def test_a_client_that_leaves_is_noticed(
    script: Script, phase: Phase, tokens: int, how: Callable[[Client], None]
) -> None:
    """In whatever phase a client goes, the fake knows when, and how many tokens it got."""
    async with chatting(script) as (_, client, request):
        await request.wait_phase(phase)
        await request.wait_tokens(tokens)
        assert request.ended is None
        assert request.closed_at is None
        how(client)
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        await request.wait_closed()
        assert request.tokens_sent == tokens
        assert request.ended_at is not None
        assert request.closed_at is not None
        assert 0 <= request.closed_at - request.ended_at < 0.1
        assert request.seconds == request.ended_at - request.started_at


@in_each_phase
async def test_closing_ends_every_chat(script: Script, phase: Phase, tokens: int) -> None:
    """However deep in an answer it is, closing returns, and nothing of the server is left."""
    before = asyncio.all_tasks()
    ollama = FakeOllama({"story": script})
    await ollama.start()
    async with Client(ollama.url) as client:
        request = await ollama.wait_for_request()
        await request.wait_phase(phase)
        await request.wait_tokens(tokens)
        await ollama.close()
        assert request.ended is Ending.SERVER_CLOSED
        assert request.closed_at is not None
        assert asyncio.all_tasks() == before
        client.socket.settimeout(10)
        while client.socket.recv(65536):
            pass


async def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    """A stuck reader holds the answer up, but not the end of the server."""
    before = asyncio.all_tasks()
    ollama = FakeOllama({"story": Script(["x" * 100_000] * 1000)})
    await ollama.start()
    async with Client(ollama.url):
        request = await ollama.wait_for_request()
        await stuck(request)
        await ollama.close()
        assert request.ended is Ending.SERVER_CLOSED
        assert asyncio.all_tasks() == before


async def stuck(request: ReceivedRequest) -> None:
    """Wait until an answer has stopped moving because nobody reads it."""
    sent = -1
    while sent != request.tokens_sent or not sent:
        sent = request.tokens_sent
        for _ in range(1000):
            await asyncio.sleep(0)


async def test_a_reader_that_is_slow_holds_the_answer_up() -> None:
    """Tokens count as sent when the network has taken them; the fake does not buffer the rest."""
    async with chatting(Script(["x" * 100_000] * 1000)) as (_, client, request):
        await stuck(request)
        assert 0 < request.tokens_sent < 200
        before = request.tokens_sent
        await asyncio.to_thread(client.socket.recv, 10_000_000, socket.MSG_WAITALL)
        await request.wait_tokens(before + 10)
        client.leave()
        assert await request.wait_ended() is Ending.CLIENT_LEFT


async def test_tokens_sent_have_left_the_process() -> None:
    """What counts as sent is with the kernel: a client gets it even if the fake does no more."""
    async with chatting(Script(["x" * 2000] * 20_000)) as (_, client, request):
        await stuck(request)
        received = 0
        client.socket.settimeout(10)
        while received < request.tokens_sent:  # the fake cannot run meanwhile: this blocks
            received += client.socket.recv(1_000_000).count(b"\n\r\n")


async def test_a_client_in_the_same_loop_meets_the_pieces_one_by_one() -> None:
    """Between two pieces the loop runs, so that a reader finds them separate, not in one heap."""
    script = Script(["x"] * 5, split=every_byte)
    async with FakeOllama({"story": script}) as ollama, aiohttp.ClientSession() as http:
        response = await http.post(f"{ollama.url}/api/chat", json=CHAT)
        reads = [data async for data in response.content.iter_any()]
    # Nearly always all of them; TCP may still join some.
    assert len(reads) > len(b"".join(reads)) / 4


async def test_idle_connections_are_closed_too() -> None:
    """A client that keeps its connection for later does not keep the server from closing."""
    before = asyncio.all_tasks()
    async with aiohttp.ClientSession() as http:
        async with FakeOllama({"story": Script()}) as ollama:
            response = await http.post(f"{ollama.url}/api/chat", json=CHAT)
            await response.read()
            first = ollama.requests[-1]
            assert await first.wait_ended() is Ending.FINISHED
            assert first.closed_at is None
        assert first.closed_at is not None
        assert first.ended is Ending.FINISHED
        assert asyncio.all_tasks() == before


async def test_a_request_is_recorded() -> None:
    """Method, path, headers, body and outcome of each request are there afterwards."""
    async with aiohttp.ClientSession() as http, FakeOllama({"story": Script("a b c")}) as ollama:
        await http.get(f"{ollama.url}/api/tags?x=1")
        await http.post(f"{ollama.url}/api/chat", json=CHAT, headers={"X-Trace": "7"})
        await http.post(f"{ollama.url}/api/chat", data=b"{", headers={"X-Trace": "8"})
        await http.get(f"{ollama.url}/nowhere")
        await ollama.chats[0].wait_ended()
        tags, chat, broken, nowhere = ollama.requests
        assert (tags.method, tags.path, tags.status) == ("GET", "/api/tags", 200)
        assert (chat.method, chat.path, chat.status) == ("POST", "/api/chat", 200)
        assert (chat.headers["x-trace"], chat.body) == ("7", CHAT)
        assert (chat.tokens_sent, chat.ended, chat.fault) == (3, Ending.FINISHED, None)
        assert (broken.status, broken.body, broken.ended) == (400, None, Ending.FINISHED)
        assert (nowhere.status, nowhere.ended) == (404, Ending.FINISHED)
        assert ollama.chats == [chat, broken]
        assert repr(chat) == "<POST /api/chat: finished, 3 tokens sent>"


async def test_only_the_newest_requests_are_kept() -> None:
    """The record has a bound."""
    async with FakeOllama({}, max_requests=3) as ollama:
        for number in range(5):
            await raw_exchange(ollama.url, "GET", f"/{number}")
        assert [request.path for request in ollama.requests] == ["/2", "/3", "/4"]


async def test_waiting_for_what_cannot_come_raises() -> None:
    """Once a request has ended, waiting for more of it fails instead of hanging."""
    async with FakeOllama({"story": Script("a b c")}) as ollama:
        await raw_exchange(ollama.url, "POST", "/api/chat", CHAT)
        request = await ollama.wait_for_request()
        await request.wait_tokens(3)
        await request.wait_phase(Phase.ANSWERING)
        with pytest.raises(RuntimeError, match="ended before 4 tokens were sent"):
            await request.wait_tokens(4)
        with pytest.raises(RuntimeError, match="ended before it was stalled"):
            await request.wait_phase(Phase.STALLED)


async def test_the_nth_request_can_be_waited_for() -> None:
    """Waiting counts requests to one path only."""
    async with FakeOllama({"story": Script()}) as ollama:
        waiting = asyncio.create_task(ollama.wait_for_request(2))
        await raw_exchange(ollama.url, "POST", "/api/chat", CHAT | {"keep_alive": 1})
        await raw_exchange(ollama.url, "GET", "/api/ps")
        await raw_exchange(ollama.url, "POST", "/api/chat", CHAT | {"keep_alive": 2})
        assert (await waiting).body == CHAT | {"keep_alive": 2}
        assert (await ollama.wait_for_request(path="/api/ps")).method == "GET"


async def loaded(ollama: FakeOllama) -> bool:
    return b"story" in (await raw_exchange(ollama.url, "GET", "/api/ps")).body


@pytest.mark.parametrize(("version", "shown"), [("0.25.0", True), ("0.33.0", False)])
async def test_a_model_that_loads(version: str, shown: bool) -> None:
    """`/api/ps` of 0.25 shows it as soon as it loads; nothing has been sent until it is loaded."""
    script = Script(pace=Pace(cold_load=math.inf))
    async with chatting(script, version) as (ollama, client, request):
        await request.wait_phase(Phase.LOADING)
        assert await loaded(ollama) is shown
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)
    async with chatting(Script(pace=Pace(first_token=math.inf))) as (ollama, _, request):
        await request.wait_phase(Phase.EVALUATING)
        assert await loaded(ollama)


async def test_leaving_aborts_the_load() -> None:
    """A load ends with the client that waits for it; another client's load starts anew."""
    script = Script(pace=Pace(cold_load=math.inf))
    async with chatting(script) as (ollama, client, first):
        await first.wait_phase(Phase.LOADING)
        async with Client(ollama.url) as other:
            second = await ollama.wait_for_request(2)
            await second.wait_phase(Phase.LOADING)
            client.leave()
            await first.wait_ended()
            assert second.ended is None
            await second.wait_phase(Phase.LOADING)
            other.leave()
            await second.wait_ended()
        assert not await loaded(ollama)


async def test_clients_share_one_load() -> None:
    """Two clients of a cold model wait for the same load, and both get their answer."""
    clock = VirtualClock()
    async with FakeOllama({"story": Script(pace=Pace(cold_load=30))}, clock=clock) as ollama:
        await asyncio.gather(
            *(raw_exchange(ollama.url, "POST", "/api/chat", CHAT) for _ in range(5))
        )
        assert [chat.ended for chat in ollama.chats] == [Ending.FINISHED] * 5
    assert clock.now == 30


async def test_a_model_in_use_stays_loaded() -> None:
    """Unloading waits for the chats that are under way."""
    async with chatting(Script("a b", fault=Fault.stall(at_token=1))) as (ollama, client, request):
        await request.wait_phase(Phase.STALLED)
        unload = CHAT | {"messages": [], "keep_alive": 0}
        await raw_exchange(ollama.url, "POST", "/api/chat", unload)
        assert await loaded(ollama)
        client.leave()
        await request.wait_closed()
        while await loaded(ollama):
            pass


async def test_many_streams_at_once() -> None:
    """Streams do not disturb each other."""
    async with FakeOllama({"story": Script(lambda r: r.messages[0].content)}) as ollama:
        said = [f"number {number} says hello" for number in range(100)]
        bodies = [CHAT | {"messages": [{"role": "user", "content": text}]} for text in said]
        answers = await asyncio.gather(
            *(raw_exchange(ollama.url, "POST", "/api/chat", body) for body in bodies)
        )
    assert ["".join(texts(answer.lines)) for answer in answers] == said


async def test_models_can_change_while_it_runs() -> None:
    """A test can give a model another script at any time."""
    async with FakeOllama({"story": Script(["old"])}) as ollama:
        ollama.models["story"] = Script(["new"])
        assert b'"new"' in (await raw_exchange(ollama.url, "POST", "/api/chat", CHAT)).body
        del ollama.models["story"]
        assert (await raw_exchange(ollama.url, "POST", "/api/chat", CHAT)).status == 404


async def test_it_can_be_started_again_on_its_port() -> None:
    """A closed fake can come back, as an Ollama that was restarted."""
    ollama = FakeOllama({"story": Script()})
    with pytest.raises(RuntimeError, match="not running"):
        _ = ollama.url
    async with ollama:
        url = ollama.url
        with pytest.raises(RuntimeError, match="running already"):
            await ollama.start()
        await raw_exchange(ollama.url, "POST", "/api/chat", CHAT)
        assert await loaded(ollama)
    with pytest.raises(RuntimeError, match="not running"):
        _ = ollama.url
    await ollama.close()
    with pytest.raises(ConnectionRefusedError):
        await raw_exchange(url, "GET", "/")
    async with ollama:
        assert ollama.url == url
        assert not await loaded(ollama)


async def test_a_taken_port_is_an_error() -> None:
    """Where the port cannot be had, starting fails and leaves nothing behind."""
    before = asyncio.all_tasks()
    async with FakeOllama({}) as ollama:
        other = FakeOllama({}, port=int(ollama.url.rsplit(":", 1)[1]))
        with pytest.raises(OSError, match="address already in use"):
            await other.start()
        await other.close()
    assert asyncio.all_tasks() == before
