"""Reading a whole file that may have no end, such as a device or a pipe."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import IO

MIB = 1024 * 1024


def read_file(path: str | Path, limit: int) -> bytes:
    """Return what is in a file.

    Raises:
        OSError: It cannot be read, or has more than `limit` bytes; names it.
    """
    with Path(path).open("rb") as file:
        return read_rest(file, limit)


def read_rest(file: IO[bytes], limit: int) -> bytes:
    """Return what is left of an open file.

    Raises:
        OSError: It cannot be read, or has more than `limit` bytes; names it.
    """
    content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"more than {limit // MIB:,} MiB", str(file.name))
    return content
