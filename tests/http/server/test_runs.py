"""Runs: detach, reattach, stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from dripline import End, Error, EventDecoder, ServerSentEvent
from dripline.events import from_json
from dripline.testing import Ending, Fault, Pace, Script
from dripline_server.access_log import KeyValueFormatter
from dripline_server.upstream.ollama_events import OllamaAnswer
from tests.support.stack import Stack, stack, user

STORY = ["Once", " upon", " a", " time"]
TOLD = Script(STORY)
# Says two tokens, and nothing more until it is stopped.
HALF_TOLD = Script(STORY, fault=Fault.stall(at_token=2))


class Reader:
    """A reader of a run's events, over a connection of its own."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.run_id = response.headers.get("X-Run-Id", "")
        self.messages: list[ServerSentEvent] = []
        self._decoder = EventDecoder()

    async def read(self, until: int | None = None) -> list[ServerSentEvent]:
        """Read to the end, or until an event ID has come; return all that has come."""
        while not (until and self.messages and int(self.messages[-1].id) >= until):
            chunk = await self.response.content.readany()
            if not chunk:
                break
            self.messages += self._decoder.feed(chunk)
        return self.messages

    @property
    def end(self) -> End:
        """The last event, which is the `end`."""
        event = from_json(self.messages[-1].data)
        assert isinstance(event, End)
        return event


async def start(s: Stack, **fields: object) -> Reader:
    """Start a run; the reader has its stream."""
    response = await s.http.post(f"{s.url}/chat", json={"messages": user("Hi"), **fields})
    s.closing.callback(response.close)
    assert response.status == 200, await response.text()
    return Reader(response)


async def attach(s: Stack, run_id: str, after: int | str | None = None) -> Reader:
    """Attach a further reader."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    response = await s.http.get(f"{s.url}/runs/{run_id}/events", headers=headers)
    s.closing.callback(response.close)
    return Reader(response)


async def refusal(reader: Reader) -> tuple[int, str, str]:
    """The status, code and message of a refused attachment."""
    error = (await reader.response.json())["error"]
    return reader.response.status, error["code"], error["message"]


async def test_an_ended_run_can_be_read_again_from_any_position() -> None:
    """Each reader gets what the first one got, from where it asks."""
    async with stack(TOLD) as s:
        first = await start(s)
        whole = await first.read()
        assert [message.id for message in whole] == ["1", "2", "3", "4", "5", "6"]
        for after in range(6):
            assert await (await attach(s, first.run_id, after)).read() == whole[after:]
        query = await s.http.get(f"{s.url}/runs/{first.run_id}/events?after=4")
        assert await Reader(query).read() == whole[4:]
        assert await (await attach(s, first.run_id)).read() == whole
        assert (await attach(s, first.run_id, 6)).response.status == 204


async def test_many_readers_of_a_run_that_goes_on() -> None:
    """Each is complete and in order, whenever it came."""
    script = Script(["word "] * 60, pace=Pace(tokens_per_second=300))
    async with stack(script) as s:
        first = await start(s)
        await first.read(until=5)
        others = [await attach(s, first.run_id, after) for after in (0, 1, 3, 5)]
        results = await asyncio.gather(first.read(), *(other.read() for other in others))
    whole = results[0]
    assert [int(message.id) for message in whole] == list(range(1, 63))
    for after, result in zip((0, 1, 3, 5), results[1:], strict=True):
        assert result == whole[after:]


async def test_a_detached_run_goes_on_and_can_be_reattached() -> None:
    """Nothing is lost while nobody reads."""
    script = Script(["word "] * 40, pace=Pace(tokens_per_second=200))
    async with stack(script) as s:
        first = await start(s)
        got = list(await first.read(until=5))
        first.response.close()
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.FINISHED
        rest = await (await attach(s, first.run_id, got[-1].id)).read()
    assert [int(message.id) for message in got + rest] == list(range(1, 43))


@pytest.mark.parametrize(
    ("settings", "fields"),
    [({"grace": 0.05}, {}), ({"grace": 0}, {}), ({"grace": 30}, {"on_disconnect": "stop"})],
    ids=["after the grace time", "no grace", "asked to stop"],
)
async def test_a_run_without_readers_is_stopped(
    settings: dict[str, float], fields: dict[str, str]
) -> None:
    """Ollama's socket is closed, and the run ends as cancelled."""
    async with stack(HALF_TOLD, **settings) as s:
        first = await start(s, **fields)
        await first.read(until=3)
        first.response.close()
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.CLIENT_LEFT
        again = await attach(s, first.run_id, 3)
        await again.read()
        assert again.end.status == "cancelled"


