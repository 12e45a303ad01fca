"""Programs, and test files for pytest."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dripline.testing import Script
from tests.readme.blocks import Block
from tests.support.processes import run
from tests.support.programs import ROOT
from tests.support.stack import at, stack

# What the README's tests test.
MY_PROGRAM = """
import ollama
from dripline import EventDecoder


def my_code(url):
    with ollama.Client(url) as client:
        for _ in client.chat("mistral", [{"role": "user", "content": "Hi"}], stream=True):
            pass


def my_parser(chunks):
    decoder = EventDecoder()
    return [event.data for chunk in chunks for event in decoder.feed(chunk)]
"""
SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
pythonpath = .
filterwarnings = error
"""


async def run_program(block: Block, folder: Path) -> None:
    """Run it against a server where it asks for one; it prints what its comments say."""
    mistral = Script(
        lambda request: '{"name": "Zurich", "people": 443000}' if request.format else "Blue.",
        capabilities=["completion", "tools"],
    )
    async with stack({"mistral": mistral}) as s:
        program = at(s, block.text)
        code, out, err = await run("python", "-c", program, folder=folder)
    assert (code, err) == (0, ""), err
    for expected in re.findall(r"print\(.*?\)  # (.*)", block.text):
        assert expected.split(":")[0] in out


async def run_tests(block: Block, folder: Path) -> None:
    """Have pytest run it, in a project that has what it tests; all tests of it pass."""
    (folder / "my_program.py").write_text(MY_PROGRAM)
    (folder / "pytest.ini").write_text(SETTINGS)
    (folder / "test_readme.py").write_text(block.text)
    shutil.copytree(ROOT / "tests/recordings", folder / "recordings")
    code, out, _ = await run("python", "-m", "pytest", "-p", "no:cacheprovider", folder=folder)
    assert code == 0, out
    assert " passed" in out
    assert "skipped" not in out
