"""Every code block of the README works as it stands."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.readme import pages, python, shell, systems, wire
from tests.readme.blocks import BLOCKS, README, Block

# What tries the blocks of each kind; it gets a folder of its own.
TRIED_BY: dict[str, Callable[[Block, Path], Awaitable[None]]] = {
    "ini": systems.run_as_service,
    "json": wire.send_request,
    "jsx": pages.use_page,
    "py": python.run_tests,
    "python": python.run_program,
    "redis": systems.set_rights,
    "sh": shell.run_lines,
    "sse": wire.compare_answer,
    "text": wire.cut_in_two,
    "toml": systems.let_in,
}


def test_no_block_is_overlooked() -> None:
    """Whatever fence somebody writes, it is one of a block that is tried."""
    fences = re.findall(r"^[ >*-]*(?:```|~~~)", README, re.MULTILINE)
    assert len(fences) == 2 * len(BLOCKS)
    assert "<pre" not in README


def test_the_parts_to_install_exist() -> None:
    """Also those that are named between blocks."""
    named = re.findall(r"pip install '(.*?)'", README)
    assert len(named) > 5
    shell.check_extras(named)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.kind}-{block.line}")
async def test_a_block_works(block: Block, tmp_path: Path) -> None:
    """If there is nothing for its kind, write it: no block is there only to be looked at."""
    await TRIED_BY[block.kind](block, tmp_path)
