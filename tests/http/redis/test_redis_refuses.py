"""Redis answers, and refuses: each refusal is told as what it is."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from dripline.testing import Pace, Script
from dripline_server.run_log import RunLogUnavailable
from dripline_server.run_log.memory import Budget
from dripline_server.run_log.redis import RedisRunLogs
from tests.support.redis_server import RedisServer, redis_server
from tests.support.several import several

README = Path(__file__).parents[3] / "README.md"
LONG = Script([f"{n} " for n in range(600)], pace=Pace(tokens_per_second=50))
MODELS = {"told": Script(["Once", " upon"]), "long": LONG}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


async def no_scripts(client: Redis) -> None:
    await client.acl_setuser("default", enabled=True, commands=["-eval"])


async def no_streams(client: Redis) -> None:
    await client.acl_setuser("default", enabled=True, commands=["-xadd"])


async def no_memory(client: Redis) -> None:
    await client.config_set("maxmemory", 1)


async def replica(client: Redis) -> None:
    await client.replicaof("127.0.0.1", "1")


async def other_password(client: Redis) -> None:
    await client.config_set("requirepass", "sekret")
    await client.client_kill_filter(_type="normal", skipme=True)


REFUSALS: list[tuple[Callable[[Redis], Awaitable[None]], str, str]] = [
    (no_scripts, "NOPERM", "denies this server a right that it needs"),
    (no_streams, "NOPERM", "denies this server a right that it needs"),
    (no_memory, "OOM", "is out of memory"),
    (replica, "READONLY", "read-only"),
    (other_password, "NOAUTH", "rejects this server's user name or password"),
]


@pytest.mark.parametrize(("refuse", "code", "message"), REFUSALS)
async def test_a_refusal(
    redis: RedisServer,
    refuse: Callable[[Redis], Awaitable[None]],
    code: str,
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """`/health`, the answer to a request and the log say the kind; the log says it once."""
    async with several(MODELS, redis, 1, lease_time=2) as s, Redis.from_url(redis.url) as client:
        (a,) = s.servers
        assert await s.wait_health(a, "connected") == 200
        running = await s.chat(a, model="long")
        await running.read(until=5)
        await refuse(client)
        assert await s.wait_health(a, "refused") == 503
        async with s.http.get(f"{a.url}/health") as response:
            said = (await response.json())["message"]
        assert message in said
        assert code in said
        for _ in range(3):
            refused = await s.chat(a, model="told")
            assert refused.response.status == 503
            error = (await refused.response.json())["error"]
            assert error["code"] == "run_log_lost"
            assert message in error["message"]
        if refuse is not no_scripts:  # which a run that goes on does not need
            await running.read()
            assert running.ending == ("failed", "run_log_lost")
            assert message in running.messages[-2].data
    logged = [line for line in capfd.readouterr().err.splitlines() if " ERROR " in line]
    words = [line for line in logged if code in line]
    assert words
    # Once for each command that is refused, and not for each time.
    assert len(words) == len({re.sub(r"^.* ERROR ", "", line) for line in words})


async def test_a_redis_that_is_loading() -> None:
    """It is told as that, and all is well again by itself."""
    with redis_server(
        "--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024"
    ) as redis:
        async with Redis.from_url(redis.url) as client:
            for first in range(0, 2000, 500):
                await client.mset({f"key:{n}": "x" * 100 for n in range(first, first + 500)})
            await client.save()
        async with several(MODELS, redis, 1, lease_time=2) as s:
            (a,) = s.servers
            assert await s.wait_health(a, "connected") == 200
            redis.kill()
            starting = asyncio.create_task(asyncio.to_thread(redis.start))
            while "LOADING" not in (said := await _message(s.http, a.url)):
                assert not starting.done(), said
            assert "still loading its data" in said
            await starting
            assert await s.wait_health(a, "connected") == 200


async def _message(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(f"{url}/health") as response:
        return str((await response.json()).get("message", ""))


def least_rights() -> list[str]:
    """Return the rights that the README names, with a password for whoever has them."""
    found = re.search(r"ACL SETUSER dripline (.+)", README.read_text())
    assert found
    return found[1].replace("PASSWORD", "sekret").split()


async def acl(client: Redis, *rights: str) -> None:
    """Set what the user "dripline" may do."""
    await client.execute_command("ACL", "SETUSER", "dripline", *rights)  # type: ignore[no-untyped-call]


@asynccontextmanager
async def logs_of(url: str) -> AsyncIterator[RedisRunLogs]:
    logs = RedisRunLogs(url, 10_000, Budget(10_000), keep_time=60, lease_time=2)
    try:
        yield logs
    finally:
        await logs.close()


async def test_the_least_rights_are_enough(redis: RedisServer) -> None:
    """With what the README names, chats work as with all rights."""
    async with Redis.from_url(redis.url) as client:
        await acl(client, *least_rights())
        url = redis.url.replace("//", "//dripline:sekret@")
        async with several(MODELS, redis, url=url, lease_time=2) as s:
            a, b = s.servers
            for server in s.servers:
                assert await s.wait_health(server, "connected") == 200
            first = await s.chat(a, model="long")
            there = await s.attach(b, first.run_id)
            await there.read(until=5)
            await client.flushall()
            await there.read(until=30)
            assert await s.stop(b, first.run_id) == 202
            whole = await first.read()
            assert first.ending == ("cancelled", "")
            assert await there.read() == whole
        log: Any = await client.acl_log()
        assert [entry["object"] for entry in log if "setinfo" not in str(entry["object"])] == []


async def test_none_of_the_least_rights_is_too_much(redis: RedisServer) -> None:
    """Without any of them, `/health` is not well, and names the command."""
    rights = least_rights()
    async with Redis.from_url(redis.url) as client:
        for right in [right for right in rights if right.startswith("+")]:
            await acl(client, "reset", *rights)
            await acl(client, f"-{right[1:]}")
            async with logs_of(redis.url.replace("//", "//dripline:sekret@")) as logs:
                with pytest.raises(RunLogUnavailable) as caught:
                    while True:  # the mailbox may not have asked yet
                        await logs.check()
                        await asyncio.sleep(0.02)
            assert caught.value.refused
            if right != "+rename":  # which scripts alone do
                assert right[1:] in str(caught.value)
