"""Where the server listens, and what it says to whoever does not speak HTTP."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.access_log import AccessLog, access_logger
from dripline_server.problems import problem_response
from dripline_server.settings import Settings, unix_path

# Readers of a server that comes back all come back at once.
BACKLOG = 4096


@asynccontextmanager
async def listening(
    app: web.Application, settings: Settings, *, close_time: float
) -> AsyncIterator[str]:
    """Serve an app until the context is left; gives the address.

    Args:
        app: The app.
        settings: Says where, and for how long an idle connection is held.
        close_time: Seconds that answers have at the end.

    Raises:
        OSError: The address cannot be listened on.
    """
    # Without handler_cancellation aiohttp tells nobody that a client has gone, until a write.
    runner = _Runner(
        app,
        handler_cancellation=True,
        access_log_class=AccessLog,
        access_log=access_logger,
        shutdown_timeout=close_time,
        # Counts from the connection's begin too, so that slow headers do not hold it.
        keepalive_timeout=settings.idle_time,
    )
    await runner.setup()
    path = unix_path(settings.host)
    try:
        if path is None:
            await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
            host, port = runner.addresses[0][:2]
            name = f"[{host}]" if ":" in host else host
            yield f"http://{name}:{port}"
        else:
            await asyncio.to_thread(_check_free, path)
            await web.UnixSite(runner, path, backlog=BACKLOG).start()
            try:
                yield f"unix:{path}"
            finally:
                await asyncio.to_thread(Path(path).unlink, missing_ok=True)
    finally:
        await runner.cleanup()


def _check_free(path: str) -> None:
    """Make sure that no other server listens there: binding would take the socket from it.

    Raises:
        OSError: One does.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return  # nothing there, or what a dead server left
    raise OSError(98, os.strerror(98), path)


class _Runner(web.AppRunner):
    """aiohttp's, whose connections answer what is not HTTP as the API answers all else."""

    def __init__(self, app: web.Application, **kwargs: Any) -> None:
        super().__init__(app, **kwargs)
        self._of_connections = {
            name: value for name, value in kwargs.items() if name != "shutdown_timeout"
        }

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler, request_factory=made.request_factory, **self._of_connections
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP with JSON. aiohttp's own text quotes it, a token perhaps."""
        super().handle_error(request, status, exc, message)  # it logs
        if status >= 500:
            code, words = ErrorCode.INTERNAL_ERROR, "A fault in dripline; see its log."
        else:
            code, words = ErrorCode.BAD_HTTP, "The request is not valid HTTP."
        response = problem_response(status, code, words)
        response.force_close()
        return response
