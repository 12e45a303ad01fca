"""What the test kit reads from the environment, and sets in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping


def in_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a machine runs the tests by itself: services that do so set CI."""
    return bool(environment.get("CI"))


def ollama_origins(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the pages that OLLAMA_ORIGINS lets ask."""
    return [one for one in environment.get("OLLAMA_ORIGINS", "").split(",") if one]


# The packages ask for a key, which a fake or a replay does not look at. One that is set is kept:
# recording against the real server needs it.
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class ClientEnvironment:
    """Sets the variables by which AI clients find their server, until `restore` is called.

    Args:
        url: The server's address.
        environment: Where to set them.
    """

    def __init__(self, url: str, environment: MutableMapping[str, str] = os.environ) -> None:
        values = {
            "OLLAMA_HOST": url,
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_BASE_URL": url,
            **{key: "dripline" for key in _KEYS if not environment.get(key)},
        }
        self._environment = environment
        self._before = {name: environment.get(name) for name in values}
        environment.update(values)

    def restore(self) -> None:
        """Set the variables as they were."""
        for name, value in self._before.items():
            if value is None:
                self._environment.pop(name, None)
            else:
                self._environment[name] = value
