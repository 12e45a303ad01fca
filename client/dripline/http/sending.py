"""One HTTP request over aiohttp: every way to fail has its name, and no POST is sent twice."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from yarl import URL

from dripline.errors import (
    DriplineError,
    NotAnEventStream,
    RequestError,
    RequestRefused,
    ServerTimeout,
    ServerUnreachable,
)
from dripline.http.redaction import Redaction

CONNECT_TIMEOUT = 10.0
# Of an error body, as much as a message can be in.
_MAX_ERROR_BODY = 64 * 1024


# The methods whose redirects aiohttp follows as they should be; it makes a GET of a POST.
_FOLLOWED = ("GET", "HEAD")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10

# What a header can hold: printable ASCII, without a blank at either end.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def authorization(token: str) -> dict[str, str]:
    """Return the header that carries a bearer token; none where the token is "".

    Raises:
        RequestError: It cannot be a header's value; the message does not tell it.
    """
    if not token:
        return {}
    if not _HEADER_VALUE.fullmatch(token):
        raise RequestError(
            "the token (DRIPLINE_TOKEN) cannot be sent: it must be printable ASCII characters,"
            " without a blank or a line end around them"
        )
    return {"Authorization": f"Bearer {token}"}


def open_session(middlewares: Sequence[aiohttp.ClientMiddlewareType] = ()) -> aiohttp.ClientSession:
    """Return a session without a limit of connections: streams keep theirs for minutes."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), middlewares=tuple(middlewares)
    )


async def send(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    silence_timeout: float | None,
) -> aiohttp.ClientResponse:
    """Send a request and return its response, which the caller closes.

    Redirects are followed, and the method stays: a POST never becomes a GET, which would ask for
    something else. What is no GET is repeated at the same host alone, or there by https, and not
    after 302 and 303, which lead to another page such as a log-in; the error says where to.

    Where the connection breaks before the answer, aiohttp asks again, once, if the method is
    idempotent (RFC 9112, section 9.3.1): GET and DELETE are, POST is not. Safe to cancel: the
    connection is closed then.

    Args:
        session: Where the connection comes from; the time-outs here go before its own.
        method: Such as "GET".
        url: Absolute.
        headers: Beside aiohttp's own.
        body: What is sent.
        silence_timeout: Seconds for which the server may send nothing, now and later in the body.

    Raises:
        RequestError: The address or a header cannot be, it redirects too often, or it has moved to
            where it is not repeated.
        RequestRefused: The status is not 2xx.
        ServerUnreachable: No connection could be made, it broke before the answer, or what came
            is not HTTP.
        ServerTimeout: No answer came within the silence time-out.
    """
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_TIMEOUT, sock_read=silence_timeout
    )
    failure: DriplineError
    try:
        if method in _FOLLOWED:
            response = await session.request(
                method, url, data=body, headers=headers, timeout=timeout
            )
        else:
            response = await _repeat(
                session, method, url, data=body, headers=headers, timeout=timeout
            )
    except aiohttp.TooManyRedirects:
        failure = RequestError(f"{method} {url} redirects too often")
    except aiohttp.ClientResponseError as error:
        failure = ServerUnreachable(_origin(url), _reason(error))
    except (aiohttp.NonHttpUrlClientError, ValueError) as error:
        shown = Redaction().url(url)
        raise RequestError(f"{method} {shown} cannot be sent: {why_not_sent(error)}") from error
    except aiohttp.ConnectionTimeoutError as error:
        raise ServerUnreachable(_origin(url), "the connection timed out") from error
    except TimeoutError as error:
        raise ServerTimeout(silence_timeout or 0.0) from error
    except aiohttp.ClientError as error:
        raise ServerUnreachable(_origin(url), _reason(error)) from error
    else:
        if response.status >= 300:
            raise await refusal(response)
        return response
    # Without a cause: aiohttp's error has the request's headers, and so the token.
    raise failure


async def _repeat(
    session: aiohttp.ClientSession, method: str, url: str, **request: Any
) -> aiohttp.ClientResponse:
    """Send a request, and send it again where it has moved to; see `send`."""
    target = URL(url)
    for _ in range(_MAX_REDIRECTS):
        response = await session.request(method, target, allow_redirects=False, **request)
        location = response.headers.get("Location", "")
        if response.status not in _REDIRECTS or not location:
            return response
        response.close()
        try:
            moved = target.join(URL(location))
        except ValueError as error:
            shown = Redaction().url(url)
            raise RequestError(
                f"{method} {shown}: moved (HTTP {response.status}) to what is no address"
            ) from error
        if response.status in (302, 303) or not _is_same_place(target, moved):
            shown, place = Redaction().url(url), Redaction().url(str(moved))
            raise RequestError(
                f"{method} {shown}: moved to {place} (HTTP {response.status}), where it was not"
                " sent; use that address if it is the right one"
            )
        target = moved
    raise RequestError(f"{method} {Redaction().url(url)} redirects too often")


def _is_same_place(target: URL, moved: URL) -> bool:
    """Whether credentials and a body may go where a redirect leads."""
    upgraded = (target.scheme, moved.scheme) == ("http", "https")
    return moved.host == target.host and (upgraded or moved.origin() == target.origin())


def why_not_sent(error: Exception) -> str:
    """Return what aiohttp finds wrong with a request, in words."""
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "not an HTTP address, such as http://127.0.0.1:8000"
    return str(error)


async def refusal(response: aiohttp.ClientResponse) -> RequestRefused:
    """Return what an error status says, whoever sent it, and close the response."""
    body = b""
    try:
        body = await response.content.read(_MAX_ERROR_BODY)
        error = orjson.loads(body)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (aiohttp.ClientError, ValueError, LookupError, TypeError):
        text = body[:200].decode("utf-8", "replace").strip()
        code, message = "", text or str(response.reason)
    finally:
        response.close()
    return RequestRefused(response.status, code, message, response.headers)


def check_event_stream(response: aiohttp.ClientResponse) -> None:
    """Make sure that the response is an event stream; closes it where it is not.

    Raises:
        NotAnEventStream: It is not.
    """
    if response.content_type != "text/event-stream":
        response.close()
        raise NotAnEventStream(str(response.url), response.headers.get("Content-Type", ""))


def retry_after(headers: Mapping[str, str]) -> float:
    """Return for how many seconds a server asks to be left alone: RFC 9110, section 10.2.3.

    A date is taken relative to the server's own clock, where it tells it. 0 where there is no
    such header, or it makes no sense.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until, now = _timestamp(value), _timestamp(headers.get("Date", ""))
    return 0.0 if until is None else max(0.0, until - (now or time.time()))


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


def _origin(url: str) -> str:
    return str(URL(url).origin())


def _reason(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what answers there does not speak HTTP: {error.message}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return str(error) or type(error).__name__
