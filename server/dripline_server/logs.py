"""Logging: what is logged of a request, and how records look. Never a message's contents."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

access_logger = logging.getLogger("dripline_server.access")

_PLAIN = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Ids of runs are rights to read them; this much is enough to find one again.
ID_SHOWN = 8


class KeyValueFormatter(logging.Formatter):
    """One line a record: time, level, message, then its `extra` fields as key=value."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        pairs = "".join(f" {name}={value}" for name, value in fields.items() if value != "")
        return super().formatMessage(record) + pairs


class AccessLog(AbstractAccessLogger):
    """Logs each answered request: its route, status, bytes and seconds; no query, no whole id."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log a request that has been answered."""
        route = request.match_info.route.resource if isinstance(request, web.Request) else None
        run_id = request.match_info.get("run_id", "") if isinstance(request, web.Request) else ""
        self.logger.info(
            "request",
            extra={
                "method": request.method,
                "route": route.canonical if route else "none",
                "run": (run_id or response.headers.get("X-Run-Id", ""))[:ID_SHOWN],
                "status": response.status,
                "bytes": response.body_length,
                "seconds": round(time, 6),
                "remote": request.remote,
            },
        )


def configure(level: str) -> None:
    """Write dripline's records, and warnings of others, to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(KeyValueFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("dripline", "dripline_server"):
        logging.getLogger(name).setLevel(level.upper())
