"""What systemd, or whoever else started the server, is told of it: `sd_notify`'s datagrams."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dripline_server.settings import ServiceManagerSettings

logger = logging.getLogger(__name__)


class ServiceManager:
    """Tells how the server is; does nothing where nobody asked for that.

    Args:
        settings: Whom to tell, and how often.
    """

    def __init__(self, settings: ServiceManagerSettings) -> None:
        address = settings.address
        # A leading @ stands for Linux's abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = settings.watchdog

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """Say that the server is ready, and until the context is left that it is alive."""
        self._say("READY=1")
        alive = asyncio.create_task(self._say_alive(), name="watchdog")
        try:
            yield
        finally:
            alive.cancel()
            await asyncio.wait({alive})

    def stopping(self) -> None:
        """Say that the server lets its chats end, and ends."""
        self._say("STOPPING=1")

    async def _say_alive(self) -> None:
        while self._address and self._watchdog:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    def _say(self, state: str) -> None:
        """Send one datagram; a manager that does not listen is no reason not to serve."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), self._address)
            except OSError as error:
                logger.warning("the service manager cannot be told %s: %s", state, error)
