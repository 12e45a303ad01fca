"""Images in `data:` URLs, as browsers send them."""

from __future__ import annotations

import re

from dripline_server.routes.request_body import bad_field

_IMAGE = re.compile(r"data:image/[\w.+-]+(?:;[\w.+=-]+)*;base64,", re.IGNORECASE)


def image_of_data_url(url: str, field: str) -> str:
    """Return the image as Base64, which is Ollama's format.

    Raises:
        Problem: It is not a `data:` URL of an image (400). No other URL is fetched: clients must
            not be able to make the server request addresses that they choose.
    """
    found = _IMAGE.match(url)
    if not found:
        raise bad_field(field, "should be an image in a data: URL, in Base64")
    return url[found.end() :]
