"""The settings that the commands read from the environment. The library reads none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dripline.default_url import DEFAULT_URL


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where the commands find their server.

    Attributes:
        server: The server's address, from DRIPLINE_SERVER.
        token: The server's token, from DRIPLINE_TOKEN; "" if unset. There is no flag for it,
            because every user of a machine can read command lines. It never appears in output.
    """

    server: str = DEFAULT_URL
    token: str = field(default="", repr=False)


def load(environment: Mapping[str, str] = os.environ) -> ClientSettings:
    """Return the settings; an empty variable counts as unset."""
    return ClientSettings(
        server=environment.get("DRIPLINE_SERVER") or DEFAULT_URL,
        token=environment.get("DRIPLINE_TOKEN", ""),
    )
