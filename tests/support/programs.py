"""Programs that are not Python packages: found, or the test is skipped and says what to install."""

from __future__ import annotations

import os
import shutil

import pytest

# The name of a program -> the names it may have, and the Debian package that has it.
PROGRAMS = {
    "node": (("node", "nodejs"), "nodejs"),
    "chromium": (("chromium", "chromium-browser", "google-chrome"), "chromium"),
    "redis-server": (("redis-server",), "redis-server"),
    "nginx": (("nginx",), "nginx-light"),
}


def require_program(name: str) -> str:
    """Return the path of a program.

    Where it is missing the test is skipped, or fails if the environment has DRIPLINE_REQUIRE=all.
    """
    names, package = PROGRAMS[name]
    for candidate in names:
        if path := shutil.which(candidate):
            return path
    reason = f"{name} is not installed (Debian's package {package})"
    if os.environ.get("DRIPLINE_REQUIRE") == "all":
        pytest.fail(reason)
    pytest.skip(reason)
