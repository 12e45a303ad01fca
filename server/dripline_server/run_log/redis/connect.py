"""Connects to the Redis in an address: a server, a server with TLS, or one found by Sentinel.

::

    redis://[user:password@]host[:port][/db]      rediss://...    over TLS
    unix://path/to/socket
    redis+sentinel://[user:password@]host[:port][,host[:port]...]/service[/db]
    rediss+sentinel://...                         Sentinel and Redis, both over TLS

Options after `?` are redis-py's, such as `ssl_ca_certs=/path/to/ca.pem`; Sentinel's own login is
`sentinel_username` and `sentinel_password`. Without `ssl_ca_certs`, TLS trusts whom the system
does, and whom `SSL_CERT_FILE` names.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

SENTINEL_PORT = 26379
SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


class Way:
    """A client of Redis's, and what has to be closed with it.

    Attributes:
        client: The client.
    """

    def __init__(self, client: Redis, sentinel: Sentinel | None = None) -> None:
        self.client = client
        self._sentinel = sentinel

    async def close(self) -> None:
        """Close all connections."""
        await self.client.aclose()
        if self._sentinel:
            for one in self._sentinel.sentinels:
                await one.aclose()


def connect(url: str, timeout: float) -> Way:
    """Return the way to Redis; no connection is made yet.

    Args:
        url: The address.
        timeout: Seconds for making a connection.

    Raises:
        ValueError: The address cannot be; the message says why.
    """
    common: dict[str, Any] = {
        # With RESP 3, redis-py 8 does not notice that a connection was closed while it was idle.
        "protocol": 2,
        # The pipe and the mailbox have limits of their own. Sending a command a second time,
        # after a connection broke, could add an entry that is there already. With a limit of
        # its own, redis-py 8 eats cancellations on Python 3.11.
        "socket_timeout": None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError(f"not an address of Redis; they begin with {', '.join(SCHEMES)}://")
    if scheme.endswith("+sentinel"):
        way = _behind_sentinel(url, common, timeout)
    else:
        way = Way(Redis.from_url(url, **common))
    _check(way.client)
    return way


def _check(client: Redis) -> None:
    """Check that these options can make a connection, before one is needed."""
    try:
        connection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            connection.ssl_context.get()
    except TypeError as error:
        option = str(error).rpartition("argument ")[2].strip("'")
        raise ValueError(f"it has an option that is not known: {option}") from error
    except (OSError, ssl.SSLError, RedisError) as error:
        raise ValueError(f"its TLS options cannot be: {error}") from error


def _behind_sentinel(url: str, common: Mapping[str, Any], timeout: float) -> Way:
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("it lacks the service's name: redis+sentinel://HOST:26379/SERVICE/DB")
    if db and not db.isdigit():
        raise ValueError(f"the database should be a number, is {db!r}")
    tls = parts.scheme.startswith("rediss")
    # Redis's own options are read by redis-py, of an address without the sentinels' names.
    plain = f"{'rediss' if tls else 'redis'}://{login and login + '@'}sentinel/{db}?{parts.query}"
    options: dict[str, Any] = {**parse_url(plain), **common}
    for name in ("host", "port", "connection_class"):
        options.pop(name, None)
    # What is for the connection holds for Sentinel too; the login is another one.
    asking = {
        name: value
        for name, value in options.items()
        if name not in ("username", "password", "db", "sentinel_username", "sentinel_password")
    }
    for name in ("username", "password"):
        if value := options.pop(f"sentinel_{name}", None):
            asking[name] = value
    addresses = [_address(host) for host in hosts.split(",")]
    # All Sentinels must be asked within the time for one connection.
    each = timeout / (len(addresses) + 1)
    sentinel = _Sentinel(addresses, sentinel_kwargs={**asking, "ssl": tls}, each=each)
    master = sentinel.master_for(unquote(service), ssl=tls, **options)
    return Way(master, sentinel)


def _address(text: str) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname, found.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError(f"{text!r} is not the HOST:PORT of a Sentinel")
    return host, port or SENTINEL_PORT


class _Sentinel(Sentinel):
    """Asks one Sentinel after the other for the master, none for longer than its part of the time.

    redis-py would wait for a Sentinel that hangs, or use a limit that eats cancellations.
    """

    def __init__(self, addresses: list[tuple[str, int]], *, each: float, **options: Any) -> None:
        super().__init__(addresses, **options)  # type: ignore[no-untyped-call]
        self._each = each

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """See `Sentinel.discover_master`."""
        why = []
        for sentinel in tuple(self.sentinels):
            try:
                async with asyncio.timeout(self._each):
                    masters: Any = await sentinel.sentinel_masters()
            except (RedisError, OSError) as error:
                why.append(str(error) or f"no answer within {self._each:g} s")
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):
                return state["ip"], state["port"]
            why.append(f"no running master of {service_name!r}" if state else "no such service")
        raise MasterNotFoundError(f"Sentinel knows no {service_name!r}: {'; '.join(why)}")
