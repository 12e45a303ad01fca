"""Which pages and which hosts may ask: Ollama's checks against foreign pages, and CORS."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence

_LOCAL = ("localhost", "127.0.0.1", "0.0.0.0")
_USUAL = (
    *(
        f"{scheme}://{host}{port}"
        for host in _LOCAL
        for port in ("", ":*")
        for scheme in ("http", "https")
    ),
    *("app://*", "file://*", "tauri://*", "vscode-webview://*", "vscode-file://*"),
)
_HEADERS = (
    *("Authorization", "Content-Type", "User-Agent", "Accept", "X-Requested-With"),
    *("Openai-Beta", "X-Stainless-Arch", "X-Stainless-Async"),
    *("X-Stainless-Custom-Poll-Interval", "X-Stainless-Helper-Method", "X-Stainless-Lang"),
    *("X-Stainless-Os", "X-Stainless-Package-Version", "X-Stainless-Poll-Helper"),
    *("X-Stainless-Retry-Count", "X-Stainless-Runtime", "X-Stainless-Runtime-Version"),
    "X-Stainless-Timeout",
)
_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_MAX_AGE = "43200"  # twelve hours


class Refused(Exception):
    """A page or a host that may not ask: 403, and nothing more."""


class Origins:
    """The pages that may ask: those of this machine, and those that are named.

    Args:
        named: More of them, as OLLAMA_ORIGINS has them; one `*` in each stands for anything.

    Raises:
        ValueError: One of them is none.
    """

    def __init__(self, named: Sequence[str] = ()) -> None:
        for origin in named:
            if "*" not in origin and "://" not in origin:
                raise ValueError(f"origins: {origin!r} needs a scheme, such as http://, or a *")
            if origin.count("*") > 1:
                raise ValueError(f"origins: {origin!r} may have one * at most")
        self._all = "*" in named
        self._patterns = [
            re.compile(re.escape(origin.strip().lower()).replace(r"\*", ".*"))
            for origin in (*named, *_USUAL)
        ]

    def headers(self, origin: str, host: str, *, preflight: bool) -> list[tuple[str, str]] | None:
        """Return the headers for a page; None where the request is not one of another page's.

        Raises:
            Refused: The page may not ask.
        """
        if not origin or origin in (f"http://{host}", f"https://{host}"):
            return None
        if not any(pattern.fullmatch(origin) for pattern in self._patterns):
            raise Refused
        allowed = "*" if self._all else origin
        headers = [("Access-Control-Allow-Origin", allowed)]
        if preflight:
            headers += [
                ("Access-Control-Allow-Headers", ",".join(_HEADERS)),
                ("Access-Control-Allow-Methods", _METHODS),
                ("Access-Control-Max-Age", _MAX_AGE),
            ]
        if self._all:
            return headers
        vary = ["Origin"]
        if preflight:
            vary += ["Access-Control-Request-Method", "Access-Control-Request-Headers"]
        return [*headers, *(("Vary", name) for name in vary)]


def check_host(host: str, *, listens_on: str) -> bool:
    """Refuse a host that is not this machine, so that no foreign name can be bent to it.

    Returns whether it is a name, and not an address: a preflight to a name needs no more.

    Raises:
        Refused: It is another's.
    """
    if not _is_loopback(listens_on):
        return False
    name = re.sub(r":\d*$", "", host).strip("[]").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        pass
    else:
        if address.is_loopback or address.is_private or address.is_unspecified:
            return False
    machine = socket.gethostname().lower()
    if name in ("", "localhost", machine) or name.endswith((".localhost", ".local", ".internal")):
        return True
    raise Refused


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
