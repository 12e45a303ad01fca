"""JSON answers, and error answers: a status and `{"error": {"code", "message"}}`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from dripline.errors import ErrorCode
from dripline_server.access_log import route_of
from dripline_server.dialects.ollama_apis import OllamaApi, api_error, api_of
from dripline_server.run_log import EndedBefore, RunLogUnavailable
from dripline_server.state import STATE

logger: logging.Logger = logging.getLogger(__name__)

# Seconds after which a client should retry if the server was full or cut off from Redis.
RETRY_AFTER = 5

# The name of the route "/". Any path prefix before it belongs to the app that contains this one.
ROOT = "dripline"

# All of Ollama is reachable below this path.
BELOW = "/ollama"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(
    body: Mapping[str, object], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a response with `body` as JSON. Dataclasses in it become objects."""
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers=headers,
    )


class Problem(Exception):
    """A request that is answered with an error status.

    Attributes:
        status: The HTTP status.
        code: One of `ErrorCode`, or the code of a newer version in another process.
        message: What is wrong and what to do; it names the field.
        headers: Additional headers of the answer.
        field: The field of the request that is wrong, if it is one.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        field: str | None = None,
    ) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers: Mapping[str, str] = headers or {}
        self.field = field


_OF_STATUS = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
}


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn problems, aiohttp's errors and our own faults into JSON answers."""
    try:
        return await handler(request)
    except Problem as problem:
        return _answer(request, problem)
    except RunLogUnavailable as error:
        retry = {"Retry-After": str(RETRY_AFTER)}
        return _answer(request, Problem(503, ErrorCode.RUN_LOG_LOST, error.message, retry))
    except EndedBefore as error:
        return _answer(request, Problem(410, ErrorCode.POSITION_GONE, str(error)))
    except web.HTTPException as error:
        code = _OF_STATUS.get(error.status)
        if code is None:
            raise
        return _answer(request, _of_aiohttp(error, code, request))
    except Exception as error:
        if isinstance(error, ConnectionError) and _has_left(request):
            # The client has left. aiohttp would log a raised error as a fault of ours.
            return web.Response(status=499, reason="Client Closed Request")
        logger.exception("a fault in dripline: %s %s", request.method, route_of(request))
        fault = Problem(500, ErrorCode.INTERNAL_ERROR, "A fault in dripline; see its log.")
        return _answer(request, fault)


def path_within(request: web.Request) -> str:
    """Return the request's path within this app, which may be mounted in another app."""
    root = request.app.router.get(ROOT)
    return request.path.removeprefix(root.canonical.rstrip("/")) if root else request.path


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _of_aiohttp(error: web.HTTPException, code: ErrorCode, request: web.Request) -> Problem:
    match error:
        case web.HTTPRequestEntityTooLarge():
            limit = request.app[STATE].settings.max_body
            message = f"The body is larger than {limit:,} bytes, the server's limit (--max-body)."
            return Problem(error.status, code, message)
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            message = f"{request.path} takes {allowed}, not {request.method}."
            return Problem(error.status, code, message, {"Allow": allowed})
        case _:
            return Problem(error.status, code, f"{error.reason}: {request.path}")


def _answer(request: web.Request, problem: Problem) -> web.Response:
    return problem_response(
        problem.status,
        problem.code,
        problem.message,
        problem.headers,
        api=_api_of(path_within(request)),
        field=problem.field,
    )


def _api_of(path: str) -> OllamaApi | None:
    """Return the API in whose form errors at this path are; None for dripline's own."""
    path = path.removeprefix(BELOW) or "/"
    return api_of(path) if path.startswith(("/api/", "/v1/")) else None


def problem_response(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    api: OllamaApi | None = None,
    field: str | None = None,
) -> web.Response:
    """Return an error as JSON, in the form of dripline's API or of one of Ollama's."""
    if api:
        body = api_error(api, status, code, message, field)
    else:
        body = {"error": {"code": code, "message": message}}
    return json_response(
        body, status=status, headers={"X-Content-Type-Options": "nosniff", **(headers or {})}
    )