async def test_coming_back_within_the_grace_time_keeps_the_run() -> None:
    """The clock starts anew each time the last reader goes."""
    script = Script(["word "] * 20, pace=Pace(tokens_per_second=20))
    async with stack(script, grace=0.5) as s:
        reader = await start(s)
        for until in range(3, 20, 4):
            await reader.read(until=until)
            reader.response.close()
            reader = await attach(s, reader.run_id, reader.messages[-1].id)
        await reader.read()
        assert reader.end.status == "completed"


async def test_a_run_that_is_to_continue_needs_no_reader() -> None:
    """`on_disconnect: continue` outlives every grace time."""
    script = Script(["word "] * 20, pace=Pace(tokens_per_second=100))
    async with stack(script, grace=0) as s:
        first = await start(s, on_disconnect="continue")
        first.response.close()
        request = await s.ollama.wait_for_request()
        assert await request.wait_ended() is Ending.FINISHED


async def test_a_fault_at_the_very_end_is_an_end_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Readers do not wait for ever for what could not be said; the log has the fault."""
    monkeypatch.setattr(OllamaAnswer, "usage", lambda *_: 1 / 0)
    async with stack(TOLD) as s:
        first = await start(s)
        *_, error, _ = map(from_json, [message.data for message in await first.read()])
        assert isinstance(error, Error)
        assert (error.code, first.end.status) == ("internal_error", "failed")
        assert s.server.state.runs.active == 0
    assert "ZeroDivisionError" in caplog.text


async def test_asking_for_the_head_of_a_stream() -> None:
    """405: a HEAD that answered would be a reader that never takes anything."""
    async with stack(HALF_TOLD) as s:
        first = await start(s)
        async with s.http.head(f"{s.url}/runs/{first.run_id}/events") as answer:
            assert answer.status == 405
        assert figure(s, "readers") == 1


async def test_stop_and_state_of_what_is_not_there() -> None:
    """404, whatever the verb."""
    async with stack(TOLD) as s:
        for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
            answer = await s.http.request(method, f"{s.url}/runs/nobody{path}")
            assert answer.status == 404
            assert (await answer.json())["error"]["code"] == "not_found"


async def test_the_state_of_a_run() -> None:
    """Running or ended, and which events can be had."""
    async with stack(HALF_TOLD) as s:
        reader = await start(s)
        await reader.read(until=3)
        state = await (await s.http.get(f"{s.url}/runs/{reader.run_id}")).json()
        assert state == {
            "run_id": reader.run_id,
            "model": "story",
            "status": "running",
            "first_event_id": "1",
            "last_event_id": "3",
        }
        await s.http.delete(f"{s.url}/runs/{reader.run_id}")
        await reader.read()
        state = await (await s.http.get(f"{s.url}/runs/{reader.run_id}")).json()
        assert (state["status"], state["last_event_id"]) == ("ended", "4")


@pytest.mark.parametrize("position", ["-1", "1.5", "x", "٣", "1_0", "9" * 20, "7"])
async def test_a_position_that_cannot_be(position: str) -> None:
    """400, which names the field: not a number, or beyond the last event."""
    async with stack(TOLD) as s:
        first = await start(s)
        await first.read()
        url = URL(f"{s.url}/runs/{first.run_id}/events").with_query(after=position)
        status, code, message = await refusal(Reader(await s.http.get(url)))
    assert (status, code) == (400, "bad_field")
    assert message.startswith("Last-Event-ID: ")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"dialect": "morse"}, "dialect"),
        ({"dialect": "agui", "runId": "r"}, "threadId"),
        ({"dialect": "agui", "threadId": "x" * 257, "runId": "r"}, "threadId"),
        ({"dialect": "ui-message"}, "messageId"),
    ],
    ids=str,
)
async def test_a_dialect_that_cannot_be(query: dict[str, str], named: str) -> None:
    """400, which names the field."""
    async with stack(TOLD) as s:
        first = await start(s)
        await first.read()
        url = URL(f"{s.url}/runs/{first.run_id}/events").with_query(query)
        status, code, message = await refusal(Reader(await s.http.get(url)))
    assert (status, code) == (400, "bad_field")
    assert message.startswith(f"{named}: ")


async def test_a_position_that_has_been_dropped() -> None:
    """410, with the first event that is there: a loss is said."""
    async with stack(Script(["word "] * 100), log_bytes=2000) as s:
        first = await start(s)
        await first.read()
        gone = await attach(s, first.run_id, 1)
        status, code, _ = await refusal(gone)
        assert (status, code) == (410, "position_gone")
        there = int(gone.response.headers["X-First-Event-Id"])
        rest = await (await attach(s, first.run_id, there - 1)).read()
    assert [int(message.id) for message in rest] == list(range(there, 103))


async def test_ended_runs_are_let_go_of() -> None:
    """By age, by number, and by bytes; the oldest go first."""
    async with stack(TOLD, keep_time=0.01) as s:
        first = await start(s)
        await first.read()
        while (await attach(s, first.run_id)).response.status != 404:
            pass
    async with stack(TOLD, keep_runs=2) as s:
        readers = [await start(s) for _ in range(3)]
        for reader in readers:
            await reader.read()
        found = [(await attach(s, reader.run_id)).response.status for reader in readers]
        assert sorted(found) == [200, 200, 404]
    async with stack(Script(["word "] * 50), total_log_bytes=9_000) as s:
        readers = []
        for _ in range(3):
            readers.append(await start(s))
            await readers[-1].read()
        found = [(await attach(s, reader.run_id)).response.status for reader in readers]
        assert found == [404, 404, 200]


async def test_limits_have_clear_answers() -> None:
    """As many runs and readers as there may be, and `Retry-After`."""
    async with stack(HALF_TOLD, max_runs=1, max_readers=2) as s:
        first = await start(s)
        await first.read(until=2)
        refused = await s.http.post(f"{s.url}/chat", json={"messages": user("Hi")})
        assert refused.status == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert (await refused.json())["error"]["code"] == "server_full"
        await attach(s, first.run_id)
        status, code, _ = await refusal(await attach(s, first.run_id))
        assert (status, code) == (429, "too_many_readers")
        await s.http.delete(f"{s.url}/runs/{first.run_id}")
        await first.read()
        await start(s)


async def test_run_ids_cannot_be_guessed() -> None:
    """128 random bits each."""
    async with stack(TOLD) as s:
        ids = {(await start(s)).run_id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(run_id) >= 22 for run_id in ids)


@asynccontextmanager
async def slow_reader(s: Stack, run_id: str) -> AsyncIterator[socket.socket]:
    """A reader that has asked for everything and takes nothing, with a small window."""
    url = URL(s.url)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (url.host, url.port))
        request = f"GET /runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await loop.sock_sendall(raw, request.encode())
        yield raw


def figure(s: Stack, name: str) -> float:
    """One of the server's own figures."""
    text = s.server.state.metrics.text().decode()
    return float(text.split(f"\ndripline_{name} ")[1].split("\n")[0])


