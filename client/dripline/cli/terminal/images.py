"""Images for models with vision."""

from __future__ import annotations

import base64
from pathlib import Path

from dripline.bounded_read import MIB, read_file

MAX_BYTES = 20 * MIB
# The formats that Ollama accepts, by their first bytes.
_KINDS = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "WebP": b"RIFF"}


def read_image(path: Path) -> str:
    """Return an image as base64.

    Raises:
        ValueError: It is no picture that Ollama takes.
        OSError: It cannot be read, or is too large.
    """
    content = read_file(path, MAX_BYTES)
    kind = next((kind for kind, magic in _KINDS.items() if content.startswith(magic)), "")
    if not kind or (kind == "WebP" and content[8:12] != b"WEBP"):
        raise ValueError(f"{path} is not an image of a supported kind: {', '.join(_KINDS)}")
    return base64.b64encode(content).decode()
