"""Newline-delimited JSON: split bytes into complete lines. No I/O."""

from __future__ import annotations


class LineSplitter:
    """Splits a byte stream into lines at LF, however the bytes are split into chunks.

    Unlike `splitlines`, it does not split at U+0085 or U+2028, which JSON strings may contain
    unescaped. Its time is linear in the number of bytes.

    Args:
        max_line: The limit for a line, in bytes.

    Attributes:
        max_line: The limit for a line, in bytes.
        pending: The size of the unfinished line, in bytes.
        too_long: Whether a line has exceeded the limit. Do not feed more bytes after that.
    """

    __slots__ = ("_tail", "max_line", "pending", "too_long")

    def __init__(self, max_line: int) -> None:
        self.too_long: bool = False
        self.max_line: int = max_line
        # Not a list of the chunks: for reads of two bytes, each would need 40 more bytes.
        self._tail = bytearray()
        self.pending: int = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Add a chunk and return the lines that it completes, without their LF.

        If a line exceeds the limit, complete or not, only the lines before it are returned.
        """
        lines = chunk.split(b"\n")
        rest = lines.pop()
        size = self.pending + len(chunk)
        if lines and self.pending:
            self._tail += lines[0]
            lines[0] = bytes(self._tail)
            self._tail.clear()
            self.pending = 0
        if rest:
            self._tail += rest
            self.pending += len(rest)
        return lines if size <= self.max_line else self._before_too_long(lines)

    def take_rest(self) -> bytes:
        """Return the last line if the body ends without LF; b"" if there is none."""
        rest = b"" if self.too_long else bytes(self._tail)
        self._tail.clear()
        self.pending = 0
        return rest

    def _before_too_long(self, lines: list[bytes]) -> list[bytes]:
        for at, line in enumerate(lines):
            if len(line) > self.max_line:
                self.too_long = True
                return lines[:at]
        self.too_long = self.pending > self.max_line
        return lines
