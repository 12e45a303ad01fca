"""A version of aiohttp whose reader is another inside is read by its public way alone."""

from __future__ import annotations

import aiohttp
import pytest

from dripline.http import response_body
from dripline.http.response_body import Body, BodyBroken
from tests.support.scripted_server import Say, ScriptedServer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b"5\r\nHello\r\n6\r\n, you!\r\n"


@pytest.fixture(params=["known", "an attribute is gone", "another buffer"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How aiohttp's reader is."""
    if request.param == "an attribute is gone":
        monkeypatch.setattr(response_body, "_USED", (*response_body._USED, "_gone"))
    elif request.param == "another buffer":
        monkeypatch.setattr(response_body, "deque", list)
    return str(request.param)


async def test_a_body_is_read_to_its_end(reader: str) -> None:
    """All of its bytes, whatever is known of the reader."""
    async with (
        ScriptedServer(Say(CHUNKED + BODY + b"0\r\n\r\n")) as server,
        aiohttp.ClientSession() as http,
        http.get(server.url) as response,
    ):
        body = Body(response)
        assert isinstance(response.content, response_body._Pieces) is (reader == "known")
        assert b"".join([piece async for piece in body]) == b"Hello, you!"


async def test_a_cut_is_seen() -> None:
    """It is never taken for the body's end."""
    async with (
        ScriptedServer(Say(CHUNKED + BODY)) as server,
        aiohttp.ClientSession() as http,
        http.get(server.url) as response,
    ):
        pieces: list[bytes] = []
        with pytest.raises(BodyBroken):
            async for piece in Body(response, silence_timeout=5.0):
                pieces.append(piece)  # noqa: PERF401 (what came before the raise counts)
    assert b"Hello, you!".startswith(b"".join(pieces))
