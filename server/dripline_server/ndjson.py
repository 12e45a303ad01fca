"""Newline-delimited JSON: bytes in, whole lines out. No I/O."""

from __future__ import annotations

from collections.abc import Iterator


class LineTooLong(ValueError):
    """A line is beyond the limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"a line is longer than {self.limit:,} bytes"


class LineSplitter:
    """Cuts a byte stream into lines on LF alone, whatever its chunks are.

    Never on U+0085 or U+2028: JSON strings may hold them raw. Time is linear in the bytes fed.

    Args:
        max_line: The longest line taken, in bytes.
    """

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._tail: list[bytes] = []
        self._tail_size = 0

    @property
    def pending(self) -> bool:
        """Whether an unfinished line is held."""
        return self._tail_size > 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take a chunk and yield the lines that it completes, without their LF.

        The lines must all be taken before the next chunk is fed.

        Raises:
            LineTooLong: A line passes the limit; it need not be complete for that. The lines
                before it have been yielded.
        """
        lines = chunk.split(b"\n")
        rest = lines.pop()
        tail = self._tail_size
        if lines and self._tail:
            lines[0] = b"".join((*self._tail, lines[0]))
            self._tail.clear()
            self._tail_size = 0
        if len(chunk) + tail <= self._max_line:  # so is each line
            yield from lines
        else:
            for line in lines:
                if len(line) > self._max_line:
                    raise LineTooLong(self._max_line)
                yield line
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
        if self._tail_size > self._max_line:
            raise LineTooLong(self._max_line)
