"""Ollama's names of models: several name the same one."""

from __future__ import annotations

_DEFAULT_PARTS = ("https://", "http://", "registry.ollama.ai/", "library/")


def canonical(name: str) -> str:
    """Return the one name that all of a model's names share: "demo:latest" of "library/DEMO"."""
    name = name.strip().lower()
    for part in _DEFAULT_PARTS:
        name = name.removeprefix(part)
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def is_remote(name: str) -> bool:
    """Whether the name says that ollama.com runs the model, so that no memory here holds it."""
    return canonical(name).endswith((":cloud", "-cloud"))
