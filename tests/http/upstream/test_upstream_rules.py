"""The rules of HTTP/1 that every client keeps, whatever an Ollama or a proxy sends."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import aclosing, suppress

import pytest

from dripline import ErrorCode
from dripline_server.upstream import http_client
from dripline_server.upstream.address import OllamaAddress
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.http_client import HttpAnswer, HttpClient
from dripline_server.upstream.ollama import Ollama
from tests.support.both_loops import on_both_loops, run_on
from tests.support.tcp_server import TcpServer

DONE = b'{"message":{"content":"Hi"},"done":true}'
LINE = DONE + b"\n"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(LINE) + LINE
END = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LINE), LINE)
LONG = b"x" * 300_000
ERROR = b'{"error":"out of memory"}'


class Packets(TcpServer):
    """Answers each request with these bytes, each in a packet of its own."""

    def __init__(self, *packets: bytes, stays_open: bool = False) -> None:
        super().__init__(self._answer)
        self._packets = packets
        self._stays_open = stays_open

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await reader.readuntil(b"\r\n\r\n")
        for packet in self._packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0.02)
        if self._stays_open:
            await reader.read()


async def ask(url: str, *, stall_timeout: float = 5.0) -> str:
    """Return the answer's text, or the code and the words of its failure."""
    upstream = Ollama(url, stall_timeout=stall_timeout, max_line=1_000_000)
    text = ""
    try:
        async with aclosing(upstream.chat("m", b"{}")) as chunks:
            async for several in chunks:
                for chunk in several:
                    text += chunk if isinstance(chunk, str) else chunk["message"]["content"]
    except UpstreamError as error:
        return f"{text} {error}".strip()
    finally:
        await upstream.close()
    return text


