"""Newline-delimited JSON: bytes in, whole lines out. No I/O."""

from __future__ import annotations


class LineSplitter:
    """Cuts a byte stream into lines on LF alone, whatever its chunks are.

    Never on U+0085 or U+2028: JSON strings may hold them raw. Time is linear in the bytes fed.

    Args:
        max_line: The longest line taken, in bytes.

    Attributes:
        max_line: The same.
        pending: Bytes that are held of an unfinished line.
        too_long: Whether a line has passed the limit; nothing is to be fed after that.
    """

    __slots__ = ("_tail", "max_line", "pending", "too_long")

    def __init__(self, max_line: int) -> None:
        self.too_long: bool = False
        self.max_line: int = max_line
        # Not a list of what was fed: in reads of two bytes, each would take 40 more.
        self._tail = bytearray()
        self.pending: int = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk and return the lines that it completes, without their LF.

        Where one passes the limit, which it need not be complete for, they are those before it.
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
        """Return the last line where it has no LF, at the body's end; b"" where there is none."""
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
