"""The ways to Redis: over TLS, behind Sentinel, Valkey in its place; and what is refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool

from dripline.testing import Pace, Script
from dripline_server.run_log.redis.connect import connect
from tests.support.free_port import free_port
from tests.support.processes import command, line, run
from tests.support.programs import require_program, require_valkey
from tests.support.redis_server import RedisServer, redis_server, replicated
from tests.support.several import several

WORDS = [f"{n} " for n in range(300)]
MODELS = {
    "told": Script(["Once", " upon"]),
    "long": Script(WORDS, pace=Pace(tokens_per_second=100)),
}


async def test_a_failover_in_mid_answer() -> None:
    """The answer goes on at both servers: none of it is lost, though the replica lacks some."""
    with replicated() as redis:
        old, new = redis.nodes
        async with several(MODELS, old, url=redis.url, lease_time=20) as s:
            a, b = s.servers
            first = await s.chat(a, model="long")
            there = await s.attach(b, first.run_id)
            await there.read(until=20)
            async with Redis.from_url(new.url) as client:
                await client.client_pause(600)  # which stops what comes from the master too
                await there.read(until=40)
            old.kill()
            whole = await first.read()
            assert first.ending == ("completed", "")
            assert len(whole) == len(WORDS) + 2
            assert await there.read() == whole
            assert redis.master() is new
            for server in s.servers:
                assert await (await s.attach(server, first.run_id)).read() == whole


@contextmanager
def redis_over_tls(folder: Path) -> Iterator[RedisServer]:
    """Run a Redis that speaks TLS alone, with a certificate of a private authority."""
    openssl = require_program("openssl")
    new = ("req", "-newkey", "rsa:2048", "-nodes", "-subj")
    signed = ("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for arguments in (
        (*new, "/CN=private", "-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"),
        (*new, "/CN=localhost", "-keyout", "server.key", "-out", "server.csr"),
        (*signed, "-days", "2", "-CAcreateserial", "-extfile", "names", "-out", "server.pem"),
    ):
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    options = [word for name, file in files.items() for word in (f"--tls-{name}-file", file)]
    options[1::2] = [str(folder / file) for file in files.values()]
    with redis_server("--tls-auth-clients", "no", *options, tls=True) as redis:
        yield redis


async def test_tls_with_a_private_authority(tmp_path: Path) -> None:
    """It is trusted where the address or SSL_CERT_FILE names it, and nowhere else."""
    with redis_over_tls(tmp_path) as redis:
        authority = tmp_path / "ca.pem"
        url = f"rediss://localhost:{redis.port}"
        trusting = f"{url}?ssl_ca_certs={authority}"
        async with several(MODELS, redis, url=trusting, lease_time=2) as s:
            a, b = s.servers
            first = await s.chat(a, model="told")
            whole = await first.read()
            assert first.ending == ("completed", "")
            assert await (await s.attach(b, first.run_id)).read() == whole
        for environment, health in (({"SSL_CERT_FILE": str(authority)}, 200), ({}, 503)):
            flags = ("--port=0", "--ollama=http://127.0.0.1:1", f"--run-log={url}")
            async with (
                command("dripline-server", *flags, environment=environment) as process,
                aiohttp.ClientSession() as http,
            ):
                address = (await line(process)).removeprefix("dripline is at ")
                async with http.get(f"{address}/health") as response:
                    said = (await response.json())["run_log"]
                assert said == ("connected" if health == 200 else "disconnected")


async def test_valkey() -> None:
    """It does all that Redis does, and what it lost is written again."""
    with redis_server(program=require_valkey()) as valkey:
        async with several(MODELS, valkey, lease_time=2) as s, Redis.from_url(valkey.url) as client:
            a, b = s.servers
            first = await s.chat(a, model="long")
            there = await s.attach(b, first.run_id)
            await there.read(until=20)
            await client.save()
            await there.read(until=60)
            valkey.kill()
            valkey.start()
            whole = await first.read()
            assert first.ending == ("completed", "")
            assert await there.read() == whole
            assert await (await s.attach(b, first.run_id)).read() == whole


async def test_a_cluster_is_refused() -> None:
    """Three real nodes: requests and `/health` say in one sentence that it is a cluster."""
    sentence = "Redis Cluster, which dripline does not work with"
    async with AsyncExitStack() as stack:
        buses = [str(free_port()) for _ in range(3)]
        nodes = [
            stack.enter_context(redis_server("--cluster-enabled", "yes", "--cluster-port", bus))
            for bus in buses
        ]
        clients = [await stack.enter_async_context(Redis.from_url(one.url)) for one in nodes]
        for number, client in enumerate(clients):
            slots = [str(slot) for slot in (number * 5462, min(number * 5462 + 5461, 16383))]
            await asked(client, "CLUSTER", "ADDSLOTSRANGE", *slots)
            await asked(client, "CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port), buses[0])
        for client in clients:
            while b"cluster_state:ok" not in await asked(client, "CLUSTER", "INFO"):
                pass
        for node in nodes:
            async with several(MODELS, node, 1, lease_time=2) as s:
                (a,) = s.servers
                assert await s.wait_health(a, "refused") == 503
                async with s.http.get(f"{a.url}/health") as response:
                    assert sentence in (await response.json())["message"]
                refused = await s.chat(a, model="told")
                assert refused.response.status == 503
                assert sentence in (await refused.response.json())["error"]["message"]


async def asked(client: Redis, *words: str) -> bytes:
    """Return Redis's reply as it came."""
    client.response_callbacks.clear()
    reply = await client.execute_command(*words)  # type: ignore[no-untyped-call]
    return bytes(reply)


REFUSED = [
    ("http://localhost", "not an address of Redis"),
    ("redis://localhost/0?colour=green", "colour"),
    ("redis://localhost/0?db=many", "db"),
    ("rediss://localhost?ssl_ca_certs=/no/such/file", "No such file"),
    ("redis+sentinel://localhost:26379", "lacks the service's name"),
    ("redis+sentinel://localhost:26379/name/many", "should be a number"),
    ("redis+sentinel://:99999999/name", "HOST:PORT"),
    ("redis+sentinel://a,,b/name", "HOST:PORT"),
]


@pytest.mark.parametrize(("url", "why"), REFUSED)
async def test_an_address_that_cannot_be(url: str, why: str) -> None:
    """The message says what is wrong with it, before a server listens."""
    with pytest.raises(ValueError, match=re.escape(why)):
        connect(url, 1)
    if url.startswith("redis"):
        code, _, err = await run("dripline-server", "--port=0", f"--run-log={url}")
        assert code == 2
        assert "--run-log" in err
        assert why in err


async def test_what_a_sentinel_address_stands_for() -> None:
    """Several Sentinels, two logins, a service and a database."""
    url = "redis+sentinel://user:p%40ss@one:1,two/main/3?sentinel_password=word&sentinel_username=u"
    way = connect(url, 1)
    pool = way.client.connection_pool
    options = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("user", "p@ss", 3)
    assert isinstance(pool, SentinelConnectionPool)
    found = [one.connection_pool.connection_kwargs for one in pool.sentinel_manager.sentinels]
    assert [(one["host"], one["port"]) for one in found] == [("one", 1), ("two", 26379)]
    assert {(one["username"], one["password"]) for one in found} == {("u", "word")}
    await way.close()
