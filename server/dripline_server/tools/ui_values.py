"""Checks the values in `ui_control` events, from whatever source: colours and one-line texts."""

from __future__ import annotations

import re

import webcolors

# In characters.
MAX_LABEL = 80
MAX_MESSAGE = 500

# Dark and light mode. These colours have no CSS name, so that the model can be given theirs.
DARK = "#1E1E1E"
LIGHT = "#FAFAFA"

_HEX_BY_NAME: dict[str, str] = {
    name: webcolors.name_to_hex(name).upper() for name in webcolors.names()
} | {
    "rebeccapurple": "#663399",  # CSS Color 4, section 6.1; webcolors stops at level 3
}
_ALIASES = {"navyblue": "navy"}
_RGB = re.compile(r"rgb\(\s*([0-9]{1,3})[\s,]+([0-9]{1,3})[\s,]+([0-9]{1,3})\s*\)")
_HEX = re.compile(r"#(?:[0-9a-f]{3}|[0-9a-f]{6})")


def parse_color(text: str) -> str | None:
    """Return a colour as "#RRGGBB" in upper case; None if the text is not a colour.

    Accepts every CSS colour name in any case, also as separate words ("lightgreen", "Light Green",
    "light-grey"), "#RGB", "#RRGGBB" and "rgb(r, g, b)". Rejects every colour that is not opaque.
    """
    text = text.strip().lower()
    if _HEX.fullmatch(text):
        digits: str = webcolors.normalize_hex(text)
        return digits.upper()
    if match := _RGB.fullmatch(text):
        red, green, blue = map(int, match.groups())
        return f"#{red:02X}{green:02X}{blue:02X}" if max(red, green, blue) <= 255 else None
    name = re.sub(r"[\s-]", "", text)
    return _HEX_BY_NAME.get(_ALIASES.get(name, name))


def parse_label(text: str) -> str | None:
    """Return the text of a button on one line; None if it is empty or too long."""
    return _one_line(text, MAX_LABEL)


def parse_message(text: str) -> str | None:
    """Return the message of a button on one line; None if it is empty or too long."""
    return _one_line(text, MAX_MESSAGE)


# Control characters, lone surrogates (not UTF-8), and bidirectional controls, which can make a
# label look like another text. The joiners that emoji and many scripts need stay.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def _one_line(text: str, longest: int) -> str | None:
    line = " ".join(_UNWANTED.sub("", " ".join(text.split())).split())
    visible = any(character.isprintable() and character != " " for character in line)
    return line if visible and len(line) <= longest else None


# The first words of CSS's joined names: "lightgoldenrodyellow" is "light goldenrod yellow".
_FIRST_WORD = re.compile(
    "(light|dark|medium|pale|deep|hot|dim|alice|antique|blanched|blue|cadet|cornflower|dodger|"
    "floral|forest|ghost|goldenrod|green|indian|lavender|lawn|lemon|lime|midnight|mint|misty|navajo|"
    "old(?=lace)|olive|orange|papaya|peach|powder|rebecca|rosy|royal|saddle|sandy|sea(?!shell)|sky|"
    "slate|spring|steel|violet|white|yellow)(?=[a-z])"
)
# If a colour has two names, the alphabetically later one is plainer: cyan, magenta, grey.
_NAME_BY_HEX = {
    value: _FIRST_WORD.sub(r"\1 ", name) for name, value in sorted(_HEX_BY_NAME.items())
} | {DARK: "dark mode", LIGHT: "light mode"}


def color_name(color: str) -> str:
    """Return the plain name of a colour ("#RRGGBB" in upper case); "" if it has none."""
    return _NAME_BY_HEX.get(color, "")
