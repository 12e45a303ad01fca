"""Make foreign text safe for a terminal.

An answer, a file's name or a server's message may contain escape sequences that move the cursor,
change the title, write to the clipboard or hide text. This module replaces every control character
with a visible one.
"""

from __future__ import annotations

from typing import IO

# ESC becomes ␛: Unicode has a picture of each C0 control, and of DEL.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
# Characters without a picture: C1 controls, which some terminals treat as ESC and a letter; other
# line ends; direction marks, which can make text read as something else; and surrogates, with which
# Python represents bytes that are not UTF-8 in arguments and file names.
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
    """Makes a text visible that arrives in pieces.

    It holds back a CR until the next piece, because CRLF is one line end even if it is split.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """Add the next piece, and return the text that can be shown now."""
        text = self._held + piece
        self._held = "\r" if text.endswith("\r") else ""
        return visible(text.removesuffix("\r"))

    def close(self) -> str:
        """End the text, and return the rest that was held back."""
        held, self._held = self._held, ""
        return visible(held)


def visible_on(stream: IO[str], text: str) -> str:
    """Return the text, made visible if the stream is a terminal."""
    return visible(text) if stream.isatty() else text


class PieceWriter:
    """Writes the pieces of a text without delay, made visible if the stream is a terminal.

    Attributes:
        line_is_open: Whether the last written line has no line end yet.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.line_is_open: bool = False
        self._stream = stream
        self._pieces = VisiblePieces()

    def write(self, piece: str) -> None:
        """Write the next piece."""
        self._write(self._pieces.feed(piece) if self._stream.isatty() else piece)

    def close(self) -> None:
        """Write the rest that was held back; the stream stays open."""
        self._write(self._pieces.close())

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
            self.line_is_open = not text.endswith("\n")
