"""Notifies the service manager, such as systemd, with `sd_notify` datagrams."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dripline_server.settings import ServiceManagerSettings

logger = logging.getLogger(__name__)


class ServiceManager:
    """Reports the server's state; does nothing without a service manager.

    Args:
        settings: The manager's socket, and its watchdog time.
    """

    def __init__(self, settings: ServiceManagerSettings) -> None:
        address = settings.address
        # A leading @ stands for Linux's abstract namespace.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog = settings.watchdog

    @asynccontextmanager
    async def notified(self) -> AsyncIterator[None]:
        """Report that the server is ready, then that it is alive until the context is left."""
        self._say("READY=1")
        alive = asyncio.create_task(self._say_alive(), name="watchdog")
        try:
            yield
        finally:
            alive.cancel()
            await asyncio.wait({alive})

    def stopping(self) -> None:
        """Report that the server is shutting down."""
        self._say("STOPPING=1")

    async def _say_alive(self) -> None:
        while self._address and self._watchdog:
            self._say("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)

    def _say(self, state: str) -> None:
        """Send one datagram; keep serving even if the manager does not listen."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), self._address)
            except OSError as error:
                logger.warning("cannot send %s to the service manager: %s", state, error)
