"""Ollama's model names: one model has several."""

from __future__ import annotations

_DEFAULT_PARTS = ("https://", "http://", "registry.ollama.ai/", "library/")


def canonical(name: str) -> str:
    """Return the canonical form of a model's name: "demo:latest" for "library/DEMO"."""
    name = name.strip().lower()
    for part in _DEFAULT_PARTS:
        name = name.removeprefix(part)
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def is_remote(name: str) -> bool:
    """Whether the name means a model that ollama.com runs, so that no local memory holds it."""
    return canonical(name).endswith((":cloud", "-cloud"))
