"""Remove credentials from the headers, URLs and request bodies of a recorded exchange."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_plus

import orjson

Headers = tuple[tuple[str, str], ...]

REDACTED = "REDACTED"

# Matches the end of a secret's name, such as X-Api-Key, access_token, clientSecret or Set-Cookie.
# It matches too much rather than too little: redacting a harmless value does no damage.
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
    """Recognises secrets and removes them. Redacting twice gives the same result as once.

    A secret is recognised by its name: that of a header, of a field in a URL's query, or of a
    string in a JSON request body at any depth. The user and password in a URL are secrets too. A
    response's body is never changed, because its exact bytes are the purpose of a recording.

    Attributes:
        also: More names of secrets. The whole name must match; case is ignored.
        never: Names that look like secrets but are not.
    """

    also: Collection[str] = ()
    never: Collection[str] = ()

    def is_secret(self, name: str) -> bool:
        """Return whether this is the name of a secret."""
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
        """Return a URL without its secrets; other parts stay unchanged."""
        if "://" in url:
            url = _USER.sub(f"{REDACTED}@", url)

        def field(found: re.Match[str]) -> str:
            name, value = found.groups()
            return f"{name}={REDACTED if self.is_secret(unquote_plus(name)) else value}"

        return _QUERY_FIELD.sub(field, url)

    def body(self, body: bytes) -> bytes:
        """Return a request's body without its secrets; without any, the bytes are unchanged."""
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
