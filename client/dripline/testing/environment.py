"""What the test kit reads from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping


def in_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a machine runs the tests by itself: services that do so set CI."""
    return bool(environment.get("CI"))


def ollama_origins(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the pages that OLLAMA_ORIGINS lets ask."""
    return [one for one in environment.get("OLLAMA_ORIGINS", "").split(",") if one]
