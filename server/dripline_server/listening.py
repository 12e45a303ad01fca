"""Listens on a port or a socket, and answers invalid HTTP with JSON."""

from __future__ import annotations

import asyncio
import errno
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

# After a restart of the server all readers reconnect at once.
BACKLOG = 4096


@asynccontextmanager
async def listening(
    app: web.Application, settings: Settings, *, close_time: float
) -> AsyncIterator[str]:
    """Serve an app until the context is left; yield the address.

    Args:
        app: The app.
        settings: Gives the address, and how long an idle connection stays open.
        close_time: Seconds for the open answers to end on close.

    Raises:
        OSError: The server cannot listen on the address.
    """
    # Without handler_cancellation a handler learns only by writing that its client has left.
    runner = _Runner(
        app,
        handler_cancellation=True,
        access_log_class=AccessLog,
        access_log=access_logger,
        shutdown_timeout=close_time,
        # This also counts from the start of the connection, so that slow headers cannot hold it.
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
    """Check that no other server listens there: binding would steal its socket.

    Raises:
        OSError: Another server listens there.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return  # no socket, or one that a dead server left
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)


class _Runner(web.AppRunner):
    """aiohttp's runner, but its connections answer invalid HTTP in the API's JSON format."""

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
        """Answer invalid HTTP with JSON. aiohttp's text would quote it, perhaps with a token."""
        super().handle_error(request, status, exc, message)  # it logs
        if status >= 500:
            code, words = ErrorCode.INTERNAL_ERROR, "A fault in dripline; see its log."
        else:
            code, words = ErrorCode.BAD_HTTP, "The request is not valid HTTP."
        response = problem_response(status, code, words)
        response.force_close()
        return response
