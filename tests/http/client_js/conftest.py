"""The package, packed and installed once, and one process that chats with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client_js import ClientJs, install, pack


@pytest.fixture(scope="session")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make npm-pack` makes."""
    return pack(tmp_path_factory.mktemp("packed"))


@pytest.fixture(scope="session")
def project(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has nothing but the package."""
    return install(tarball, tmp_path_factory.mktemp("js") / "project")


@pytest.fixture(scope="module")
def client_js(project: Path) -> Iterator[ClientJs]:
    with ClientJs(project) as client:
        yield client
