"""The examples of docs/agents.md are programs, and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.readme.blocks import Block
from tests.readme.python import run_program
from tests.support.programs import ROOT

PAGE = (ROOT / "docs/agents.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example(number: int, tmp_path: Path) -> None:
    """It runs as it stands."""
    await run_program(Block("python", EXAMPLES[number], 0), tmp_path)
