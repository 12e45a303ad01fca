"""What can happen to Redis and to the servers: each fault, and how it is undone."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from tests.faults.site import LEASE, Site
from tests.support.several import One

# Does its harm, and returns once it is undone.
Fault = Callable[[Site, random.Random], Awaitable[None]]


class SiteLost(Exception):
    """Sentinel does not do its part, so that another site has to be made."""


def _client(site: Site) -> Redis:
    return Redis(port=site.redis.port, socket_timeout=5)


def _while(draw: random.Random) -> float:
    """Return for how long a fault lasts: for less than the lease, or for more."""
    return draw.choice([0.1, 0.4, LEASE * 0.6, LEASE * 1.5])


async def restart_from_snapshot(site: Site, draw: random.Random) -> None:
    """Redis crashes, and comes back with what it had saved a while ago."""
    async with _client(site) as client:
        await client.save()
    await asyncio.sleep(draw.choice([0, 0.05, 0.3, 0.8]))
    site.redis.kill()
    await asyncio.sleep(draw.choice([0, 0.1, LEASE * 0.6]))
    site.redis.start()


async def restart_empty(site: Site, draw: random.Random) -> None:
    """Redis crashes, and comes back with nothing."""
    async with _client(site) as client:
        await client.flushall()
        await client.save()
    site.redis.kill()
    await asyncio.sleep(draw.choice([0, 0.3]))
    site.redis.start()


async def flush(site: Site, draw: random.Random) -> None:
    """Somebody says FLUSHALL."""
    async with _client(site) as client:
        await client.flushall()


async def pause(site: Site, draw: random.Random) -> None:
    """Redis takes writes, and answers them later."""
    seconds = _while(draw)
    async with _client(site) as client:
        await client.client_pause(int(seconds * 1000), all=draw.random() < 0.5)
    await asyncio.sleep(seconds)


async def freeze(site: Site, draw: random.Random) -> None:
    """Redis says nothing, with its connections open."""
    site.redis.freeze()
    await asyncio.sleep(_while(draw))
    site.redis.thaw()


async def kill_connections(site: Site, draw: random.Random) -> None:
    """Redis closes every connection."""
    async with _client(site) as client:
        for kind in ("normal", "pubsub"):
            await client.client_kill_filter(_type=kind, skipme=True)


async def forbid(site: Site, draw: random.Random) -> None:
    """An administrator takes rights away, and gives them back."""
    rights = draw.choice(["eval", "xadd", "xrange", "publish", "xrevrange"])
    async with _client(site) as client:
        await client.acl_setuser("default", enabled=True, commands=[f"-{rights}"])
        await asyncio.sleep(_while(draw))
        await client.acl_setuser("default", enabled=True, categories=["+@all"])


async def run_out_of_memory(site: Site, draw: random.Random) -> None:
    """Redis has no memory left, for a while."""
    async with _client(site) as client:
        await client.config_set("maxmemory", 1)
        await asyncio.sleep(_while(draw))
        await client.config_set("maxmemory", 0)


async def read_only(site: Site, draw: random.Random) -> None:
    """Redis is a replica for a while, of a master that is not there."""
    async with _client(site) as client:
        await client.replicaof("127.0.0.1", "1")
        await asyncio.sleep(_while(draw))
        await client.replicaof("NO", "ONE")


async def fail_over(site: Site, draw: random.Random) -> None:
    """The master dies, and its replica, which may lack the newest entries, takes over."""
    assert site.replicated
    old = site.redis
    (new,) = [node for node in site.replicated.nodes if node is not old]
    if draw.random() < 0.5:
        # The replica lags behind.
        async with Redis(port=new.port) as client:
            await client.client_pause(400)
            await asyncio.sleep(0.3)
    old.kill()
    try:
        async with asyncio.timeout(30):
            while site.redis is old:
                await asyncio.sleep(0.05)
        old.start()
        async with Redis(port=old.port) as client:
            await client.replicaof("127.0.0.1", str(new.port))
        await asyncio.to_thread(site.replicated.wait_replica)
    except (RuntimeError, TimeoutError) as error:
        raise SiteLost from error


def _signal(number: signal.Signals) -> Fault:
    async def send(site: Site, draw: random.Random) -> None:
        _pick(site, draw).signal(number)

    send.__name__ = f"server_{number.name.lower()}"
    send.__doc__ = f"A server gets {number.name}."
    return send


async def server_sigstop(site: Site, draw: random.Random) -> None:
    """A server is stopped, and goes on later."""
    server = _pick(site, draw)
    server.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(_while(draw))
    finally:
        server.signal(signal.SIGCONT)


def _pick(site: Site, draw: random.Random) -> One:
    return draw.choice([one for one in site.servers if one.process.returncode is None])


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        restart_from_snapshot,
        restart_empty,
        flush,
        pause,
        freeze,
        kill_connections,
        forbid,
        run_out_of_memory,
        read_only,
        server_sigstop,
        _signal(signal.SIGKILL),
        _signal(signal.SIGTERM),
        _signal(signal.SIGHUP),
    )
}
WITH_SENTINEL: dict[str, Fault] = {"fail_over": fail_over}
