"""What `--help` says: it fits a terminal, explains each option, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dripline.cli.main import main
from dripline_server.cli import main as server_main
from tests.readme import shell
from tests.readme.blocks import Block

COMMANDS = [
    "dripline",
    *(f"dripline {name}" for name in ("ask", "chat", "models", "pull", "rm", "ps")),
    *(f"dripline {name}" for name in ("record", "replay", "show")),
    "dripline fake-ollama",
    "dripline-server",
    "dripline-server fake-ollama",
    "dripline-server token",
    *(f"dripline-server token {name}" for name in ("add", "list", "remove")),
]


@pytest.fixture(params=COMMANDS)
def said(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """The help of a command on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    program, *arguments = request.param.split()
    with pytest.raises(SystemExit, match="0"):
        (server_main if program == "dripline-server" else main)([*arguments, "--help"])
    return capsys.readouterr().out


def test_it_fits(said: str) -> None:
    """No line is broken by the terminal."""
    assert [line for line in said.splitlines() if len(line) > 80] == []


def test_each_option_is_explained(said: str) -> None:
    """Beside it, or on the next line."""
    options = re.findall(r"^  (-.*?)(?:  +|\n {20,})(\S.*)$", said, re.MULTILINE)
    assert len(options) == len(re.findall(r"^  -", said, re.MULTILINE))


async def test_its_examples_work(said: str, tmp_path: Path) -> None:
    """They stand at the end of the page, or before the exit codes."""
    (examples,) = re.findall(r"^examples:\n((?:  .*\n)+)", said, re.MULTILINE)
    await shell.run_lines(Block("sh", examples, 0), tmp_path)
