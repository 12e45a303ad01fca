"""Read a whole file up to a limit, because a device or a pipe may never end."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

MIB = 1024 * 1024


def read_file(path: str | Path, limit: int) -> bytes:
    """Return the content of a file.

    Raises:
        OSError: It cannot be read, or has more than `limit` bytes; the message names the file.
    """
    with Path(path).open("rb") as file:
        return read_rest(file, limit)


def read_rest(file: IO[bytes], limit: int) -> bytes:
    """Return the rest of an open file.

    Raises:
        OSError: It cannot be read, or has more than `limit` bytes; the message names the file.
    """
    content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit // MIB:,} MiB", str(file.name))
    return content
