"""What looks after the open streams goes on, whatever one of them does."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from dripline_server.event_stream import EventStream, Pulse


class Broken(EventStream):
    """A stream that nobody can look after; no real one does that, and none must."""

    async def look_after(self, now: float, *, heartbeat: float, reader_timeout: float) -> bool:
        raise RuntimeError("broken")


async def test_a_fault_of_one_stream_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    """It is cut and logged; the others still get their heartbeats."""
    pulse = Pulse(heartbeat=0.05, reader_timeout=0)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = (Broken if request.path == "/broken" else EventStream)(request)
        await response.prepare(request)
        pulse.add(response)
        await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/{name}", stream)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as http:
            async with http.get(f"{url}/broken") as broken:
                with pytest.raises(aiohttp.ClientError):
                    await broken.read()
            async with http.get(f"{url}/whole") as whole:
                assert await whole.content.readline() == b": ping\n"
    finally:
        await pulse.close()
        await runner.cleanup()
    assert "a stream is cut" in caplog.text