GARBAGE = ErrorCode.UPSTREAM_GARBAGE
ANSWERS: dict[str, tuple[list[bytes], str]] = {
    "102 in its own packet": ([b"HTTP/1.1 102 Processing\r\n\r\n", WHOLE], "Hi"),
    "102 in the same packet": ([b"HTTP/1.1 102 Processing\r\n\r\n" + WHOLE], "Hi"),
    "many interim answers": ([b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n"] * 20 + [WHOLE], "Hi"),
    "103 with a length": (
        [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", CHUNKED, END],
        "Hi",
    ),
    "101": (
        [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nabc"],
        "another protocol (101)",
    ),
    "101 without a protocol": ([b"HTTP/1.1 101 Switching Protocols\r\n\r\n"], "protocol (101)"),
    "status 600": ([b"HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n"], "its status is 600"),
    "a short extension": ([CHUNKED, b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(LINE), LINE)], "Hi"),
    "an extension of 300 KB": (
        [CHUNKED + b"%x;" % len(LINE) + LONG, b"\r\n" + LINE],
        "a chunk's extension or a trailer is longer than 65,536 bytes",
    ),
    "a trailer of 300 KB": (
        [CHUNKED + b"1\r\n \r\n0\r\nX: " + LONG, b"\r\n\r\n"],
        "a chunk's extension or a trailer is longer than 65,536 bytes",
    ),
    "a short trailer": ([CHUNKED, END[:-2], b"X: y\r\n\r\n"], "Hi"),
    "a trailer that looks like a header": (
        [CHUNKED, END[:-2], b"Content-Length: 5\r\n\r\n"],
        "Hi",
    ),
    "no LF, a length": ([OK + b"Content-Length: %d\r\n\r\n" % len(DONE) + DONE], "Hi"),
    "no LF, no length": ([OK + b"\r\n" + DONE], "Hi"),
    "no LF, chunks": ([CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(DONE), DONE)], "Hi"),
    "no LF, then cut": ([CHUNKED, b"%x\r\n%b\r\n" % (len(DONE), DONE)], "Hi"),
    "an error without LF, then cut": (
        [CHUNKED, b"%x\r\n%b\r\n" % (len(ERROR), ERROR)],
        "out of memory",
    ),
    "a half line, then cut": ([CHUNKED, b"5\r\n%b\r\n" % DONE[:5]], "upstream_cut"),
    "compressed": (
        [OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"],
        "it is compressed (gzip), although dripline did not ask for it",
    ),
    "compressed as it is": (
        [OK + b"Content-Encoding: identity\r\nContent-Length: %d\r\n\r\n%b" % (len(LINE), LINE)],
        "Hi",
    ),
}


def answers_left() -> set[int]:
    """The answers that are held by something; failed tests before may hold some."""
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, HttpAnswer)}


@on_both_loops
@pytest.mark.parametrize(("packets", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_each_answer_is_read_or_named(loop: str, packets: list[bytes], expected: str) -> None:
    """No rule of HTTP's ends an answer that is whole, and what is wrong is told; nothing hangs."""

    async def main() -> None:
        async with Packets(*packets, stays_open="KB" in expected) as server:
            told = await asyncio.wait_for(ask(server.url), 10)
        assert told == expected if expected == "Hi" else expected in told

    run_on(loop, main())


async def test_framing_without_end_is_ended() -> None:
    """A server that goes on sending an extension does not keep the run for ever."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"5;")
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()

    async with TcpServer(endless) as server:
        assert "a chunk's extension" in await asyncio.wait_for(ask(server.url), 10)


async def test_the_text_of_an_error_may_drip(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for a while, though each byte comes in time; its start is told."""
    monkeypatch.setattr("dripline_server.upstream.ollama.REASON_TIME", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\nno model")
        while True:
            await asyncio.sleep(0.01)
            writer.write(b" ")
            await writer.drain()

    async with TcpServer(drip) as server:
        told = await asyncio.wait_for(ask(server.url), 5)
    assert told == "ollama_failed: Ollama failed (502): no model."


async def test_the_text_of_an_error_may_be_endless() -> None:
    """Only its start is read."""

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            writer.write(b"why " * 10_000)
            await writer.drain()

    async with TcpServer(flood) as server:
        told = await asyncio.wait_for(ask(server.url), 5)
    assert told.startswith("ollama_failed: Ollama failed (500): why why")
    assert len(told) < 1000


@on_both_loops
def test_a_connect_that_is_cancelled_leaves_nothing(loop: str) -> None:
    """However far it has come: no connection, no object, no timer."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()

        async with TcpServer(serve) as server:
            client = HttpClient(OllamaAddress(server.url))
            before = answers_left()
            for turns in range(50):
                asking = asyncio.create_task(
                    client.send("POST", "/api/chat", b"{}", stall_timeout=600)
                )
                for _ in range(turns % 10):
                    await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait({asking})
                assert asking.cancelled()
            del asking
            for _ in range(20):
                await asyncio.sleep(0)
            gc.collect()
            # A timer would hold one of these for 600 s.
            assert answers_left() <= before

    run_on(loop, main())


async def test_one_that_is_read_leaves_nothing_either() -> None:
    """Connection and parser do not hold each other."""
    gc.collect()
    before = answers_left()
    gc.disable()
    try:
        async with Packets(WHOLE) as server:
            assert await ask(server.url) == "Hi"
            await asyncio.sleep(0.05)
        assert answers_left() <= before
    finally:
        gc.enable()


PAUSED = """
import asyncio, sys
from contextlib import aclosing
from dripline_server.cli import _loop_factory
from dripline_server.upstream.ollama import Ollama

async def main():
    upstream = Ollama(sys.argv[1], stall_timeout=float(sys.argv[2]), max_line=10000)
    async with aclosing(upstream.chat("m", b"{}")) as chunks:
        async for several in chunks:
            print(len(several), flush=True)
    await upstream.close()

factory = None if sys.argv[3] == "asyncio" else _loop_factory()
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""


@on_both_loops
@pytest.mark.parametrize("says", ["in the pause", "after it"])
def test_the_process_s_own_pause_is_no_silence_of_ollamas(loop: str, says: str) -> None:
    """SIGSTOP and a suspended machine: what Ollama said meanwhile is read, or is waited for."""
    stall, pause = 1.0, 2.0

    async def main() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(CHUNKED)
            begun.set()
            await go_on.wait()
            writer.write(END)

        async with TcpServer(answer) as server:
            command = [sys.executable, "-c", PAUSED, server.url, str(stall), loop]
            process = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                await begun.wait()
                await asyncio.sleep(stall / 4)
                process.send_signal(signal.SIGSTOP)
                await asyncio.sleep(pause)
                if says == "in the pause":
                    go_on.set()
                    await asyncio.sleep(0.1)
                process.send_signal(signal.SIGCONT)
                if says == "after it":
                    await asyncio.sleep(stall / 4)
                    go_on.set()
                out, err = await process.communicate()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
        assert (out, err) == (b"1\n", b"")

    asyncio.run(main())


async def test_silence_is_still_found_in_time() -> None:
    """Looking several times makes it no longer, and what comes begins it anew."""

    async def thrice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED)
        for _ in range(3):
            await asyncio.sleep(0.3)
            writer.write(b"1\r\n \r\n")
        await reader.read()

    async with TcpServer(thrice) as server:
        began = time.monotonic()
        assert "upstream_stalled" in await ask(server.url, stall_timeout=0.5)
        assert 1.3 < time.monotonic() - began < 5


async def test_a_body_is_bounded() -> None:
    """In bytes and in time."""
    async with Packets(OK + b"\r\n" + b"x" * 2000) as server:
        client = HttpClient(OllamaAddress(server.url))
        with pytest.raises(http_client.BadAnswer, match="longer than 1,000 bytes"):
            await client.fetch("GET", "/api/tags", seconds=5, limit=1000)
        assert await client.fetch("GET", "/api/tags", seconds=5, limit=2000) == (
            200,
            b"x" * 2000,
            "",
        )
    async with Packets(OK + b"\r\n", stays_open=True) as server:
        with pytest.raises(TimeoutError):
            await HttpClient(OllamaAddress(server.url)).fetch("GET", "/", seconds=0.2, limit=1000)


if os.name == "nt":  # there is no SIGSTOP
    del test_the_process_s_own_pause_is_no_silence_of_ollamas
