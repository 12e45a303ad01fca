"""The environment variables that the test kit reads and sets."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping


def in_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the tests run in continuous integration; such services set CI."""
    return bool(environment.get("CI"))


def ollama_origins(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the origins in OLLAMA_ORIGINS, whose pages may use the server."""
    return [one for one in environment.get("OLLAMA_ORIGINS", "").split(",") if one]


# The clients need a key, although fakes and replays ignore it. An existing key is kept, because
# recording against the real server needs it.
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")


class ClientEnvironment:
    """Sets the variables with which AI clients find their server, until `restore` is called.

    Args:
        url: The server's address.
        environment: The mapping to change.
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
        """Restore the original values of the variables."""
        for name, value in self._before.items():
            if value is None:
                self._environment.pop(name, None)
            else:
                self._environment[name] = value
