"""What all logs of a process may hold together."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """What all logs of a process may hold together.

    Args:
        limit: Bytes.
        make_room: Called when the logs are beyond it: lets go of what is least needed.
    """

    def __init__(self, limit: int, make_room: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self.used = 0
        self.make_room = make_room

    @property
    def exceeded(self) -> bool:
        """Whether the logs are beyond the limit, after making what room there is."""
        if self.used > self.limit:
            self.make_room()
        return self.used > self.limit
