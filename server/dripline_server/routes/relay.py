"""`/api/...`, the rest of `/v1/...`, and `/ollama/...`: Ollama's own API, passed on as it is.

Bytes are not changed, in either direction. What is added: access control, limits, an error where
Ollama breaks off, metrics and recordings. When the client leaves, aiohttp cancels the handler, and
that closes the connection to Ollama.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import orjson
from aiohttp import hdrs, web

from dripline.errors import ErrorCode
from dripline.events import Error
from dripline.json_text import has_too_many_values, load_json
from dripline.recordings.exchange import ExchangeEnding
from dripline_server.access_log import ENDPOINT, access_logger
from dripline_server.callers import CALLER
from dripline_server.dialects.ollama_apis import api_of, last_words
from dripline_server.problems import BELOW, RETRY_AFTER, ROOT, Problem
from dripline_server.routes.relayed_response import RelayedResponse, hop_by_hop
from dripline_server.routes.request_body import body_too_slow, read_body, unreadable_body
from dripline_server.routes.run_answer import (
    STATUS_OF,
    check_model_changes,
    model_not_allowed,
    not_accepted,
)
from dripline_server.run_log import ID_SHOWN
from dripline_server.runs.records import BODY, ReaderRecord
from dripline_server.state import STATE
from dripline_server.upstream.failures import UpstreamError
from dripline_server.upstream.ollama_paths import OllamaPath, read_path
from dripline_server.upstream.relayed_answer import RelayedAnswer

logger = logging.getLogger(__name__)

# Ollama's address is its own, and so are its credentials. `Origin` has been checked here; Ollama
# would refuse origins that it does not know. The cookies are those of any server on this host.
_NOT_PASSED = frozenset((b"host", b"authorization", b"x-api-key", b"cookie", b"origin"))
_READING = frozenset((hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS))
# Encodings that aiohttp undoes as a body comes in.
_UNPACKED = frozenset(("gzip", "deflate", "br", "zstd"))
_CHAT = "/api/chat"
_BLOBS = "/api/blobs"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

routes = web.RouteTableDef()


async def _let_ollama_ask(_: web.Request) -> None:
    """Do not answer `Expect: 100-continue` yet: Ollama may not want the body."""


@routes.route("*", "/api/{relayed:.*}", expect_handler=_let_ollama_ask)
@routes.route("*", "/v1/{relayed:.*}", expect_handler=_let_ollama_ask)
async def relay(request: web.Request) -> web.StreamResponse:
    """Pass a request on to Ollama."""
    return await _Relayed(request, _target(request)).answer()


@routes.route("*", BELOW, expect_handler=_let_ollama_ask)
@routes.route("*", f"{BELOW}/{{relayed:.*}}", expect_handler=_let_ollama_ask)
async def relay_below(request: web.Request) -> web.StreamResponse:
    """Pass a request on to Ollama, also for the addresses at which dripline answers itself."""
    target = _target(request).removeprefix(BELOW)
    return await _Relayed(request, target if target.startswith("/") else f"/{target}").answer()


def _target(request: web.Request) -> str:
    """Return path and query within this app, exactly as the client sent them."""
    sent = request.raw_path
    if not sent.startswith("/"):  # a proxy's request, with the whole URL (RFC 9112, section 3.2.2)
        sent = "/" + sent.partition("://")[2].partition("/")[2]
    root = request.app.router[ROOT].canonical.rstrip("/")
    return sent.removeprefix(root)


class _Relayed:
    """One request on its way to Ollama."""

    def __init__(self, request: web.Request, target: str) -> None:
        self._request = request
        self._target = target
        self._state = request.app[STATE]
        self._path: OllamaPath = read_path(target)
        self._run_id = secrets.token_urlsafe(16)
        self._body = bytearray()
        self._body_known = True
        self._model = ""
        self._may_continue = request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
        request[ENDPOINT] = self._path.endpoint

    async def answer(self) -> web.StreamResponse:
        """Answer the request.

        Raises:
            Problem: It is refused here, or Ollama has failed before its answer began.
        """
        request, state = self._request, self._state
        self._check()
        answer = state.upstream.relayed_answer(request.method, self._continue)

        def stop(error: Error) -> None:
            code = next(code for code in ErrorCode if code == error.code)
            answer.give_up(UpstreamError(code, error.message))

        with ExitStack() as counted:
            if self._path.is_work(request.method):
                counted.enter_context(not_accepted())
                counted.enter_context(state.runs.relay(request[CALLER], stop))
            body, length = await self._upload()
            self._check_model()
            with self._counted() as outcome:
                try:
                    return await self._pass_on(answer, body, length, outcome)
                finally:
                    await answer.close()

    def _check(self) -> None:
        request, settings = self._request, self._state.settings
        if self._path.leaves:
            message = "The path leads above Ollama's address, with `..`."
            raise Problem(400, ErrorCode.NOT_FOUND, message)
        if self._path.changes_models and request.method not in _READING:
            check_model_changes(request)
        if self._is_limited and (request.content_length or 0) > settings.max_body:
            raise web.HTTPRequestEntityTooLarge(settings.max_body, request.content_length or 0)

    @property
    def _is_limited(self) -> bool:
        """Whether the body has the limits of other bodies. Blobs are models, gigabytes large."""
        return self._path.endpoint != _BLOBS

    # --- The request ---

    def _continue(self) -> None:
        """Ask the client for the body, if it waits for that."""
        if self._may_continue and self._request.transport:
            self._may_continue = False
            self._request.transport.write(_CONTINUE)

    async def _upload(self) -> tuple[AsyncGenerator[bytes] | None, int | None]:
        """Return the body and its length; None for no body, and for an unknown length.

        Raises:
            Problem: It is a body for the AI SDK's endpoint (400).
        """
        request = self._request
        if not request.body_exists:
            return None, None
        is_chat = self._target.partition("?")[0] == _CHAT and request.method == hdrs.METH_POST
        # A caller who may use some models alone has to name one before Ollama is asked.
        if not (is_chat or (request[CALLER].models and self._is_limited)):
            return self._pieces(), None if self._is_unpacked else request.content_length
        self._continue()
        self._body += await read_body(request)
        if is_chat:  # Bodies of the AI SDK were sent here until version 0.1.
            self._refuse_ui_messages()
        return self._whole(), len(self._body)

    @property
    def _is_unpacked(self) -> bool:
        """Whether aiohttp has unpacked the body, so that its length is not the header's."""
        return self._request.headers.get(hdrs.CONTENT_ENCODING, "").lower() in _UNPACKED

    async def _whole(self) -> AsyncGenerator[bytes]:
        yield bytes(self._body)

    async def _pieces(self) -> AsyncGenerator[bytes]:
        """Yield the body as it arrives, and keep it for metrics and recordings if it is not long.

        Raises:
            Problem: It is too slow (408) or is not encoded as its headers say (400).
            web.HTTPRequestEntityTooLarge: It is too large.
        """
        request, settings = self._request, self._state.settings
        size, limit = 0, settings.body_time
        loop = asyncio.get_running_loop()
        until = loop.time() + limit
        while True:
            try:
                async with asyncio.timeout_at(until if limit else None):
                    piece = await request.content.readany()
            except TimeoutError as error:
                raise body_too_slow(limit) from error
            except web.RequestPayloadError as error:
                raise unreadable_body(request) from error
            if not piece:
                return
            size += len(piece)
            if size > settings.max_body:
                if self._is_limited:
                    raise web.HTTPRequestEntityTooLarge(settings.max_body, size)
                self._body_known = False
                self._body.clear()
            if self._body_known:
                self._body += piece
            yield piece
            if not self._is_limited:
                until = loop.time() + limit

    def _headers(self, length: int | None, *, has_body: bool) -> list[tuple[bytes, bytes]]:
        """Return the headers for Ollama."""
        sent = self._request.raw_headers
        dropped = hop_by_hop(sent) | _NOT_PASSED
        if not self._may_continue:
            dropped |= {b"expect"}
        if self._is_unpacked:
            dropped |= {b"content-encoding"}
        # Framing is always written here, so that both servers see the same end of the request.
        dropped |= {b"content-length"}
        headers = [header for header in sent if header[0].lower() not in dropped]
        length = length if has_body else self._request.content_length
        if length is not None:
            headers.append((b"Content-Length", str(length).encode()))
        elif has_body:
            headers.append((b"Transfer-Encoding", b"chunked"))
        return headers

    def _json(self) -> Any:
        """Return the body's value; None if it is unknown, or not JSON."""
        body = bytes(self._body)
        if not body or has_too_many_values(body):
            return None
        try:
            return load_json(body)
        except orjson.JSONDecodeError:
            return None

    def _check_model(self) -> None:
        """Refuse a model that the caller may not use.

        Raises:
            Problem: The request names such a model, or none (403).
        """
        caller = self._request[CALLER]
        if not caller.models or self._path.changes_models:
            return
        named = _models_in(self._json())
        if not named and self._path.is_work(self._request.method):
            named = [""]
        for name in named:
            if not caller.may_use(name):
                raise model_not_allowed(caller, name)

    def _refuse_ui_messages(self) -> None:
        if b'"parts"' not in self._body:
            return
        match self._json():
            case {"id": _, "messages": list(messages)} if any(map(_has_parts, messages)):
                message = (
                    "This is a body of the AI SDK, for `useChat`; its address is /ai-sdk/chat. At"
                    " /api/chat is Ollama's own API."
                )
                raise Problem(400, ErrorCode.BAD_FIELD, message)

    # --- The answer ---

    async def _pass_on(
        self,
        answer: RelayedAnswer,
        body: AsyncGenerator[bytes] | None,
        length: int | None,
        outcome: list[str],
    ) -> web.StreamResponse:
        request, state = self._request, self._state
        headers = self._headers(length, has_body=body is not None)
        chunked = body is not None and length is None
        began = asyncio.get_running_loop().time()
        upstream = state.upstream
        try:
            await upstream.relay(
                answer, request.method, self._target, headers, body, chunked=chunked
            )
        except UpstreamError as error:
            self._record_failure(error)
            outcome[0] = "failed"
            raise _problem(error) from error
        except Exception:
            outcome[0] = "failed"
            raise
        finally:
            self._model = _model_of(self._json())
        seconds = asyncio.get_running_loop().time() - began
        state.metrics.relay_answered(self._path.endpoint, seconds)
        with self._recorded() as reader:
            self._body_known = False
            self._body.clear()  # the answer may take minutes
            response = RelayedResponse(request, answer, self._run_id, reader)
            await response.start()
            state.pulse.add(response)
            try:
                with upstream.upstream_errors():
                    while not await answer.deliver(response.deliver_now):
                        await response.caught_up()
                response.finish()
                outcome[0] = f"{answer.status // 100}xx"
            except (UpstreamError, Problem, web.HTTPException) as error:
                outcome[0] = "failed"
                response.break_off(self._last_words(response, error))
            except Exception:
                response.abort()
                raise
        return response

    def _last_words(self, response: RelayedResponse, error: Exception) -> bytes:
        if not isinstance(error, UpstreamError):
            return b""  # the client's own body was at fault
        logger.warning("%s of run %s: %s", self._path.endpoint, self._run_id[:ID_SHOWN], error)
        return last_words(
            api_of(self._target),
            response.media_type,
            response.unfinished,
            error.code,
            error.message,
        )

    # --- What is noted ---

    @contextmanager
    def _counted(self) -> Iterator[list[str]]:
        """Count the request; the yielded list has its outcome."""
        outcome = ["left"]
        try:
            yield outcome
        except asyncio.CancelledError:
            # aiohttp does not log a request whose client has left.
            access_logger.info("reader left", extra={"run": self._run_id[:ID_SHOWN]})
            raise
        finally:
            self._state.metrics.relayed(self._path.endpoint, self._model, outcome[0])

    @contextmanager
    def _recorded(self) -> Iterator[ReaderRecord | None]:
        """Record the exchange, if that is wanted. Leaving the context ends the recording."""
        record = self._state.records.begin(self._run_id)
        if record is None:
            yield None
            return
        self._request[BODY] = bytes(self._body)
        try:
            reader = record.reader(self._request)
            del self._request[BODY]
            if reader is None:
                yield None
                return
            with reader:
                yield reader
        finally:
            self._state.records.end(self._run_id)

    def _record_failure(self, error: UpstreamError) -> None:
        with self._recorded() as reader:
            if reader:
                ending = _ENDINGS.get(error.code, ExchangeEnding.CUT)
                reader.ended(ending)


_ENDINGS = {
    ErrorCode.OLLAMA_UNREACHABLE: ExchangeEnding.UNREACHABLE,
    ErrorCode.UPSTREAM_STALLED: ExchangeEnding.TIMEOUT,
    ErrorCode.UPSTREAM_RESET: ExchangeEnding.RESET,
}


def _models_in(body: object) -> list[str]:
    """Return every model that Ollama could take for the one that a request names.

    Go, in which Ollama is written, reads JSON without regard to the case of names.
    """
    if not isinstance(body, dict):
        return []
    fields = ((name.casefold(), value) for name, value in body.items())
    return [str(value) for name, value in fields if name in ("model", "name")]


def _model_of(body: object) -> str:
    match body:
        case {"model": str(name)} | {"name": str(name)}:
            return name
        case _:
            return ""


def _has_parts(message: object) -> bool:
    return isinstance(message, dict) and isinstance(message.get("parts"), list)


def _problem(error: UpstreamError) -> Problem:
    """Return Ollama's failure as the status of a gateway."""
    status = STATUS_OF.get(error.code, 502)
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    return Problem(status if status > 500 else 502, error.code, error.message, headers)