async def wait_unread(s: Stack) -> None:
    """Wait until no reader is attached."""
    while True:
        if not figure(s, "readers"):
            return
        await asyncio.sleep(0.01)


async def test_a_stuck_reader_holds_the_model_back_and_not_the_memory() -> None:
    """The log keeps its bound, Ollama waits, and the others go on once the reader is cut."""
    bound = 200_000
    async with stack(Script(["x" * 1000] * 3000), log_bytes=bound, reader_timeout=1.0) as s:
        first = await start(s)
        async with slow_reader(s, first.run_id) as raw:
            peak = 0.0
            for until in range(1, 3002, 50):
                await first.read(until=until)
                peak = max(peak, figure(s, "log_bytes"))
            await first.read()
            assert [int(message.id) for message in first.messages] == list(range(1, 3003))
            assert first.end.status == "completed"
            # One upstream read may go beyond the bound: what aiohttp buffers, and one recv.
            assert peak < bound + 500_000
            taken = await received(raw)
        assert 0 < len(taken) < 1_000_000
        status, code, _ = await refusal(await attach(s, first.run_id, 1))
        assert (status, code) == (410, "position_gone")


async def received(raw: socket.socket) -> bytes:
    """All that a connection brings until it is reset."""
    taken = b""
    with pytest.raises(ConnectionError):
        while True:
            data = await asyncio.get_running_loop().sock_recv(raw, 65536)
            if not data:
                raise ConnectionError
            taken += data
    return taken


