"""The file of named tokens: what it may say, and how it is changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from dripline_server import token_file
from dripline_server.callers import Caller
from dripline_server.token_file import BadTokenFile, hash_of, read

HASH = "a" * 64
OTHER_HASH = "b" * 64


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.toml"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


CALLERS = [
    Caller("alice", allow_model_changes=False),
    Caller("ci.build-2", 3, ("llama3.2", "qwen3:*"), allow_model_changes=True),
    Caller("bob@example.com", max_runs=1, allow_model_changes=False),
]


def test_what_is_added_is_read(path: Path) -> None:
    """Each token leads to its name and limits; what was removed leads nowhere."""
    tokens = {caller.name: token_file.add(path, caller) for caller in CALLERS}
    hashes = {name: hash_of(token.encode()) for name, token in tokens.items()}
    assert read(path) == {hashes[caller.name]: caller for caller in CALLERS}
    token_file.remove(path, "ci.build-2")
    assert set(read(path)) == {hashes["alice"], hashes["bob@example.com"]}
    token_file.remove(path, "alice")
    token_file.remove(path, "bob@example.com")
    assert read(path) == {}


def test_a_token_cannot_be_guessed_and_is_not_kept(path: Path) -> None:
    """It has 160 random bits; the file has its hash alone, and only its owner can read that."""
    tokens = [token_file.add(path, Caller(f"n{number}")) for number in range(20)]
    parts = [token.removeprefix("dripline_") for token in tokens]
    assert len({*parts}) == 20
    assert {len(bytes.fromhex(part)) * 8 for part in parts} == {160}
    text = path.read_text()
    assert not any(part in text for part in parts)
    assert sha256(tokens[0].encode()).hexdigest() in text
    assert mode_of(path) == 0o600


EDITED = {
    "comments": f"# Ours.\n[ann] # who pays\nsha256 = '{HASH}' # hers\n# the last line",
    "no line feed at the end": f"[ann]\nsha256 = '{HASH}'",
    "CRLF": f"[ann]\r\nsha256 = '{HASH}'\r\n",
    "a byte order mark": f"\ufeff[ann]\nsha256 = '{HASH}'\n",
    "inline tables": f"ann = {{sha256 = '{HASH}'}}\n",
    "dotted keys": f"ann.sha256 = '{HASH}'\nann.max_runs = 2\n",
    "quoted": f'["ann"]\n"sha256" = "{HASH}"\n\n\n',
    "lists of several lines": f"[ann]\nmodels = [\n 'a',\n # not b\n 'c',\n]\nsha256 = '{HASH}'\n",
    "nothing": "",
    "blank lines": "\n \n\t\n",
}


@pytest.mark.parametrize("text", EDITED.values(), ids=EDITED)
def test_what_an_admin_wrote_stays(path: Path, text: str) -> None:
    """After a token is added, and after it is removed: names, limits, comments and the mode."""
    path.write_text(text, newline="")
    path.chmod(0o640)
    before = read(path)
    token = token_file.add(path, Caller("new", max_runs=7))
    assert read(path) == before | {hash_of(token.encode()): Caller("new", 7, (), False)}
    token_file.remove(path, "new")
    assert read(path) == before
    for comment in (line for line in text.splitlines() if "#" in line):
        assert comment[comment.index("#") :] in path.read_text()
    assert mode_of(path) == 0o640


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    """The file that it leads to is changed."""
    real = tmp_path / "real.toml"
    path.symlink_to(real)
    token_file.add(path, Caller("alice"))
    token_file.add(path, Caller("bob"))
    assert path.is_symlink()
    assert len(read(real)) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["real.toml", "tokens.toml"]


def test_all_at_once_lose_nothing(path: Path) -> None:
    """Whoever changes the file waits for the others."""
    token_file.add(path, Caller("first"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: token_file.add(path, Caller(f"n{n}")), range(24)))
        list(pool.map(lambda n: token_file.remove(path, f"n{n}"), range(0, 24, 2)))
    names = {caller.name for caller in read(path).values()}
    assert names == {"first", *(f"n{n}" for n in range(1, 24, 2))}


def test_a_command_that_was_killed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it left is named, and the file is as it was."""
    monkeypatch.setattr(token_file, "PATIENCE", 0.05)
    token_file.add(path, Caller("alice"))
    text = path.read_text()
    left = path.with_name("tokens.toml.lock")
    left.touch()
    with pytest.raises(BadTokenFile, match=r"tokens\.toml\.lock: .*delete this file"):
        token_file.add(path, Caller("bob"))
    assert path.read_text() == text
    left.unlink()
    token_file.add(path, Caller("bob"))


