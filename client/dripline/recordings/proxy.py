"""A proxy that records what passes: how a missing recording is made by the test that wants it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from dripline.http.response_body import Body, BodyBroken
from dripline.recordings.recorder import Recorder
from dripline.recordings.serving import PiecewiseResponse

# They are about one connection, RFC 9110, section 7.6.1, or made anew by the client.
_NOT_FORWARDED = frozenset(
    ("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)


class RecordingProxy:
    """Passes requests on to a server, and what comes back to the client, piece by piece.

    The file takes its name when the proxy is closed, and only if the server answered.

    Args:
        server: The server's address; a request's path is put behind it.
        path: The file to make; one that is there is replaced.
    """

    def __init__(self, server: str, path: Path) -> None:
        self.url: str = ""
        self._server = server.rstrip("/")
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.new")
        self._answered = False
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as opened:
            recorder = await opened.enter_async_context(Recorder(self._unfinished, overwrite=True))
            self._http = await opened.enter_async_context(
                aiohttp.ClientSession(
                    middlewares=[recorder],
                    auto_decompress=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                )
            )
            server = web.Server(self._pass_on, handler_cancellation=True, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=1.0)
            await runner.setup()
            opened.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._open = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()
        if self._answered:
            self._unfinished.replace(self._path)
        else:
            self._unfinished.unlink()

    async def _pass_on(self, http: web.BaseRequest) -> web.StreamResponse:
        headers = [(k, v) for k, v in http.headers.items() if k.lower() not in _NOT_FORWARDED]
        body = await http.read()
        try:
            response = await self._http.request(
                http.method,
                f"{self._server}{http.path_qs}",
                data=body or None,
                headers=headers,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        except aiohttp.ClientError as error:
            return web.Response(
                status=502, text=f"nothing to record: {self._server} does not answer: {error}"
            )
        self._answered = True
        async with response:
            kept = [(k, v) for k, v in response.headers.items() if k.lower() not in _NOT_FORWARDED]
            passed = PiecewiseResponse(http, response.status, kept)
            try:
                await passed.start()
                async for piece in Body(response):
                    await passed.send(piece)
                await passed.finish()
            except BodyBroken as broken:
                if broken.how == "reset":
                    await passed.reset()
                else:
                    passed.cut()
            except ConnectionError:
                pass  # The client has left; leaving the response tells the server.
            return passed.response
