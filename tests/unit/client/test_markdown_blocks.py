"""Markdown that grows: the blocks are the same, however the text comes in pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dripline.cli.terminal.markdown_blocks import Block, BlockSplitter, code_of

# What decides where blocks begin and end, and some text.
LINES = (
    *("word", "two words", "", "", "# head", "===", "---", "#", "- item", "* other", "-", "  - x"),
    *("1. one", "1. again", "7. seven", "2) two", "  more", "    code", "```", "```python", "~~~"),
    *("> quote", "| a | b |", "|---|---|", "a | b", "<div>", "[x]: http://y", "**bold", "![a](b)"),
)
Signature = list[tuple[str, str]]


def said(blocks: list[Block]) -> Signature:
    """What blocks say, without how they are cut: a fence is its lines, a list its items."""
    signature: Signature = []
    for block in blocks:
        for token in block.tokens:
            if token.type == "fence" and block.code:
                lines = token.content.removesuffix("\n").split("\n")[slice(*block.code)]
                signature += [("code", line) for line in lines]
            elif token.level > 0 or token.nesting == 0:
                signature.append((token.type, token.content))
            elif token.type == "ordered_list_open":
                signature.append(("number", str(token.attrs["start"])))
    return signature


def as_one(text: str) -> Signature:
    """What the text says when all of it is read at once."""
    return said(BlockSplitter(text).close())


@given(st.lists(st.sampled_from(LINES), max_size=14), st.data())
def test_any_pieces_give_the_same_blocks(lines: list[str], data: st.DataObject) -> None:
    """Each block comes once, as it stands in the whole text."""
    text = "\n".join(lines)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    splitter, pieces = BlockSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        pieces += splitter.feed(text[start:end])
        splitter.rest()
    assert said(pieces + splitter.close()) == as_one(text)


WHOLE = {
    "html is text": ("<b>x</b>", "<b>x</b>"),
    "a definition is text": ("[x]: http://y", "[x]: http://y"),
    "an entity is no control character": ("a&#13;b&#x202e;c", "a␍b\\u202ec"),
}


@pytest.mark.parametrize(("text", "shown"), WHOLE.values(), ids=WHOLE)
def test_nothing_is_hidden(text: str, shown: str) -> None:
    """What Markdown would leave out is shown."""
    splitter = BlockSplitter()
    splitter.feed(text)
    [block] = splitter.close()
    children = [child.content for token in block.tokens for child in token.children or ()]
    assert "".join(children) == shown


def test_code_of_a_text() -> None:
    """Each fence's, also in a list."""
    assert code_of("```\na\n```\n\n- x\n\n  ~~~py\n  b\n  ~~~") == ["a\n", "b\n"]
