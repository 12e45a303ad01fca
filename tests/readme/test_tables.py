"""The README's tables are the code's."""

from __future__ import annotations

from dataclasses import fields

import pytest

from dripline import ErrorCode
from dripline_server.settings import Settings, default_of, flag_of, variable_of
from tests.readme.blocks import README


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
