"""What a request is answered with when something of ours breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from dripline_server.problems import Handler, answer_problems
from dripline_server.routes.run_answer import answer_whole
from dripline_server.run_log import Batch, FoundRun, LogState, ReaderOvertaken

Client = TestClient[web.Request, web.Application]


async def client_of(aiohttp_client: AiohttpClient, handler: Handler) -> Client:
    app = web.Application(middlewares=[answer_problems])
    app.router.add_get("/", handler)
    return await aiohttp_client(app)


class OvertakenRun:
    """A run of another process, which has dropped what its reader here was to get next."""

    async def log_state(self, seen: int = 0) -> LogState:
        return LogState(first=7, last=9, finished=False)

    @asynccontextmanager
    async def follow(self, after: int, deliver_now: object) -> AsyncIterator[AsyncIterator[Batch]]:
        yield self._batches()

    async def _batches(self) -> AsyncIterator[Batch]:
        yield Batch(1, [])
        raise ReaderOvertaken


async def test_a_whole_answer_whose_reader_was_overtaken(aiohttp_client: AiohttpClient) -> None:
    """It is said what has been dropped."""

    async def handle(request: web.Request) -> web.Response:
        return await answer_whole(cast("FoundRun", OvertakenRun()), max_bytes=1000)

    async with (await client_of(aiohttp_client, handle)).get("/") as response:
        assert response.status == 410
        assert response.headers["X-First-Event-Id"] == "7"
        assert (await response.json())["error"]["code"] == "position_gone"


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError, ValueError])
async def test_a_fault_is_answered(
    aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    """Whatever it is called: the client is there, and waits."""

    async def handle(request: web.Request) -> web.Response:
        raise error("broken")

    async with (await client_of(aiohttp_client, handle)).get("/") as response:
        assert response.status == 500
        assert (await response.json())["error"]["code"] == "internal_error"
    assert "a fault in dripline: GET /" in caplog.text


async def test_who_has_left_is_not_answered(
    aiohttp_client: AiohttpClient, caplog: pytest.LogCaptureFixture
) -> None:
    """And that is no fault of ours."""

    async def handle(request: web.Request) -> web.Response:
        assert request.transport
        request.transport.abort()
        raise ConnectionResetError("broken")

    client = await client_of(aiohttp_client, handle)
    with pytest.raises(ClientError):
        await client.get("/")
    assert "fault" not in caplog.text
