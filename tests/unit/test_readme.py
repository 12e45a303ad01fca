"""The README says what is true: its tables are the code's, and its code runs."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from dripline import ErrorCode
from dripline_server.fake_ollama import Script
from dripline_server.settings import Settings, default_of, flag_of, variable_of
from tests.support.processes import run_python
from tests.support.stack import stack

README = (Path(__file__).parents[2] / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def section(name: str) -> str:
    """The generated part of the README between its two markers."""
    return README.split(f"<!-- {name} -->\n")[1].split(f"<!-- /{name} -->")[0]


def options_table() -> str:
    rows = ["| flag | variable | default | meaning |", "|---|---|---|---|"]
    for option in fields(Settings):
        flag = flag_of(option)
        default = f"`{text}`" if (text := default_of(option)) else ""
        rows.append(
            f"| {f'`{flag}`' if flag else ''} | `{variable_of(option)}` | {default} "
            f"| {option.metadata['meaning']} |"
        )
    return "\n".join(rows) + "\n"


def codes_table() -> str:
    rows = ["| code | meaning | worth a retry |", "|---|---|---|"]
    rows += [
        f"| `{code}` | {code.meaning} | {'yes' if code.retryable else ''} |" for code in ErrorCode
    ]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(("name", "expected"), [("options", options_table), ("codes", codes_table)])
def test_the_tables_are_the_code(name: str, expected: object) -> None:
    """If this fails, put the expected table into the README."""
    assert callable(expected)
    assert section(name) == expected()


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=lambda block: block.splitlines()[0])
async def test_the_python_runs(block: str) -> None:
    """Each block runs as it stands, against a server where it asks for one."""
    mistral = Script(
        lambda request: '{"name": "Zurich", "people": 443000}' if request.format else "Blue.",
        capabilities=["completion", "tools"],
    )
    async with stack({"mistral": mistral}) as s:
        code, out, err = await run_python(block.replace("http://127.0.0.1:8000", s.url))
    assert code == 0, err
    assert err == ""
    for expected in re.findall(r"print\(.*?\)  # (.*)", block):
        assert expected.split(":")[0] in out
