"""Copy to the clipboard with a program, or else by an escape sequence to the terminal."""

from __future__ import annotations

import asyncio
import base64
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE

TOOLS = (
    ("pbcopy",),
    ("wl-copy",),
    ("xclip", "-selection", "clipboard"),
    ("xsel", "--clipboard", "--input"),
    ("clip.exe",),
)
_TOOL_SECONDS = 3.0
# What terminals take; xterm, the strictest that is common, takes this many bytes of base64.
_MAX_OSC_52 = 74_994


class CannotCopy(Exception):
    """The text cannot be copied; the message says why."""


async def copy(text: str) -> str:
    """Copy a text, and say in words how it was copied.

    Raises:
        CannotCopy: No program does it, and the terminal cannot be asked.
    """
    for tool in TOOLS:
        if shutil.which(tool[0]) and await _copy_with(tool, text.encode()):
            return f"with {tool[0]}"
    encoded = base64.b64encode(text.encode()).decode()
    if not sys.stdout.isatty():
        raise CannotCopy(f"there is no {', '.join(tool[0] for tool in TOOLS)}, and no terminal")
    if len(encoded) > _MAX_OSC_52:
        raise CannotCopy("it is too long for the terminal's clipboard; install xclip or wl-copy")
    sys.stdout.write(f"\x1b]52;c;{encoded}\x1b\\")
    sys.stdout.flush()
    return "through the terminal (OSC 52)"


async def _copy_with(tool: tuple[str, ...], content: bytes) -> bool:
    """Pass the content to a program; False if it fails, as xclip does without a display."""
    try:
        process = await asyncio.create_subprocess_exec(
            *tool, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(_TOOL_SECONDS):
            await process.communicate(content)
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == 0