def test_a_disk_that_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is as it was, and nothing is left beside it."""
    token_file.add(path, Caller("alice"))
    text = path.read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        token_file.add(path, Caller("bob"))
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


GOOD = f"[ann]\nsha256 = '{HASH}'\n"
BAD = {
    "no TOML": ("[ann]\nsha256 = abc\n", "is not valid TOML: .*line 2"),
    "twice": (f"{GOOD}[bob]\nsha256 = '{OTHER_HASH}'\n{GOOD}", "is not valid TOML: .*ann.*line 5"),
    "too deep": ("a = " + "[" * 100_000, "is not valid TOML"),
    "no table": ("ann = 'x'\n", "line 1: 'ann': should be a table"),
    "a field at the top": (f"max_runs = 2\n{GOOD}", "line 1: 'max_runs': should be a table"),
    "no hash": ("[ann]\nmax_runs = 1\n", "line 1: ann.sha256: is missing"),
    "a short hash": ("\n[ann]\nsha256 = 'abc'\n", "line 3: ann.sha256: should be .*64"),
    "a hash in capitals": (f"[ann]\nsha256 = '{'A' * 64}'\n", "line 2: ann.sha256: should be"),
    "a number for a hash": ("[ann]\nsha256 = 5\n", "line 2: ann.sha256: should be"),
    "one hash of two": (f"{GOOD}[bob]\nsha256 = '{HASH}'\n", "line 4: bob.sha256: .*that of ann"),
    "an unknown field": (f"{GOOD}max_run = 1\n", "line 3: ann.max_run: is no field; .*max_runs"),
    "no runs": (f"{GOOD}max_runs = 0\n", "line 3: ann.max_runs: .*1 or more, is 0"),
    "true runs": (f"{GOOD}max_runs = true\n", "line 3: ann.max_runs: .*is True"),
    "runs in words": (f"{GOOD}max_runs = 'two'\n", "line 3: ann.max_runs: .*is 'two'"),
    "half a run": (f"{GOOD}max_runs = 1.5\n", "line 3: ann.max_runs"),
    "one model": (f"{GOOD}models = 'a'\n", r"line 3: ann.models: .*\[.*is 'a'"),
    "no models": (f"{GOOD}models = []\n", r"line 3: ann.models: .*is \[\]"),
    "an empty model": (f"{GOOD}models = ['']\n", "line 3: ann.models"),
    "a model's number": (f"{GOOD}models = [7]\n", "line 3: ann.models"),
    "a switch": (f"{GOOD}allow_model_changes = 1\n", "line 3: ann.allow_model_changes: .*is 1"),
    "a switch in words": (f"{GOOD}allow_model_changes = 'no'\n", "line 3: ann.allow.*is 'no'"),
    "a dot without quotes": (f"[ann.b]\nsha256 = '{HASH}'\n", r'ann.b: .*quotes: \["ann.b"\]'),
    "a blank in the name": (f"['a b']\nsha256 = '{HASH}'\n", "line 1: 'a b': a name has"),
    "inline": ("\nann = {sha256 = 3}\n", "line 2: ann.sha256"),
}


@pytest.mark.parametrize(("text", "words"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named(path: Path, text: str, words: str) -> None:
    """With its line and field, whoever reads it; and no command changes it."""
    path.write_text(text)
    for use in (read, lambda file: token_file.add(file, Caller("new"))):
        with pytest.raises(BadTokenFile, match=f"^{path}: (?s:.)*{words}"):
            use(path)
    assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_a_token_in_place_of_its_hash_is_not_shown(path: Path) -> None:
    """An admin may paste it there by mistake, and errors go to logs."""
    token = token_file.new_token()
    path.write_text(f"[ann]\nsha256 = '{token}'\n")
    with pytest.raises(BadTokenFile) as raised:
        read(path)
    assert token not in str(raised.value)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (str, "cannot be read: No such file"),
    "a folder": (lambda path: path.mkdir(), "is not a file"),
    "a pipe": (os.mkfifo, "is not a file"),
    "too large": (lambda path: path.write_bytes(b"#" * 1024 * 1024 + b"\n"), "is larger than"),
    "not UTF-8": (lambda path: path.write_bytes(b"# \n# \xff\n"), "line 2: is not UTF-8"),
}


@pytest.mark.parametrize(("make", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read(path: Path, make: Callable[[Path], object], words: str) -> None:
    """The message says why, at once; and names cannot be removed from it."""
    make(path)
    with pytest.raises(BadTokenFile, match=f"^{path}: {words}"):
        read(path)
    with pytest.raises(BadTokenFile, match=f"^{path}: {words}"):
        token_file.remove(path, "ann")


def test_a_folder_that_is_missing(path: Path) -> None:
    """It is named; the file itself would have been created."""
    with pytest.raises(BadTokenFile, match=f"^{path}: there is no such folder"):
        token_file.add(path / "tokens.toml", Caller("ann"))


@pytest.mark.parametrize("name", ["", " ", "-x", ".x", "a b", 'a"', "a=b", "a\n", "ä", "x" * 65])
def test_names_that_do_not_fit_a_log(name: str) -> None:
    """They are refused."""
    with pytest.raises(ValueError, match="a name has 1 to 64 letters"):
        token_file.check_name(name)


def test_a_name_that_is_there_or_is_not(path: Path) -> None:
    """Adding the one and removing the other change nothing; the message says why."""
    token_file.add(path, Caller("alice"))
    text = path.read_text()
    with pytest.raises(BadTokenFile, match="alice has a token already"):
        token_file.add(path, Caller("alice"))
    with pytest.raises(BadTokenFile, match="has no token named 'bob'"):
        token_file.remove(path, "bob")
    assert path.read_text() == text
