"""Ollama's address, and the headers and TLS for each request. No I/O except reading CA files."""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Sequence
from functools import cached_property
from http import HTTPStatus

from yarl import URL

from dripline.http.redaction import REDACTED, Headers

# Headers that the client sets itself, because how it reads answers depends on them.
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "expect",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

RawHeaders = Sequence[tuple[bytes, bytes]]
"""Names and values of headers as the bytes that came, in their order."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_MAX_SHOWN = 300

# Only these statuses demand that the same method and body are sent to the new address.
_FOLLOWED = (HTTPStatus.TEMPORARY_REDIRECT, HTTPStatus.PERMANENT_REDIRECT)
REDIRECTS = (HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.FOUND, HTTPStatus.SEE_OTHER, *_FOLLOWED)


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and the value of `Name: value`.

    Raises:
        ValueError: The header cannot be sent. The message never contains the value.
    """
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not colon:
        raise ValueError("a header is written `Name: value`")
    if not _NAME.fullmatch(name):
        raise ValueError("the text before the colon is not a header name")
    if name.lower() in _OURS:
        raise ValueError(f"{name}: dripline sets this header itself")
    if not value.isprintable() or any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError(f"{name}: the value has characters that a header cannot have")
    return name, value


class OllamaAddress:
    """One Ollama's address, with its headers and its TLS settings.

    Requests authenticate with the first of these that is set: an `Authorization` header, the user
    and password in the address, the API key.

    Args:
        url: The address; it may contain a path, a user and a password.
        headers: Sent with every request.
        api_key: Sent as a bearer token.

    Attributes:
        url: The address for messages, without the user and the password.
    """

    def __init__(
        self, url: str, headers: Sequence[tuple[str, str]] = (), api_key: str = ""
    ) -> None:
        address = URL(url)
        self._base = address.with_user(None)
        self.url = str(self._base).rstrip("/")
        names = {name.lower() for name, _ in headers}
        self._headers = list(headers)
        self._has_host = "host" in names
        if "authorization" not in names:
            if address.user or address.password:
                pair = f"{address.user or ''}:{address.password or ''}".encode()
                self._headers.append(("Authorization", f"Basic {b64encode(pair).decode()}"))
            elif api_key:
                self._headers.append(("Authorization", f"Bearer {api_key}"))

    def at(self, path: str) -> URL:
        """Return the address of one of Ollama's paths."""
        return self._base.with_path(self._base.raw_path.rstrip("/") + path, encoded=True)

    def tls(self, url: URL) -> ssl.SSLContext | None:
        """Return the TLS settings for a connection; None for plain HTTP."""
        return self._tls if url.scheme == "https" else None

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        # This reads OpenSSL's default paths; SSL_CERT_FILE and SSL_CERT_DIR override them.
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context

    def head(self, method: str, url: URL, length: int) -> bytes:
        """Return the head of a request."""
        lines = [f"{method} {url.raw_path_qs} HTTP/1.1"]
        if not self._has_host:
            lines.append(f"Host: {_authority(url)}")
        lines += [f"{name}: {value}" for name, value in _own_headers(length)]
        lines += [f"{name}: {value}" for name, value in self._headers]
        return "\r\n".join((*lines, "\r\n")).encode()

    def relayed_head(self, method: str, target: str, headers: RawHeaders) -> bytes:
        """Return the head of a client's request, with the headers of the settings.

        Args:
            method: Its method.
            target: Its path and query, which are not changed.
            headers: Its headers, without those about the connection and without `Host`.
        """
        base = self._base.raw_path.rstrip("/")
        lines = [f"{method} {base}{target} HTTP/1.1".encode("utf-8", "surrogateescape")]
        if not self._has_host:
            lines.append(f"Host: {_authority(self._base)}".encode())
        own = {name.lower().encode() for name, _ in self._headers}
        lines += [b"%b: %b" % header for header in headers if header[0].lower() not in own]
        lines += [f"{name}: {value}".encode() for name, value in self._headers]
        return b"\r\n".join((*lines, b"Connection: close", b"\r\n"))

    def recorded_headers(self, url: URL, length: int) -> Headers:
        """Return the headers for a recording, without any secret value."""
        hidden = [(name, REDACTED) for name, _ in self._headers]
        return (("Host", _authority(url)), *_own_headers(length), *hidden)

    def redirect(self, url: URL, status: int, location: str) -> URL | None:
        """Return the target of a redirect; None if it is not followed.

        Every request may carry a key. So only the same host may receive it: at the same origin, or
        over https. A redirect never lowers the security.
        """
        if status not in _FOLLOWED:
            return None
        try:
            target = url.join(URL(location)).with_user(None).with_fragment(None)
        except ValueError:
            return None
        if target.host != url.host:
            return None
        return target if target.scheme == "https" or target.origin() == url.origin() else None


def shown_location(location: str) -> str:
    """Return a redirect's target for messages: short, and without a password."""
    try:
        text = str(URL(location).with_user(None)) if "//" in location else location
    except ValueError:
        text = location
    clean = "".join(char if char.isprintable() else "\ufffd" for char in text)
    return clean if len(clean) <= _MAX_SHOWN else f"{clean[:_MAX_SHOWN]}…"


def _own_headers(length: int) -> list[tuple[str, str]]:
    headers = [
        ("Connection", "close"),
        ("Accept", "application/x-ndjson, application/json"),
        ("Accept-Encoding", "identity"),
    ]
    if length:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(length))]
    return headers


def _authority(url: URL) -> str:
    """Return the host as HTTP writes it: in ASCII; IPv6 in brackets, without a zone."""
    host = (url.raw_host or "").partition("%")[0]
    if ":" in host:
        host = f"[{host}]"
    return host if url.explicit_port is None or url.is_default_port() else f"{host}:{url.port}"
