"""Images in `data:` URLs, as browsers send them."""

from __future__ import annotations

import re

from dripline_server.routes.request_body import bad_field

_IMAGE = re.compile(r"data:image/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)


def image_of_data_url(url: str, field: str) -> str:
    """Return the image's bytes in Base64, which is how Ollama takes them.

    Raises:
        Problem: It is no such URL (400). No other kind is fetched: the server must not be made to
            ask addresses that a client chooses.
    """
    found = _IMAGE.match(url)
    if not found:
        raise bad_field(field, "should be an image in a data: URL, in Base64")
    return url[found.end() :]
