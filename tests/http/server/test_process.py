"""The server as a process: what ends it, what it tells its supervisor, what it keeps to itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from dripline import End, EventDecoder, ToolResult
from dripline.events import Event, from_json
from dripline.testing import Call, FakeOllama, Fault, Pace, Reply, Script, in_rounds
from dripline_server.runs.records import RunRecords
from tests.support.processes import command, line
from tests.support.stack import stack, user

TOOL = r"""
import asyncio

async def stubborn():
    '''Go on for ever.'''
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            pass

class Odd(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Base(BaseException):
    pass

async def odd():
    '''Fail without a text.'''
    raise Odd

def odd_in_a_thread():
    '''Fail without a text.'''
    raise Odd

async def base():
    '''Fail with what no one expects.'''
    raise Base("all over")

def base_in_a_thread():
    '''Fail with what no one expects.'''
    raise Base("all over")

TOOLS = [stubborn, odd, odd_in_a_thread, base, base_in_a_thread]
"""
CALLS = ["odd", "odd_in_a_thread", "base", "base_in_a_thread"]
STUCK = Script(["word "] * 20, fault=Fault.stall(at_token=2))
TOLD = Script(["word "] * 20, pace=Pace(tokens_per_second=20))


@asynccontextmanager
async def running(
    script: Script,
    *flags: str,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> AsyncIterator[tuple[FakeOllama, Process, str, aiohttp.ClientSession]]:
    """A dripline server as a process of its own, before a fake Ollama in this one."""
    async with (
        FakeOllama({"story": script}) as ollama,
        command(
            "dripline-server",
            *("--port", "0", "--ollama", ollama.url, "--model", "story", *flags),
            environment=environment or {},
        ) as process,
        aiohttp.ClientSession() as http,
    ):
        yield ollama, process, (await line(process)).removeprefix("dripline is at "), http


async def chat(http: aiohttp.ClientSession, url: str) -> list[Event | None]:
    """Ask, and read the whole stream."""
    async with http.post(f"{url}/chat", json={"messages": user("Hi")}) as response:
        return [from_json(message.data) for message in EventDecoder().feed(await response.read())]


def calling(*names: str) -> Script:
    rounds = in_rounds(Reply("", tool_calls=[Call(name) for name in names]), "Said")
    return Script(rounds, capabilities=["completion", "tools"])


async def test_a_tool_that_ignores_its_cancellation(tmp_path: Path) -> None:
    """The process ends soon all the same, with 0, and the log names the tool."""
    (tmp_path / "my_tools.py").write_text(TOOL)
    async with running(
        calling("stubborn"),
        *("--tools", "my_tools", "--drain-time", "0"),
        environment={"PYTHONPATH": str(tmp_path)},
    ) as (ollama, process, url, http):
        asking = asyncio.create_task(chat(http, url))
        await ollama.wait_for_request()
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert "server_shutdown" in str(await asking)
            _, said = await process.communicate()
        assert process.returncode == 0
        assert b"tool stubborn" in said


async def test_tools_that_fail_in_odd_ways(tmp_path: Path) -> None:
    """Each is told as failed, and the run goes on; none costs a thread's place."""
    (tmp_path / "my_tools.py").write_text(TOOL)
    async with running(
        calling(*CALLS), "--tools", "my_tools", environment={"PYTHONPATH": str(tmp_path)}
    ) as (_, _, url, http):
        events = await chat(http, url)
    results = [event for event in events if isinstance(event, ToolResult)]
    assert [result.name for result in results] == CALLS
    assert all(result.failed for result in results)
    assert ["all over" in result.content for result in results] == [False, False, True, True]
    assert isinstance(events[-1], End)
    assert events[-1].status == "completed"


async def test_hanging_up_is_a_shutdown() -> None:
    """SIGHUP lets the chats end, like SIGTERM."""
    async with running(TOLD) as (ollama, process, url, http):
        asking = asyncio.create_task(chat(http, url))
        await (await ollama.wait_for_request()).wait_tokens(1)
        process.send_signal(signal.SIGHUP)
        assert "waiting for 1 chat to end" in await line(process)
        *_, end = await asking
        assert isinstance(end, End)
        assert end.status == "completed"
        assert await process.wait() == 0


@pytest.mark.parametrize("abstract", [False, True])
async def test_a_service_manager_is_told(tmp_path: Path, abstract: bool) -> None:
    """READY once it serves, WATCHDOG while it lives, STOPPING as it begins to end."""
    name = f"dripline-{os.getpid()}" if abstract else str(tmp_path / "notify")
    address = f"@{name}" if abstract else name
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if abstract else name)
        manager.setblocking(False)
        environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}
        async with running(STUCK, environment=environment) as (_, process, url, http):
            async with asyncio.timeout(20):
                assert await loop.sock_recv(manager, 100) == b"READY=1"
                async with http.get(f"{url}/health") as response:
                    assert response.status == 200
                for _ in range(3):
                    assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
                process.send_signal(signal.SIGTERM)
                while (said := await loop.sock_recv(manager, 100)) == b"WATCHDOG=1":
                    pass
                assert said == b"STOPPING=1"
                assert await process.wait() == 0


