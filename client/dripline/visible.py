"""Text from elsewhere on a terminal: it can be seen, and do nothing else.

An answer, a file's name or a server's message may hold escape sequences that move the cursor,
change the title, fill the clipboard or hide what was printed. Here every control character becomes
a character that one can see.
"""

from __future__ import annotations

from typing import IO

# ESC becomes ␛: Unicode has a picture of each C0 control, and of DEL.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
# What has none: C1 controls, which some terminals take for ESC and a letter; other line ends; the
# marks that turn the direction of what follows, so that it reads as something else; and surrogates,
# which stand for a byte of an argument or a file's name that is no UTF-8.
_NUMBERED = (
    *range(0x80, 0xA0),
    *(0x2028, 0x2029),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)
_VISIBLE: dict[int, int | str] = {
    **_PICTURES,
    0x7F: 0x2421,
    **{code: f"\\u{code:04x}" for code in _NUMBERED},
}


def visible(text: str) -> str:
    """Return the text with every control character made visible; tabs and line ends stay."""
    return text.replace("\r\n", "\n").translate(_VISIBLE)


class VisiblePieces:
    """Makes a text visible that comes in pieces.

    A CR waits for what comes next: with LF it is one line end, also where they come apart.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Take the next piece; returns what can be shown now."""
        text = self._held + piece
        self._held = "\r" if text.endswith("\r") else ""
        return visible(text.removesuffix("\r"))

    def close(self) -> str:
        """Take the end of the text; returns what has waited."""
        held, self._held = self._held, ""
        return visible(held)


def visible_on(stream: IO[str], text: str) -> str:
    """Return the text as it may be written: made visible where the stream is a terminal."""
    return visible(text) if stream.isatty() else text


class PieceWriter:
    """Writes a text that comes in pieces, each at once; visible where the stream is a terminal.

    Attributes:
        line_is_open: Whether what was written last has not ended its line.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.line_is_open: bool = False
        self._stream = stream
        self._pieces = VisiblePieces()

    def write(self, piece: str) -> None:
        """Write the next piece."""
        self._write(self._pieces.feed(piece) if self._stream.isatty() else piece)

    def close(self) -> None:
        """Write what has waited for the next piece; the stream stays open."""
        self._write(self._pieces.close())

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
            self.line_is_open = not text.endswith("\n")
