"""`--record DIR`: one file a run, with Ollama's bytes and what each reader was sent."""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from dripline import EventDecoder, TextMessage
from dripline.events import from_json
from dripline.recordings.recording import Exchange, ExchangeEnding, load_parts
from dripline.recordings.replay import ending_to_replay
from dripline.testing import Fault, Replay, Script
from dripline_server.app import serve
from dripline_server.runs.records import RunRecord
from dripline_server.settings import Settings
from tests.support.stack import Stack, stack, user

TOKENS = ["Es", " wär", " ✓"]


def the_file(folder: Path) -> Path:
    """The one recording in the folder."""
    [path] = files(folder)
    return path


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def texts(exchange: Exchange) -> list[str]:
    """The pieces of text in a recorded event stream."""
    found = (from_json(event.data) for event in EventDecoder().feed(exchange.body))
    return [event.content for event in found if isinstance(event, TextMessage)]


async def chat(s: Stack) -> bytes:
    """Read a chat to its end."""
    async with s.http.post(f"{s.url}/chat", json={"messages": user("Hi")}) as response:
        return await response.read()


async def test_a_run_is_one_file(tmp_path: Path) -> None:
    """Upstream and reader, each as it was; closed when both are through; private; no secrets."""
    folder = tmp_path / "deep" / "records"
    async with stack(Script(TOKENS), record=str(folder)) as s:
        headers = {"Authorization": "Bearer hunter2"}
        body = {"messages": user("Grüezi")}
        async with s.http.post(f"{s.url}/chat", json=body, headers=headers) as response:
            sent = await response.read()
            run_id = response.headers["X-Run-Id"]
    path = the_file(folder)
    parts = load_parts(path)
    assert set(parts) == {"upstream", "sent-1"}
    upstream, reader = parts["upstream"], parts["sent-1"]
    assert upstream.request.url.endswith("/api/chat")
    assert upstream.body.count(b"\n") == len(TOKENS) + 1
    assert ending_to_replay(upstream) == "eof"
    assert reader.request.url == f"{s.url}/chat"
    assert orjson.loads(reader.request.body) == body
    assert reader.response
    assert reader.response.header("X-Run-Id") == run_id
    assert (reader.body, reader.ending) == (sent, ExchangeEnding.EOF)
    assert "hunter2" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert path.name.startswith("run-")
    assert path.name.endswith(f"-{run_id[:8]}.jsonl")


async def test_a_bug_report_carries_the_stream_that_caused_it(tmp_path: Path) -> None:
    """The upstream part, given to the fake Ollama, makes the server do the same again."""
    folder = tmp_path / "records"
    script = Script(TOKENS, fault=Fault.reset(at_token=2))
    async with stack(script, record=str(folder)) as s:
        assert b"upstream_reset" in await chat(s)
    parts = load_parts(the_file(folder))
    assert parts["upstream"].ending is ExchangeEnding.RESET
    async with stack(Script(Replay(parts["upstream"]))) as s:
        assert b"upstream_reset" in await chat(s)
    assert texts(parts["sent-1"]) == TOKENS[:2]


async def test_every_reader_is_a_part(tmp_path: Path) -> None:
    """One that left, and one that came back for the rest; the heartbeats are there too."""
    folder = tmp_path / "records"
    script = Script(TOKENS, fault=Fault.stall(at_token=1))
    async with stack(script, record=str(folder), heartbeat=0.05) as s:
        first = await s.http.post(f"{s.url}/chat", json={"messages": user("Hi")})
        run_id = first.headers["X-Run-Id"]
        while b": ping" not in await first.content.readany():
            pass
        first.close()
        url = f"{s.url}/runs/{run_id}"
        async with s.http.get(f"{url}/events", headers={"Last-Event-ID": "1"}) as second:
            await second.content.readany()
            async with s.http.delete(url) as stopped:
                assert stopped.status in (202, 204)
            await second.read()
    parts = load_parts(the_file(folder))
    assert {name: part.ending for name, part in parts.items()} == {
        "upstream": ExchangeEnding.CANCELLED,
        "sent-1": ExchangeEnding.CANCELLED,
        "sent-2": ExchangeEnding.EOF,
    }
    assert b": ping" in parts["sent-1"].body
    assert ("Last-Event-ID", "1") in parts["sent-2"].request.headers
    assert EventDecoder().feed(parts["sent-2"].body)[0].id == "2"
    assert b'"cancelled"' in parts["sent-2"].body


async def test_a_reader_may_be_slower_than_the_run(tmp_path: Path) -> None:
    """The file stays open for it after the run's end, and no longer."""
    record = RunRecord(tmp_path / "x.jsonl")
    reader = record.reader(make_mocked_request("GET", "/runs/x/events"))
    assert reader
    with reader:
        record.run_ended()
        reader.started(web.StreamResponse())
        reader.sent(b"late")
        reader.finished()
    [part] = load_parts(tmp_path / "x.jsonl").values()
    assert (part.body, part.ending) == (b"late", ExchangeEnding.EOF)
    assert record.reader(make_mocked_request("GET", "/")) is None


async def test_a_full_disk_disturbs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The chat is whole; the log says that its recording is not."""
    write, room = os.write, [3]

    def full(file: int, data: bytes) -> int:
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        room[0] -= 1
        return write(file, data)

    folder = tmp_path / "records"
    async with stack(Script(TOKENS), record=str(folder)) as s:
        monkeypatch.setattr("dripline.recordings.writer.os.write", full)
        with caplog.at_level(logging.ERROR):
            assert (await s.client.ask("Hi")).text == "".join(TOKENS)
        monkeypatch.undo()
        assert (await s.client.ask("Hi")).text == "".join(TOKENS)
    [message] = [r.getMessage() for r in caplog.records if r.name == "dripline_server.runs.records"]
    assert "is unfinished" in message
    assert "No space left" in message
    broken, sound = sorted(
        (load_parts(path) for path in files(folder)), key=lambda parts: "upstream" in parts
    )
    assert broken["sent-1"].ending is ExchangeEnding.UNFINISHED
    assert sound["sent-1"].ending is ExchangeEnding.EOF


async def test_a_folder_that_goes_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Chats go on; each says that it is not recorded."""
    folder = tmp_path / "records"
    async with stack(Script(TOKENS), record=str(folder)) as s:
        folder.rmdir()
        assert (await s.client.ask("Hi")).text == "".join(TOKENS)
    assert "cannot be made" in caplog.text


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """The server does not start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        async with serve(Settings(port=0, record=str(tmp_path / "file"), ollama="http://a")):
            pass


async def test_without_the_option_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even an empty file."""
    monkeypatch.chdir(tmp_path)
    async with stack(Script(TOKENS)) as s:
        await s.client.ask("Hi")
    assert files(tmp_path) == []


async def test_a_folder_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    """The server does not start, and no connection to Redis is left behind."""
    (tmp_path / "file").touch()
    settings = Settings(
        port=0,
        ollama="http://127.0.0.1:1",
        record=str(tmp_path / "file"),
        run_log="redis://127.0.0.1:1",
    )
    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="file"):
        async with serve(settings):
            pass
    assert asyncio.all_tasks() == before
