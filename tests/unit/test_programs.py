"""What a test does where a program is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.programs import PROGRAMS, require_npm_packages, require_program


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_program_skips_and_names_its_package(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DRIPLINE_REQUIRE", raising=False)
    _, package = PROGRAMS[name]
    with pytest.raises(pytest.skip.Exception, match=f"Debian's package {package}"):
        require_program(name)


def test_where_all_is_required_a_missing_program_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that must run everything cannot skip by accident."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DRIPLINE_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="node is not installed"):
        require_program("node")


def test_any_of_its_names_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chromium is found as google-chrome too."""
    program = tmp_path / "google-chrome"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert require_program("chromium") == str(program)


def test_missing_npm_packages_skip_or_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason says which, and what installs them."""
    monkeypatch.delenv("DRIPLINE_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"npm packages of docs .*make test"):
        require_npm_packages("docs")
    monkeypatch.setenv("DRIPLINE_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="npm packages of docs"):
        require_npm_packages("docs")
