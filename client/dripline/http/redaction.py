"""Secrets out of a recorded exchange: credentials in headers, URLs and JSON bodies."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_plus

import orjson

Headers = tuple[tuple[str, str], ...]

REDACTED = "REDACTED"

# What a secret's name ends with: X-Api-Key, access_token, clientSecret, Set-Cookie. The word before
# "key" and "token" is not asked for: what is redacted without need does no harm.
_SECRET_NAME = re.compile(
    r"(?:^|[^a-z]|api|access|auth|refresh|session|client|private|secret|id|bearer)"
    r"(?:authorization|auth|cookie2?|token|secret|password|passwd|pwd|key|signature|sig|jwt"
    r"|credentials?|session|sessionid)$",
    re.IGNORECASE,
)
_USER = re.compile(r"(?<=://)[^/?#@]*@")
_QUERY_FIELD = re.compile(r"(?<=[?&;])([^=&;#]*)=([^&;#]+)")


@dataclass(frozen=True, slots=True)
class Redaction:
    """Says what is a secret, and takes it out. Doing it twice changes nothing more.

    A secret is known by its name: of a header, of a field in a URL's query, or of a string in a
    JSON request body, wherever it is nested. User and password in a URL are secrets too. The bytes
    of a response are never touched: they are what the recording is for.

    Attributes:
        also: Further names, matched whole and in any case.
        never: Names that are no secrets, although they look so.
    """

    also: Collection[str] = ()
    never: Collection[str] = ()

    def is_secret(self, name: str) -> bool:
        """Return whether what has this name is a secret."""
        lower = name.lower()
        if lower in map(str.lower, self.never):
            return False
        return lower in map(str.lower, self.also) or bool(_SECRET_NAME.search(name))

    def headers(self, headers: Headers) -> Headers:
        """Return headers without secrets; URLs in them are redacted as well."""
        return tuple(
            (name, REDACTED if self.is_secret(name) else self.url(value)) for name, value in headers
        )

    def url(self, url: str) -> str:
        """Return a URL without secrets, and else as it is."""
        if "://" in url:
            url = _USER.sub(f"{REDACTED}@", url)

        def field(found: re.Match[str]) -> str:
            name, value = found.groups()
            return f"{name}={REDACTED if self.is_secret(unquote_plus(name)) else value}"

        return _QUERY_FIELD.sub(field, url)

    def body(self, body: bytes) -> bytes:
        """Return a request's body without secrets; it stays as it is if it has none."""
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self.url(f"?{body.decode()}")[1:].encode() if _is_form(body) else body
        clean = self._json(value)
        return body if clean == value else orjson.dumps(clean)

    def _json(self, value: object) -> object:
        match value:
            case dict():
                return {
                    name: REDACTED
                    if isinstance(inner, str) and self.is_secret(name)
                    else self._json(inner)
                    for name, inner in value.items()
                }
            case list():
                return [self._json(inner) for inner in value]
            case _:
                return value


def _is_form(body: bytes) -> bool:
    """Return whether a body looks like `application/x-www-form-urlencoded`."""
    return re.fullmatch(rb"[\w.~*+%-]+=[\w.~*+%&=-]*", body) is not None
