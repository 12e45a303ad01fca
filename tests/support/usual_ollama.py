"""Ollama's usual address, for what depends on nothing being there."""

from __future__ import annotations

import socket

import pytest
from yarl import URL

from dripline_server import settings
from dripline_server.settings import DEFAULT_OLLAMA_URL
from tests.support.free_port import free_port


def move_usual_ollama(monkeypatch: pytest.MonkeyPatch) -> str:
    """Have another address be the usual one, at which nothing listens; return it."""
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setattr(settings, "DEFAULT_OLLAMA_URL", url)
    return url


def skip_if_ollama_runs() -> None:
    """Skip a test of a process of its own, which looks for Ollama where it usually is."""
    usual = URL(DEFAULT_OLLAMA_URL)
    with socket.socket() as probe:
        if probe.connect_ex((str(usual.host), usual.port or 0)) == 0:
            pytest.skip(f"an Ollama runs at {usual}")
