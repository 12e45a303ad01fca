"""Text from elsewhere on a terminal: it can be seen, and do nothing else.

An answer, a file's name or a server's message may hold escape sequences that move the cursor,
change the title, fill the clipboard or hide what was printed. Here every control character becomes
a character that one can see.
"""

from __future__ import annotations

from typing import IO

# ESC becomes ␛: Unicode has a picture of each C0 control, and of DEL.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
# What has none: C1 controls, which some terminals take for ESC and a letter; other line ends; and
# the marks that turn the direction of what follows, so that it reads as something else.
_NUMBERED = (*range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE: dict[int, int | str] = {
    **_PICTURES,
    0x7F: 0x2421,
    **{code: f"\\u{code:04x}" for code in _NUMBERED},
}


def visible(text: str) -> str:
    """Return the text with every control character made visible; tabs and line ends stay."""
    return text.replace("\r\n", "\n").translate(_VISIBLE)


def visible_on(stream: IO[str], text: str) -> str:
    """Return the text as it may be written: made visible where the stream is a terminal."""
    return visible(text) if stream.isatty() else text