async def test_process_1_of_a_container() -> None:
    """It heeds SIGTERM as soon as it runs, which process 1 ignores without a handler."""
    unshare = shutil.which("unshare")
    if not unshare or os.geteuid():
        pytest.skip("needs unshare, and root")
    server = shutil.which("dripline-server", path=str(Path(sys.executable).parent))
    flags = ("--pid", "--fork", "--mount-proc", "--kill-child", str(server))
    async with (
        FakeOllama({"story": STUCK}) as ollama,
        command(unshare, *flags, "--port", "0", "--ollama", ollama.url) as process,
    ):
        assert "dripline is at" in await line(process)
        os.kill(child_of(process), signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await process.wait() == 0


def child_of(process: Process) -> int:
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())


def test_recordings_whose_runs_begin_alike(tmp_path: Path) -> None:
    """In the same second, with the same first characters: each has a file."""
    records = RunRecords(str(tmp_path))
    made = [records.begin(f"the-same-{n}") for n in range(3)]
    assert None not in made
    records.close()
    assert len(list(tmp_path.iterdir())) == 3


BESIDE = [
    ".npmrc",
    "package.json",
    "package-lock.json",
    "tsconfig.json",
    "node_modules/.package-lock.json",
    "node_modules/markdown-it/package.json",
    "node_modules/markdown-it/README.md",
    "node_modules/markdown-it/LICENSE",
    "node_modules",
    "view/../.npmrc",
    "%2e%2e/setup.cfg",
    "view/%2e%2e/package.json",
    "//etc/passwd",
    "main.js%00.js",
]


async def test_what_is_beside_the_page_is_not_served() -> None:
    """Only what the page is made of."""
    async with stack(STUCK) as s:
        for name in ("main.js", "icon.svg", "style/page.css"):
            async with s.http.get(f"{s.url}/static/{name}") as response:
                assert response.status == 200, name
        for name in BESIDE:
            async with s.http.get(URL(f"{s.url}/static/{name}", encoded=True)) as response:
                assert response.status == 404, name


async def test_a_client_that_leaves_before_the_headers(caplog: pytest.LogCaptureFixture) -> None:
    """Is no fault, and no error in the log."""
    async with stack(STUCK) as s:
        for _ in range(20):
            _, writer = await asyncio.open_connection(URL(s.url).host, URL(s.url).port)
            body = json.dumps({"messages": user("Hi")}).encode()
            writer.write(
                b"POST /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            writer.transport.abort()
        await asyncio.sleep(0.3)
        assert (await s.http.get(f"{s.url}/health")).status == 200
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
