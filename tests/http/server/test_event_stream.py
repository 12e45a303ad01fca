"""Event streams by themselves: how frames go out, and what looks after the open ones."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from dripline_server.event_stream import EventStream, Pulse
from dripline_server.run_log import Batch

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """Answer every GET with the handler; gives the port."""
    app = web.Application()
    app.router.add_get("/{name}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def unchunked(body: bytes) -> bytes:
    """Take the chunked encoding off (RFC 9112, section 7.1); it has to be exact."""
    whole = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        if not length:
            assert rest == b"\r\n"
            return whole
        whole, body = whole + rest[:length], rest[length + 2 :]


def joined(batch: Batch) -> bytes:
    """Frames are what is in the log."""
    return b"".join(batch.payloads)


class Buffering(EventStream):
    """A stream of an aiohttp that sends a response's head together with its first bytes."""

    _send_headers_immediately = False


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("kind", [EventStream, Buffering])
@pytest.mark.parametrize("seed", range(5))
async def test_both_ways_to_send_are_one_stream(
    version: str, kind: type[EventStream], seed: int
) -> None:
    """Frames come whole and in order, and are counted, whichever way each went.

    Where aiohttp holds the head back, none goes past it.
    """
    draw = random.Random(seed)
    frames = [b"data: %b\n\n" % (b"x" * draw.choice([0, 1, 15, 16, 5000])) for _ in range(200)]
    streams: list[EventStream] = []
    at_once = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal at_once
        stream = kind(request, {}, joined)
        streams.append(stream)
        assert not stream.deliver_now(Batch(1, frames[:1]))  # its head comes first
        await stream.prepare(request)
        for number, frame in enumerate(frames, start=1):
            batch = Batch(number, [frame])
            if draw.random() < 0.7 and stream.deliver_now(batch):
                at_once += 1
            else:
                await stream.deliver(batch)
            await asyncio.sleep(0)
        await stream.finish()
        return stream

    async with serving(answer) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /a HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert (b"chunked" in head) is (version == "1.1")
    assert (unchunked(body) if version == "1.1" else body) == b"".join(frames)
    assert streams[0].body_length == len(head) + 4 + len(body)
    assert bool(at_once) is (kind is EventStream)


class Broken(EventStream):
    """A stream that nobody can look after; no real one does that, and none must."""

    async def look_after(self, now: float, *, heartbeat: float, reader_timeout: float) -> bool:
        raise RuntimeError("broken")


async def test_a_fault_of_one_stream_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """It is cut and logged; the others still get their heartbeats."""
    pulse = Pulse(heartbeat=0.05, reader_timeout=0)

    async def stream(request: web.Request) -> web.StreamResponse:
        kind = Broken if request.path == "/broken" else EventStream
        response = kind(request, {}, joined)
        await response.prepare(request)
        pulse.add(response)
        await asyncio.Event().wait()
        return response

    async with serving(stream) as port, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{port}"
        async with http.get(f"{url}/broken") as broken:
            with pytest.raises(aiohttp.ClientError):
                await broken.read()
        async with http.get(f"{url}/whole") as whole:
            assert await whole.content.readline() == b": ping\n"
    await pulse.close()
    assert "a stream is cut" in caplog.text


async def test_a_slow_reader_is_not_stuck() -> None:
    """What it takes counts: 1.5 KB a second keep it connected, and nothing at all does not."""
    pulse = Pulse(heartbeat=0, reader_timeout=1.5)

    async def answer(request: web.Request) -> web.StreamResponse:
        stream = EventStream(request, {}, joined)
        await stream.prepare(request)
        pulse.add(stream)
        await stream.send(b"data: %b\n\n" % (b"x" * 1_000_000))
        return stream

    async with serving(answer) as port:
        with socket.socket() as slow:
            # Windows that open in small steps, as over a network.
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", port))
            await loop.sock_sendall(slow, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in range(50):
                await asyncio.sleep(0.1)
                assert await loop.sock_recv(slow, 150)
            await asyncio.sleep(4)
            rest = 0
            while more := await loop.sock_recv(slow, 65536):
                rest += len(more)
            assert rest < 500_000  # what was in the kernel
    await pulse.close()
