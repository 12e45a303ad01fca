"""What stands around the server: its Redis user's rights, its systemd unit, its users' tokens."""

from __future__ import annotations

import asyncio
import socket
from configparser import ConfigParser
from pathlib import Path

from redis.asyncio import Redis

from dripline_server import Settings, create_app, token_file
from dripline_server.run_log.memory import Budget
from dripline_server.run_log.redis import RedisRunLogs
from tests.readme.blocks import Block
from tests.support.processes import command
from tests.support.redis_server import redis_server


async def set_rights(block: Block, _: Path) -> None:
    """Redis takes the line, and with these rights the server has all that it needs."""
    with redis_server() as redis:
        async with Redis.from_url(redis.url) as client:
            await client.execute_command(*block.text.split())  # type: ignore[no-untyped-call]
        url = redis.url.replace("//", "//dripline:PASSWORD@")
        logs = RedisRunLogs(url, 10_000, Budget(10_000), keep_time=60, lease_time=5)
        try:
            await logs.check()
        finally:
            await logs.close()


async def let_in(block: Block, folder: Path) -> None:
    """A server takes the file of tokens, and every field of it sets something."""
    path = folder / "tokens.toml"
    path.write_text(block.text)
    create_app(Settings(tokens=str(path)))
    (caller,) = token_file.read(path).values()
    assert caller.max_runs
    assert caller.models
    assert caller.allow_model_changes


async def run_as_service(block: Block, folder: Path) -> None:
    """What the unit starts tells the service manager of itself what its type says."""
    unit = ConfigParser()
    unit.read_string(block.text)
    service = unit["Service"]
    assert service["Type"] == "notify"
    address = str(folder / "notify")
    environment = {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": f"{service['WatchdogSec']}000000",
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        name = Path(service["ExecStart"]).name
        async with command(name, "--port", "0", environment=environment):
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(manager, 100) == b"READY=1"
            assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
