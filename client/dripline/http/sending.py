"""Send one HTTP request with aiohttp.

Each kind of failure has its own exception, and a POST is never sent twice on its own.
"""

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
# How much of an error body is read, in bytes; no message is longer.
_MAX_ERROR_BODY = 64 * 1024


# aiohttp follows the redirects of these methods correctly; it would turn a POST into a GET.
_FOLLOWED = ("GET", "HEAD")
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10

# A valid token: printable ASCII, without a space at either end.
_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")


def authorization(token: str) -> dict[str, str]:
    """Return the header with the bearer token; an empty dict if the token is "".

    Raises:
        RequestError: The token cannot be a header's value; the message does not show the token.
    """
    if not token:
        return {}
    if not _HEADER_VALUE.fullmatch(token):
        raise RequestError(
            "the token (DRIPLINE_TOKEN) cannot be sent: it must be printable ASCII characters,"
            " without spaces or line ends around them"
        )
    return {"Authorization": f"Bearer {token}"}


def open_session(middlewares: Sequence[aiohttp.ClientMiddlewareType] = ()) -> aiohttp.ClientSession:
    """Return a session without a connection limit, since each stream keeps one for minutes."""
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

    Redirects are followed with the same method: turning a POST into a GET, as browsers do, would
    ask for something else. Methods other than GET and HEAD follow redirects only within the same
    origin, or from http to https on the same host. They never follow 302 and 303, which lead to
    another page, such as a login. The error then names the new address.

    If the connection breaks before the answer, aiohttp retries once if the method is idempotent
    (RFC 9112, section 9.3.1): GET and DELETE are, POST is not. Safe to cancel: that closes the
    connection.

    Args:
        session: The session to use; the timeouts here override its own.
        method: For example "GET".
        url: An absolute URL.
        headers: Sent in addition to aiohttp's own.
        body: The request's body.
        silence_timeout: The longest time without a byte from the server, in seconds, both before
            the answer and in its body.

    Raises:
        RequestError: The address or a header is invalid, there are too many redirects, or the
            redirect must not be followed.
        RequestRefused: The status is not 2xx.
        ServerUnreachable: Connecting failed, the connection broke before the answer, or the answer
            is not HTTP.
        ServerTimeout: The server did not answer within the silence timeout.
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
    # Raised without a cause, because aiohttp's error holds the request's headers with the token.
    raise failure


async def _repeat(
    session: aiohttp.ClientSession, method: str, url: str, **request: Any
) -> aiohttp.ClientResponse:
    """Send a request and follow its redirects with the same method; see `send`."""
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
                f"{method} {shown}: moved (HTTP {response.status}) to an invalid address"
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
    """Whether credentials and a body may be sent to the target of a redirect."""
    upgraded = (target.scheme, moved.scheme) == ("http", "https")
    return moved.host == target.host and (upgraded or moved.origin() == target.origin())


def why_not_sent(error: Exception) -> str:
    """Say in words why aiohttp cannot send a request."""
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "not an HTTP address, such as http://127.0.0.1:8000"
    return str(error)


async def refusal(response: aiohttp.ClientResponse) -> RequestRefused:
    """Return an exception for an error response, and close the response.

    The response need not come from dripline; a proxy in between may have sent it.
    """
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
    """Check that the response is an event stream; if not, close it.

    Raises:
        NotAnEventStream: It has another content type.
    """
    if response.content_type != "text/event-stream":
        response.close()
        raise NotAnEventStream(str(response.url), response.headers.get("Content-Type", ""))


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of a `Retry-After` header (RFC 9110, section 10.2.3).

    A date counts relative to the response's own `Date`, because the clocks of server and client may
    differ. Without a valid header the result is 0.
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
        return f"its answer is not HTTP: {error.message}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    return str(error) or type(error).__name__
