"""Split growing Markdown into finished blocks and the rest, which may still change.

CommonMark decides a block's end line by line, so a block is finished for good once a whole line has
begun the next one. An item of a list is a block here, and so is each line of fenced code: long
lists and long code are finished bit by bit. HTML, reference definitions and images are shown as the
text that they are, so that nothing of an answer is hidden and no block depends on a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

from dripline.visible import visible

_PARSER = (
    MarkdownIt("commonmark", {"html": False, "breaks": True})
    .enable(["strikethrough", "table"])
    .disable(["reference", "image"])
)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the document that can be drawn on its own.

    Attributes:
        tokens: markdown-it's tokens of it.
        line: The line of the pending text that it begins at.
        joined: Whether it follows the one before without an empty line.
        code: Which lines of a fence's code it has, from and to; None where it is no fence.
    """

    tokens: Sequence[Token]
    line: int
    joined: bool = False
    code: tuple[int, int] | None = None


class BlockSplitter:
    """Accepts text in pieces, and returns each finished block once.

    Args:
        text: What the document begins with.
    """

    def __init__(self, text: str = "") -> None:
        self._pending = text
        # How much of the first pending block was returned: lines of a fence, or items of a list.
        self._code_lines = 0
        self._list: Token | None = None

    def feed(self, text: str) -> list[Block]:
        """Add text, and return the blocks that it finishes."""
        self._pending += text
        # An incomplete line can still become any kind of block.
        whole = self._pending[: self._pending.rfind("\n") + 1]
        blocks = self._parse(whole)
        if not blocks:
            return []
        *finished, last = blocks
        if finished:
            self._pending = "\n".join(self._pending.split("\n")[last.line :])
            self._code_lines = 0
            self._list = last.tokens[0] if last.joined and not last.code else None
        if last.code and last.code[1] > last.code[0]:
            finished.append(last)
            self._code_lines = last.code[1]
        return finished

    def rest(self) -> list[Block]:
        """Return the unfinished rest in its current form."""
        return self._parse(self._pending)

    def close(self) -> list[Block]:
        """End the document, and return the blocks that were not finished."""
        rest = self.rest()
        self._pending, self._code_lines, self._list = "", 0, None
        return rest

    def _parse(self, source: str) -> list[Block]:
        blocks: list[Block] = []
        for group in _top_level(_PARSER.parse(source)):
            first = group[0]
            if first.type.endswith("_list_open"):
                blocks += _items(group, None if blocks else self._list)
            elif first.type == "fence":
                done = 0 if blocks else self._code_lines
                code = (done, max(done, _count_lines(first.content)))
                blocks.append(Block(group, _line(first), joined=done > 0, code=code))
            else:
                blocks.append(Block(group, _line(first)))
        return blocks


def _top_level(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Yield the tokens of each block, without control characters."""
    group: list[Token] = []
    for token in tokens:
        for child in token.children or ():
            # Parsing has turned entities such as &#13; into control characters.
            child.content = visible(child.content)
            child.attrs = {name: visible(str(value)) for name, value in child.attrs.items()}
        group.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield group
            group = []


def _items(group: list[Token], continued: Token | None) -> Iterator[Block]:
    """Yield each item of a list as a separate list, with continuous numbers."""
    opening, closing = group[0], group[-1]
    if continued is not None and continued.type == opening.type:
        opening = continued
    number = int(opening.attrs.get("start", 1))
    item: list[Token] = []
    count = 0
    for token in group[1:-1]:
        item.append(token)
        if token.type == "list_item_close" and token.level == 1:
            start = replace(opening, attrs={"start": number + count})
            joined = count > 0 or continued is not None
            yield Block([start, *item, closing], _line(item[0]), joined=joined)
            item = []
            count += 1


def _count_lines(code: str) -> int:
    return code.removesuffix("\n").count("\n") + 1 if code else 0


def _line(token: Token) -> int:
    return token.map[0] if token.map else 0


def code_of(text: str) -> list[str]:
    """Return the code of each fence in a text."""
    return [token.content for token in _PARSER.parse(text) if token.type == "fence"]
