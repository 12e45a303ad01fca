"""Reads the client's address and host from the `X-Forwarded-...` headers of trusted proxies.

Anybody can send these headers, so they count only from the addresses in `--trusted-proxies`.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

# The client's address, stored in the request for the access log.
REMOTE = web.RequestKey("REMOTE", str)

_Address = IPv4Address | IPv6Address


class Proxies:
    """The trusted proxies.

    Args:
        networks: Their addresses or networks; "unix" for those on a Unix domain socket.
    """

    def __init__(self, networks: Collection[str]) -> None:
        self._unix = "unix" in networks
        self._networks = [ip_network(network) for network in networks if network != "unix"]

    def remote_of(self, request: web.BaseRequest) -> str:
        """Return the client's address: the nearest one that is not a trusted proxy."""
        nearest = request.remote or ""
        if not self._trusts(nearest):
            return nearest
        sent = ",".join(request.headers.getall("X-Forwarded-For", ()))
        for hop in reversed([part.strip() for part in sent.split(",") if part.strip()]):
            address = _address(hop)
            if address is None:
                break
            nearest = str(address)
            if not self._is_in(address):
                break
        return nearest

    def hosts_of(self, request: web.BaseRequest) -> list[str]:
        """Return the requested host as the browser shows it, once for each header that names it."""
        forwarded = request.headers.getall("X-Forwarded-Host", ())
        if forwarded and self._trusts(request.remote or ""):
            return [forwarded[-1].rpartition(",")[2].strip()]
        return list(request.headers.getall("Host", ()))

    def _trusts(self, remote: str) -> bool:
        address = _address(remote)
        return self._unix if address is None else self._is_in(address)

    def _is_in(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> _Address | None:
    """Parse an address as proxies write it: bare, or with a port."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    # A socket for IPv4 and IPv6 reports ::ffff:10.0.0.1.
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address
