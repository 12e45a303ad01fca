"""The TCP servers of the tests leave nothing open, or a later test would be told so."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable

import pytest

from tests.support.browser import Relay
from tests.support.cutting_proxy import CuttingProxy
from tests.support.scripted_server import ScriptedServer, answer
from tests.support.tcp_server import ACCEPT_TURNS, TcpServer

SERVERS: dict[str, Callable[[str], TcpServer]] = {
    "proxy": CuttingProxy,
    "relay": Relay,
    "scripted": lambda _: ScriptedServer(answer(200)),
}


@pytest.mark.parametrize("make", SERVERS.values(), ids=SERVERS)
@pytest.mark.parametrize("turns", range(ACCEPT_TURNS + 3))
def test_nothing_is_left(make: Callable[[str], TcpServer], turns: int) -> None:
    """However far a connection has come when its server is closed, it is reset."""
    client = asyncio.run(_leave(make, turns))
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    gc.collect()  # a connection that was left is a warning now, which fails


async def _leave(make: Callable[[str], TcpServer], turns: int) -> socket.socket:
    """Connect; close the server so many turns of the event loop later, and return the client."""
    async with TcpServer(_stay_silent) as target, make(target.url) as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        for _ in range(turns):
            await asyncio.sleep(0)
    return client


async def _stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
