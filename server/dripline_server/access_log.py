"""Logging: the record of each request, and the format of records. No message contents."""

from __future__ import annotations

import json
import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

from dripline_server.callers import CALLER, UNNAMED
from dripline_server.proxies import REMOTE
from dripline_server.run_log import ID_SHOWN

access_logger: logging.Logger = logging.getLogger("dripline_server.access")

# Ollama's endpoint for which a request is, stored in the request.
ENDPOINT = web.RequestKey("ENDPOINT", str)

_PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Model names come from requests, and may be as long as a request.
MAX_SHOWN = 200
# aiohttp's method for a request that is not HTTP. Such a request has no route.
NO_HTTP = "UNKNOWN"


class KeyValueFormatter(logging.Formatter):
    """Formats a record as one line: time, level, message, then `extra` fields as key=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        pairs = "".join(f" {name}={_shown(value)}" for name, value in fields.items() if value != "")
        return super().formatMessage(record) + pairs


def _shown(value: object) -> str:
    """Return the value, quoted if it could look like another field or another line."""
    text = str(value)[:MAX_SHOWN]
    plain = text.isprintable() and not any(mark in text for mark in ' "=')
    return text if plain else json.dumps(text)


class AccessLog(AbstractAccessLogger):
    """Logs each answered request: its route, status, bytes and seconds; no query, no whole id."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log a request that has been answered."""
        route, run_id = "none", ""
        if isinstance(request, web.Request) and request.method != NO_HTTP:
            route = route_of(request)
            run_id = request.match_info.get("run_id", "")
        self.logger.info(
            "request",
            extra={
                "method": request.method,
                "route": route,
                "run": (run_id or response.headers.get("X-Run-Id", ""))[:ID_SHOWN],
                "status": response.status,
                "bytes": response.body_length,
                "seconds": round(time, 6),
                "caller": request.get(CALLER, UNNAMED).name,
                "remote": request.get(REMOTE, request.remote),
            },
        )


def route_of(request: web.Request) -> str:
    """Return a request's route, such as "/runs/{run_id}", without any text from the client."""
    if ENDPOINT in request:
        return request[ENDPOINT]
    resource = request.match_info.route.resource
    return resource.canonical if resource else "none"


def without_request_bytes(record: logging.LogRecord) -> bool:
    """Remove the traceback from aiohttp's record of a request that is not HTTP.

    The traceback quotes the client's bytes, perhaps with a token, and anybody can send many.
    """
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = None
    return True


def configure(level: str) -> None:
    """Log dripline's records, and the warnings of other libraries, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    handler.addFilter(without_request_bytes)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("dripline", "dripline_server"):
        logging.getLogger(name).setLevel(level.upper())
