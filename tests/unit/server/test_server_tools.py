"""`--tools`: which functions of a module are tools, and what is wrong with a module."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dripline_server import BadTool
from dripline_server.tools.server_tools import load_tools


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which modules are found."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return tmp_path


def test_a_modules_public_functions_are_its_tools(modules: Path) -> None:
    """Not what it imports, nor what begins with an underscore; `__all__` says otherwise."""
    (modules / "tools_one.py").write_text(
        "from os.path import join\n"
        "from dripline_server import Tool\n"
        "def a(x: int) -> int:\n    'Return x.'\n    return x\n"
        "def _b(x: int) -> int:\n    'Return x.'\n    return x\n"
        "def _slow() -> None:\n    'Wait.'\n"
        "slow = Tool(_slow, timeout=5)\n"
    )
    (modules / "tools_two.py").write_text(
        "__all__ = ['c']\n"
        "def c() -> None:\n    'Do nothing.'\n"
        "def d() -> None:\n    'Do nothing.'\n"
    )
    tools = load_tools("tools_one, tools_two")
    assert [tool.name for tool in tools] == ["a", "_slow", "c"]
    assert tools[1].timeout == 5
    assert load_tools("") == []


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "tools_bad cannot be imported: ModuleNotFoundError: "),
        ("1 +", "tools_bad cannot be imported: SyntaxError: "),
        ("raise SystemError('no')", "tools_bad cannot be imported: SystemError: no"),
        ("import os", "tools_bad has no public function"),
        ("def f(x): 'Return x.'", "f: the parameter 'x' has no type hint"),
    ],
)
def test_a_bad_module_is_named(modules: Path, code: str | None, words: str) -> None:
    """With what is wrong."""
    if code is not None:
        (modules / "tools_bad.py").write_text(code)
    sys.modules.pop("tools_bad", None)
    with pytest.raises(BadTool, match=words):
        load_tools("tools_bad")
