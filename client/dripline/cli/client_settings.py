"""What the commands read from the environment; nothing else in the client reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dripline.default_url import DEFAULT_URL


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Where the commands find their server.

    Attributes:
        server: Its address: DRIPLINE_SERVER.
        token: What it asks for: DRIPLINE_TOKEN, "" for nothing. There is no flag for it, because
            every user of a machine can read command lines. It is shown nowhere.
    """

    server: str = DEFAULT_URL
    token: str = field(default="", repr=False)


def load(environment: Mapping[str, str] = os.environ) -> ClientSettings:
    """Return what is set; an empty variable counts as not set."""
    return ClientSettings(
        server=environment.get("DRIPLINE_SERVER") or DEFAULT_URL,
        token=environment.get("DRIPLINE_TOKEN", ""),
    )
