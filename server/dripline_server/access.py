"""Access control: checks the host, the origin and the token of each request.

A foreign web page runs in the user's browser, which can reach this server. Three things keep such a
page out. With DNS rebinding its requests name a host that is not one of ours. Other requests carry
its `Origin`, which is not allowed. And without CORS it cannot send JSON.
"""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import hdrs, web
from yarl import URL

from dripline.errors import ErrorCode
from dripline_server.callers import CALLER, Caller
from dripline_server.known_tokens import KnownTokens
from dripline_server.problems import Handler, Problem, path_within
from dripline_server.proxies import REMOTE, Proxies
from dripline_server.settings import Settings, is_loopback

ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
ALLOWED_HEADERS = "Authorization, Content-Type, Last-Event-ID, X-On-Disconnect"
EXPOSED_HEADERS = "X-Run-Id, X-First-Event-Id, Content-Location, Retry-After"
PREFLIGHT_AGE = 600  # seconds

# Open without a token: the page must load before it can ask for one; load balancers have none.
OPEN_PATHS = ("/", "/health", "/livez", "/readyz")
OPEN_FOLDER = "/static/"


class Access:
    """Checks each request before the server answers it.

    Args:
        settings: Gives the allowed hosts and the allowed origins.
        tokens: The valid tokens.
    """

    def __init__(self, settings: Settings, tokens: KnownTokens) -> None:
        self._hosts = {name.lower() for name in (*settings.allowed_hosts, settings.host)}
        self._origins = frozenset(settings.cors_origins)
        self._tokens = tokens
        self._proxies = Proxies(settings.trusted_proxies)

    def check(self, request: web.Request) -> None:
        """Let the request pass, and note its caller in it; or raise.

        Raises:
            Problem: Its host or origin is not allowed (403), or it lacks a token (401).
        """
        request[REMOTE] = self._proxies.remote_of(request)
        hosts = self._proxies.hosts_of(request)
        self._check_host(hosts)
        self._check_origin(request, hosts[0])
        if caller := self._caller_of(request):
            request[CALLER] = caller
        elif not (_is_open(request) or is_preflight(request)):
            raise Problem(
                401,
                ErrorCode.UNAUTHORIZED,
                "Send a token of this server (DRIPLINE_TOKEN, or one of your own) with the header"
                " Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )

    def _caller_of(self, request: web.Request) -> Caller | None:
        """Return who sends the request; None if it lacks a token that the server needs."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer":
            token = ""  # which is nobody's
        # surrogateescape: a header may contain bytes that are not UTF-8.
        return self._tokens.caller_of(token.strip().encode("utf-8", "surrogateescape"))

    def cors_headers(self, request: web.Request) -> dict[str, str]:
        """Return the headers that let a page from an allowed origin read the answer."""
        if not self._origins:
            return {}
        headers: dict[str, str] = {hdrs.VARY: hdrs.ORIGIN}
        origin = request.headers.get(hdrs.ORIGIN, "")
        if origin in self._origins:
            headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED_HEADERS
        return headers

    def _check_host(self, sent: list[str]) -> None:
        name = _name_of(sent[0]) if len(sent) == 1 else None
        if name is None or not (_is_address(name) or is_loopback(name) or name in self._hosts):
            shown = (name or ", ".join(sent))[:100]
            raise Problem(
                403,
                ErrorCode.HOST_NOT_ALLOWED,
                f"Host: this server does not go by the name {shown!r}. If it is one of its own,"
                " start it with --allowed-hosts.",
            )

    def _check_origin(self, request: web.Request, host: str) -> None:
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or origin in self._origins or _is_own(origin, host):
            return
        raise Problem(
            403,
            ErrorCode.ORIGIN_NOT_ALLOWED,
            f"Origin: pages from {origin[:100]!r} may not use this server. Allow them with"
            " --cors-origins.",
        )


def is_preflight(request: web.Request) -> bool:
    """Whether this is a CORS preflight request (Fetch standard, section 4.9)."""
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def add_access(app: web.Application, settings: Settings, tokens: KnownTokens) -> None:
    """Make the app check each request, and answer preflight requests."""
    access = Access(settings, tokens)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        access.check(request)
        if is_preflight(request):
            return web.Response(
                status=204,
                headers={
                    hdrs.ACCESS_CONTROL_ALLOW_METHODS: ALLOWED_METHODS,
                    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _allowed_headers(request),
                    hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_AGE),
                },
            )
        return await handler(request)

    async def share(request: web.Request, response: web.StreamResponse) -> None:
        # extend, not update: the page's answers already have a `Vary` header, which has to stay.
        response.headers.extend(access.cors_headers(request))

    app.middlewares.append(guard)
    app.on_response_prepare.append(share)


def _allowed_headers(request: web.Request) -> str:
    """Return the headers that a page may send: those that it asks for, and those used here.

    OpenAI's package sends a dozen `X-Stainless-...` headers, and the next one may send others.
    """
    asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return ", ".join(filter(None, (ALLOWED_HEADERS, asked)))


def _is_open(request: web.Request) -> bool:
    if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    path = path_within(request)
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)


def _name_of(host: str) -> str | None:
    """Return the name or address in a `Host` header, without the port; None if it is invalid."""
    try:
        url = URL(f"http://{host}")
        is_host = url.raw_authority.lower() == host.lower() and not url.user
        return url.host.rstrip(".") if is_host and url.host else None
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    """Whether it is an IP address, with which DNS rebinding is impossible."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_own(origin: str, host: str) -> bool:
    """Whether the page came from this server, perhaps through a proxy that adds `https`."""
    scheme, _, authority = origin.lower().partition("://")
    return scheme in ("http", "https") and authority == host.lower()
