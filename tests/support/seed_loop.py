r"""The loop that most front ends have: each network chunk is taken for whole lines.

Written from its description, as JavaScript's `decoder.decode(value).split("\\n")` behaves: each
chunk is decoded on its own, broken characters become U+FFFD, and what does not parse throws.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def seed_loop(chunks: Iterable[bytes]) -> list[Any]:
    """Return the messages that the loop gets; raises ValueError where its JSON.parse throws."""
    messages = []
    for chunk in chunks:
        for line in chunk.decode("utf-8", "replace").split("\n"):
            if line.startswith("data: "):
                messages.append(json.loads(line[6:]))  # noqa: PERF401 - the loop as it is written
    return messages
