"""Ollama's model names: one model has several."""

from __future__ import annotations

from fnmatch import fnmatchcase

_DEFAULT_PARTS = ("https://", "http://", "registry.ollama.ai/", "library/")


def canonical(name: str) -> str:
    """Return the canonical form of a model's name: "demo:latest" for "library/DEMO"."""
    name = _short(name)
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _short(name: str) -> str:
    """Return the name without the parts that Ollama assumes."""
    name = name.strip().lower()
    for part in _DEFAULT_PARTS:
        name = name.removeprefix(part)
    return name


def is_remote(name: str) -> bool:
    """Whether the name means a model that ollama.com runs, so that no local memory holds it."""
    return canonical(name).endswith((":cloud", "-cloud"))


def means(pattern: str, name: str) -> bool:
    """Whether a pattern such as "qwen3:*" or "hf.co/*" means the model; `*` is any text.

    A pattern without `*` means one model, by any of its names. "qwen3" is "qwen3:latest", as with
    Ollama, and "qwen3*" is every model whose name begins so.
    """
    if "*" not in pattern:
        return canonical(pattern) == canonical(name)
    return fnmatchcase(canonical(name), _short(pattern))
