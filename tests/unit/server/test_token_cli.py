"""`dripline-server token`: what it prints, and what it says of bad input."""

from __future__ import annotations

from pathlib import Path

import pytest

from dripline_server.callers import Caller
from dripline_server.cli import main
from dripline_server.token_file import add, hash_of, read


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DRIPLINE_TOKENS", raising=False)
    return tmp_path / "tokens.toml"


WAYS = {
    "after": ("token", "{}", "--tokens", "{file}"),
    "before": ("--tokens", "{file}", "token", "{}"),
    "variable": ("token", "{}"),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_add_list_and_remove(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: tuple[str, ...],
) -> None:
    """The token alone goes to standard output, once; wherever the file is named."""
    if way == WAYS["variable"]:
        monkeypatch.setenv("DRIPLINE_TOKENS", str(file))

    def run(*words: str) -> tuple[str, str]:
        whole = [
            word for part in way for word in (words if part == "{}" else [part.format(file=file)])
        ]
        assert main(whole) == 0
        return capsys.readouterr()

    token, said = run("add", "alice")
    assert said == "Give it to alice. It is not shown again.\n"
    limits = ("--max-runs", "2", "--models", "qwen3:*, llama3.2", "--allow-model-changes")
    other, _ = run("add", "ci", *limits)
    assert read(file) == {
        hash_of(token.strip().encode()): Caller("alice", None, (), False),
        hash_of(other.strip().encode()): Caller("ci", 2, ("qwen3:*", "llama3.2"), True),
    }
    listed, _ = run("list")
    assert listed.splitlines() == [
        "NAME   MAX RUNS  MODELS            MODEL CHANGES",
        "alice            all",
        "ci     2         qwen3:*,llama3.2  yes",
    ]
    for name in ("alice", "ci"):
        assert run("remove", name) == (f"Removed {name}.\n", "")
    assert run("list") == ("", f"{file} has no tokens.\n")


BAD = {
    "no command": ([], "required: COMMAND"),
    "another command": (["make", "x"], "invalid choice: 'make'"),
    "no name": (["add"], "required: NAME"),
    "no file": (["add", "x"], "name the file of tokens with --tokens or DRIPLINE_TOKENS"),
    "a blank": (["add", "a b", "--tokens", "{file}"], "token add: a name has 1 to 64 letters"),
    "a name that is there": (["add", "ann", "--tokens", "{file}"], "ann has a token already"),
    "a name that is not": (["remove", "x", "--tokens", "{file}"], "has no token named 'x'"),
    "no runs": (["add", "x", "--max-runs", "0", "--tokens", "{file}"], "--max-runs: '0': must be"),
    "runs": (["add", "x", "--max-runs", "many", "--tokens", "{file}"], "--max-runs: 'many'"),
    "no models": (["add", "x", "--models", " ,", "--tokens", "{file}"], "--models: ' ,': name at"),
    "a missing file": (["list", "--tokens", "{file}.x"], "cannot be read: No such file"),
    "a missing folder": (["add", "x", "--tokens", "{file}/x"], "Not a directory"),
    "a limit of remove": (["remove", "ann", "--max-runs", "1"], "--max-runs"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_input(
    file: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """A sentence that names what is wrong, nothing on standard output, and no change."""
    add(file, Caller("ann"))
    text = file.read_text()
    try:
        code = main(["token", *(word.format(file=file) for word in words)])
    except SystemExit as left:
        code = int(left.code or 0)
    said = capsys.readouterr()
    assert code in (1, 2)
    assert message in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_a_broken_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, line and field are named by every command."""
    file.write_text("[ann]\nsha256 = 'x'\n")
    for words in (["token", "add", "x"], ["token", "list"], ["token", "remove", "ann"]):
        with pytest.raises(SystemExit, match="2"):
            main([*words, "--tokens", str(file)])
        assert f"{file}: line 2: ann.sha256: should be" in capsys.readouterr().err


def test_flags_for_serving(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused, so that nobody takes `--max-runs` before the command for a token's."""
    with pytest.raises(SystemExit, match="2"):
        main(["--max-runs", "1", "token", "add", "x", "--tokens", str(file)])
    assert "--max-runs: is for serving" in capsys.readouterr().err
    assert not file.exists()
