"""The examples of docs/test-kit.md are tests, and pass as they stand."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest

from dripline.recordings.recording import Recording
from dripline.testing import FakeOllama, Script
from tests.support.foreign_project import runs_tests
from tests.support.programs import ROOT
from tests.support.recorded import FOLDER

pytest_plugins = ["pytester"]

PAGE = (ROOT / "docs/test-kit.md").read_text()
EXAMPLES = re.findall(r"^```py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It passes; the one that records, against a server at its address."""
    run = runs_tests(pytester, monkeypatch)
    folder = pytester.path / "recordings"
    shutil.copytree(FOLDER, folder)
    cut, whole = (Recording.load(FOLDER / f"ollama-{name}.jsonl") for name in ("cut", "plain"))
    cut.followed_by(whole).save(folder / "cut-then-whole.jsonl")
    async with FakeOllama({"m": Script("It is sunny.")}) as real:
        code = EXAMPLES[number].replace("http://127.0.0.1:11434", real.url)
        result = await asyncio.to_thread(run, code)
    assert set(result.parseoutcomes()) == {"passed"}, result.stdout.str()


def test_the_page_says_what_there_is() -> None:
    """Every check, mode and match is in its tables."""
    from dripline import testing
    from dripline.recordings.matching import MATCHES

    checks = {name for name in testing.__all__ if name.startswith("assert_")}
    for name in checks - {"assert_same_events"}:
        assert f"| `{name}(" in PAGE
    for word in (*MATCHES, "once", "none", "new", "all"):
        assert re.search(rf'^\| `"?{word}"?`', PAGE, re.MULTILINE), word
