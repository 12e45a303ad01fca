"""The fuzzer's targets on what it begins with, on what it has found, and on drawn values."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import TARGETS, any_value_at_any_field, seeds, whatever_ollama_says

# What was found, by target: it holds now.
FOUND: dict[str, list[bytes]] = {}


@pytest.mark.parametrize("name", TARGETS)
def test_known_inputs(name: str) -> None:
    """What the fuzzer begins with, and what it has found, holds."""
    for data in (*seeds(name), *FOUND.get(name, ())):
        TARGETS[name](data)


test_whatever_ollama_says = whatever_ollama_says
test_any_value_at_any_field = any_value_at_any_field