async def test_a_stuck_reader_is_cut_and_can_resume() -> None:
    """Others are not slowed while the log has room, and nothing is lost to the one that was cut."""
    async with stack(Script(["x" * 1000] * 3000), reader_timeout=0.3) as s:
        first = await start(s)
        async with slow_reader(s, first.run_id) as raw:
            whole = await first.read()
            assert first.end.status == "completed"
            await wait_unread(s)  # a fast machine is through before the reader counts as stuck
            taken = await received(raw)
        assert len(taken) < 1_000_000
        ids = [int(line[4:]) for line in taken.split(b"\n") if line.startswith(b"id: ")]
        last = ids[-2] if ids else 0
        rest = await (await attach(s, first.run_id, last)).read()
    assert rest == whole[last:]


async def test_metrics_tell_what_happened() -> None:
    """Endings, errors by code, tokens, and what goes on now."""
    broken = Script(STORY, fault=Fault.cut(at_token=1))
    async with stack({"told": TOLD, "half": HALF_TOLD, "broken": broken}) as s:
        await (await start(s, model="told")).read()
        await (await start(s, model="broken")).read()
        await (await start(s, model="half")).read(until=3)
        answer = await s.http.get(f"{s.url}/metrics")
        figures = dict(
            line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line[0] != "#"
        )
    assert answer.content_type == "text/plain"
    assert figures['dripline_runs_total{status="completed"}'] == "1.0"
    assert figures['dripline_runs_total{status="failed"}'] == "1.0"
    assert figures['dripline_run_errors_total{code="upstream_cut"}'] == "1.0"
    assert figures["dripline_tokens_total"] == "7.0"
    assert figures["dripline_active_runs"] == "1.0"
    assert figures["dripline_readers"] == "1.0"
    assert figures["dripline_first_token_seconds_count"] == "2.0"
    assert float(figures["dripline_log_bytes"]) > 0


async def test_the_log_tells_of_requests_and_not_of_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Routes, statuses and endings; no contents, and no run id that would open the run."""
    caplog.set_level("DEBUG")
    async with stack(Script(["secret", " answer"])) as s:
        body = {"messages": user("a secret question")}
        first = Reader(await s.http.post(f"{s.url}/chat", json=body))
        await first.read()
        await (await attach(s, first.run_id, 1)).read()
        await s.http.get(f"{s.url}/runs/{first.run_id}/events?after=2&token=secret")
    text = "\n".join(KeyValueFormatter().format(record) for record in caplog.records)
    assert "request method=POST route=/chat" in text
    assert f"route=/runs/{{run_id}}/events run={first.run_id[:8]} status=200" in text
    assert "run ended" in text
    assert "status=completed" in text
    assert "secret" not in text
    assert first.run_id not in text


async def test_runs_are_listed_newest_first() -> None:
    """Whichever dialect started them; how they ended is said until they are forgotten."""
    async with stack(Script("Hi"), keep_time=60) as s:
        first = await s.client.ask("Hi")
        body = {"model": "story", "messages": [{"role": "user", "content": "Hi"}]}
        async with s.http.post(f"{s.url}/v1/chat/completions", json=body) as response:
            second = response.headers["X-Run-Id"]
        found = await s.client.runs()
    assert first.text == "Hi"
    assert [run.status for run in found] == ["completed", "completed"]
    assert found[0].run_id == second
    assert found[0].began >= found[1].began


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
async def test_runs_are_not_listed_for_other_machines(header: str) -> None:
    """Who knows an id may read the run: without a token, only this machine is told the ids."""
    async with stack(Script("Hi")) as s:
        async with s.http.get(f"{s.url}/runs", headers={header: "192.0.2.1"}) as response:
            told = await response.json()
        assert (response.status, told["error"]["code"]) == (403, "unauthorized")
    async with stack(Script("Hi"), token="sesame") as s:
        headers = {header: "192.0.2.1", "Authorization": "Bearer sesame"}
        async with s.http.get(f"{s.url}/runs", headers=headers) as response:
            assert (response.status, await response.json()) == (200, {"runs": []})
        async with s.http.get(f"{s.url}/runs") as response:
            assert response.status == 401
