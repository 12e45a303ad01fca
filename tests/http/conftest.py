"""What tests over HTTP share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.npm_clients import NpmClients


@pytest.fixture(scope="session")
def npm_clients() -> Iterator[NpmClients]:
    """The npm clients, in one process for all tests."""
    with NpmClients() as clients:
        yield clients
