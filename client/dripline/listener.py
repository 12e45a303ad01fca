"""Where a server of the test kit listens, from its start to its close."""

from __future__ import annotations

from aiohttp import web
from yarl import URL

CLOSE_SECONDS = 1.0  # for a request that comes in at the very moment of closing


class Listener:
    """Has an aiohttp server listen on one address.

    Args:
        name: What listens, for messages: "the replay server".
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one, and keeps it.
    """

    def __init__(self, name: str, host: str, port: int) -> None:
        self._name = name
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, such as "http://127.0.0.1:43127".

        Raises:
            RuntimeError: Nothing listens.
        """
        if self._runner is None:
            raise RuntimeError(f"{self._name} is not running; use it with `async with`")
        return str(URL.build(scheme="http", host=self._host, port=self._port)).rstrip("/")

    async def start(self, server: web.Server) -> None:
        """Listen.

        Raises:
            OSError: The address cannot be had, for example because the port is taken.
            RuntimeError: It listens already.
        """
        if self._runner is not None:
            raise RuntimeError(f"{self._name} is running already")
        runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def stop(self) -> web.ServerRunner | None:
        """Take no more connections.

        Returns what still has those that there are, for its owner to clean up once they are closed;
        None where nothing has listened.
        """
        runner, self._runner = self._runner, None
        for site in list(runner.sites) if runner else ():
            await site.stop()
        return runner
