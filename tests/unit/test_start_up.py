"""What starts fast imports little: held by what is in `sys.modules`, not by a clock."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What takes long to import.
SLOW = (
    *("aiohttp", "asyncio", "ssl", "pydantic", "ollama", "httpx", "prometheus_client", "yarl"),
    *("prompt_toolkit", "rich", "markdown_it", "matplotlib", "jsonschema", "redis", "uvloop"),
)

COMMANDS = {
    "dripline": "dripline.cli.main",
    "dripline-server": "dripline_server.start_cli",
}


def imported(code: str) -> set[str]:
    """Return the slow packages that a program has imported at its end."""
    program = f"{code}\nimport sys\nprint('IMPORTED', *sorted({set(SLOW)!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.rpartition("IMPORTED")[2].split())


@pytest.mark.parametrize(
    ("code", "needed"),
    [
        ("import dripline, dripline.testing, dripline_server", ""),
        ("from dripline import EventDecoder, TextMessage, ToolError, RunFailed", ""),
        ("from dripline.testing import SplitPlan", ""),
        ("from dripline_server import ToolError, BadTool, Tool", ""),
        ("from dripline import ChatClient; ChatClient()", "aiohttp asyncio ssl yarl"),
        (
            "from dripline_server import create_app",
            "aiohttp asyncio ssl yarl pydantic prometheus_client ollama httpx",
        ),
    ],
)
def test_what_a_name_needs(code: str, needed: str) -> None:
    """Whoever imports a name waits for what that needs, and for no more."""
    assert imported(code) <= set(needed.split())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_a_command_that_only_speaks_of_itself(command: str, words: list[str]) -> None:
    """It is there at once: what it could do is not imported."""
    allowed = {"asyncio", "ssl", "yarl"} if command == "dripline-server" else set()
    code = (
        f"import sys\nfrom {COMMANDS[command]} import main\nsys.argv = ['x', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    assert imported(code) <= allowed


@pytest.mark.parametrize(
    "words", [["ask", "--help"], ["chat", "--help"], ["record", "--help"], ["replay", "--help"]]
)
def test_the_help_of_a_command(words: list[str]) -> None:
    """As fast as that of them all."""
    code = (
        f"import sys\nfrom dripline.cli.main import main\nsys.argv = ['x', *{words!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0"
    )
    assert imported(code) == set()
