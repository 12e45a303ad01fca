"""The file of `--tokens`: a TOML table for each name, which an admin can edit.

::

    [alice]
    sha256 = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
    max_runs = 2
    models = ["llama3.2", "qwen3:*"]
    allow_model_changes = true

Only `sha256` is required. An unknown field is an error, so that a misspelt limit is not overlooked.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
import tomllib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from dripline_server.callers import Caller

MAX_BYTES = 1024 * 1024
# Names stand in logs and in metrics: they have no blanks, quotes or control characters.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
# Seconds that a command waits for another one that changes the file.
PATIENCE = 10.0

_HEADING = """\
# Who may use this dripline server: a table for each name, with the hash of its token.
# `dripline-server token add NAME` adds one. The server reads this file again when it changes.
# Limits are optional: max_runs = 2, models = ["llama3.2", "qwen3:*"], allow_model_changes = true
"""


class BadTokenFile(ValueError):
    """The file cannot be used; the message names the file, and the line and field if known."""


def new_token() -> str:
    """Return a token that nobody can guess: 160 random bits, in letters and digits alone."""
    return f"dripline_{secrets.token_hex(20)}"


def hash_of(token: bytes) -> str:
    """Return the hash under which a token is kept.

    A fast hash is right here. Slow ones, such as scrypt, protect passwords that people choose,
    because these can be guessed. Nobody can try 2^160 tokens, however fast; and a slow hash would
    let strangers keep the server busy with wrong tokens.
    """
    return sha256(token).hexdigest()


def check_name(name: str) -> str:
    """Return the name.

    Raises:
        ValueError: It cannot be the name of a token.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "a name has 1 to 64 letters (a-z), digits, and . _ @ -; it starts with a letter or"
            " a digit"
        )
    return name


def read(path: Path) -> dict[str, Caller]:
    """Return the callers in the file, each by the hash of its token.

    Raises:
        BadTokenFile: The file cannot be read or used.
    """
    return parse(content(path), path)


def content(path: Path) -> str:
    """Return the file's text.

    Raises:
        BadTokenFile: It cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadTokenFile(f"{path}: is not a file")  # reading a pipe could wait for ever
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadTokenFile(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise BadTokenFile(f"{path}: is larger than {MAX_BYTES:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadTokenFile(f"{path}: line {line}: is not UTF-8") from error


def parse(text: str, path: Path) -> dict[str, Caller]:
    """Return the callers in the text of a file, each by the hash of its token.

    Raises:
        BadTokenFile: The text is not TOML, or a name or a field is wrong.
    """
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # tomllib says which line; also for a name that is there twice.
        raise BadTokenFile(f"{path}: is not valid TOML: {error}") from error
    found: dict[str, Caller] = {}
    for name, table in tables.items():
        try:
            token, caller = _caller(name, table)
            if token in found:
                raise _BadField("sha256", f"is the same as that of {found[token].name}")
        except _BadField as error:
            field = f"{name}.{error.field}" if error.field else repr(name)
            line = _line_of(text, name, error.field)
            raise BadTokenFile(f"{path}: {line}{field}: {error.why}") from error
        found[token] = caller
    return found


def add(path: Path, caller: Caller) -> str:
    """Add a caller to the file, which is created if it is missing, and return the new token.

    Raises:
        BadTokenFile: The file cannot be used, or the name has a token already.
        OSError: The file cannot be written.
    """
    token = new_token()
    fields: dict[str, Any] = {"sha256": hash_of(token.encode())}
    if caller.max_runs is not None:
        fields["max_runs"] = caller.max_runs
    if caller.models:
        fields["models"] = list(caller.models)
    if caller.allow_model_changes:
        fields["allow_model_changes"] = True

    def change(tables: dict[str, Any]) -> None:
        if caller.name in tables:
            raise BadTokenFile(f"{path}: {caller.name} has a token already; remove that one first")
        tables[caller.name] = fields

    _change(path, change, create=True)
    return token


def remove(path: Path, name: str) -> None:
    """Remove a name from the file.

    Raises:
        BadTokenFile: The file cannot be used, or does not have the name.
        OSError: The file cannot be written.
    """

    def change(tables: dict[str, Any]) -> None:
        if name not in tables:
            raise BadTokenFile(f"{path}: has no token named {name!r}")
        del tables[name]

    _change(path, change)


def _change(path: Path, change: Callable[[dict[str, Any]], None], *, create: bool = False) -> None:
    """Change the file in one step; comments stay as they are.

    The new text is written to a file beside it, which then takes its place, as Git does it. That
    file is the lock as well: only one process can create it, on every system and file system.
    """
    import tomlkit  # only here: the server itself never writes the file

    target = path.resolve()  # a symbolic link stays one
    lock = target.with_name(f"{target.name}.lock")
    descriptor = _create(lock)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123
            is_new = create and not path.exists()
            text = _HEADING if is_new else content(path)
            parse(text, path)
            document = tomlkit.parse(text)
            change(document)
            changed = tomlkit.dumps(document)
            parse(changed, path)  # so that nothing is written that the server could not read
            file.write(changed)
            file.flush()
            os.fsync(descriptor)
            if not is_new:
                _keep_owner(descriptor, target)
        lock.replace(target)
    except BaseException:
        lock.unlink(missing_ok=True)
        raise


def _create(lock: Path) -> int:
    """Create the file that is also the lock, readable by its owner alone; wait for its turn."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if time.monotonic() > until:
                raise BadTokenFile(
                    f"{lock}: another command changes the tokens, or was killed while it did;"
                    " delete this file if none is running"
                ) from None
            time.sleep(0.02)
        except FileNotFoundError as error:
            raise BadTokenFile(f"{lock.parent}: there is no such folder") from error


