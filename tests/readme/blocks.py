"""The README's code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.programs import ROOT

README = (ROOT / "README.md").read_text()
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block.

    Attributes:
        kind: What stands after its fence; "" where nothing does.
        text: What is between its fences.
        line: Where it begins, from 1.
    """

    kind: str
    text: str
    line: int


def _blocks(markdown: str) -> list[Block]:
    return [
        Block(found[1], found[2], markdown.count("\n", 0, found.start()) + 1)
        for found in _FENCED.finditer(markdown)
    ]


BLOCKS = _blocks(README)


def only(kind: str) -> Block:
    """Return the one block of a kind."""
    (block,) = (block for block in BLOCKS if block.kind == kind)
    return block