def _keep_owner(descriptor: int, path: Path) -> None:
    """Give a new file the owner and mode of the old one, which the server's user can read."""
    old, new = path.stat(), os.fstat(descriptor)
    if hasattr(os, "fchown"):  # not on Windows
        if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
            os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


class _BadField(ValueError):
    """A field is wrong; or the name, if `field` is empty."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(field, why)
        self.field = field
        self.why = why


def _caller(name: str, table: object) -> tuple[str, Caller]:
    """Return the hash of a token, and its caller."""
    try:
        check_name(name)
    except ValueError as error:
        raise _BadField("", str(error)) from error
    if not isinstance(table, dict):
        raise _BadField("", f"should be a table: [{name}]")
    for field, value in table.items():
        if isinstance(value, dict):
            why = f'is no field; a name with a dot needs quotes: ["{name}.{field}"]'
            raise _BadField(field, why)
        if field not in _CHECKS:
            raise _BadField(field, f"is no field; there are {', '.join(_CHECKS)}")
        if why := _CHECKS[field](value):
            raise _BadField(field, why)
    if "sha256" not in table:
        raise _BadField("sha256", "is missing; `dripline-server token add` makes one")
    return table["sha256"], Caller(
        name,
        table.get("max_runs"),
        tuple(table.get("models", ())),
        table.get("allow_model_changes", False),
    )


# Each returns what is wrong with a value; "" if nothing is.


def _wrong_hash(value: object) -> str:
    # The value is not shown: it may be the token itself.
    good = isinstance(value, str) and _HASH.fullmatch(value)
    return "" if good else "should be the token's SHA-256 hash, 64 digits 0-9 and a-f"


def _wrong_count(value: object) -> str:
    good = type(value) is int and value >= 1
    return "" if good else f"should be a whole number, 1 or more, is {_shown(value)}"


def _wrong_models(value: object) -> str:
    good = isinstance(value, list) and value and all(isinstance(m, str) and m for m in value)
    example = 'should be a list of names, such as ["llama3.2", "qwen3:*"]'
    return "" if good else f"{example}, is {_shown(value)}"


def _wrong_switch(value: object) -> str:
    return "" if isinstance(value, bool) else f"should be true or false, is {_shown(value)}"


def _shown(value: object) -> str:
    return repr(value)[:100]


_CHECKS: Mapping[str, Callable[[object], str]] = {
    "sha256": _wrong_hash,
    "max_runs": _wrong_count,
    "models": _wrong_models,
    "allow_model_changes": _wrong_switch,
}


def _line_of(text: str, name: str, field: str) -> str:
    """Return where a field of a table stands, or else the table: "line 3: "; "" if nowhere."""
    table = re.compile(rf"""\s*\[?\s*["']?{re.escape(name)}["']?\s*[].=]""")
    entry = re.compile(rf"""\s*["']?{re.escape(field)}["']?\s*=""")
    found = 0
    for number, line in enumerate(text.split("\n"), 1):
        if table.match(line):
            found = number
        elif found and line.lstrip().startswith("["):
            break
        elif found and field and entry.match(line):
            return f"line {number}: "
    return f"line {found}: " if found else ""
