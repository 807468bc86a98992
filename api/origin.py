"""Where a request really comes from, and who shares one limit with whom.

A proxy in front of us speaks for many clients and names them in `X-Forwarded-For`. Anybody can write that
header, so it counts only as far as the `trusted_proxies` vouch for it: read from the right, each entry was
written by the hop after it, and the first address that is no trusted proxy is the client.

Limits are per source: an IPv4 address, or the /64 of an IPv6 address, which is what one customer has. The
loopback has none: who is on this host can stop us in simpler ways, and a proxy there serves everybody.
Addresses are used for this alone. They are neither logged nor stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

_FORWARDED: Final = b"x-forwarded-for"
# Nobody is behind more proxies; a longer list is somebody's game.
_HOPS_AT_MOST: Final = 16
_CUSTOMER_PREFIX: Final = 64


class Proxies:
    """The networks whose `X-Forwarded-For` is believed."""

    def __init__(self, networks: Sequence[Network] = ()) -> None:
        self._networks = tuple(networks)

    def trust(self, host: str) -> bool:
        address = _address(host) if self._networks else None
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The client's address: the peer's, or what trusted proxies say of whom they speak for."""
        if not self.trust(peer):
            return peer
        said = b",".join(value for name, value in headers if name.lower() == _FORWARDED)
        client = peer
        for hop in reversed(said.decode("latin1").split(",")[-_HOPS_AT_MOST:]):
            address = _address(_without_port(hop.strip()))
            if address is None:  # "unknown", or nonsense: what stands left of it is nobody's word
                break
            client = str(address)
            if not self.trust(client):
                break
        return client


def without_forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers without the one that has been judged, so that nobody behind us takes it at its word."""
    return [(name, value) for name, value in headers if name.lower() != _FORWARDED]


def source(host: str) -> str | None:
    """Whose share a client at `host` uses; None when it has no limit."""
    address = _address(host)
    if address is None or address.is_loopback:
        return None
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _CUSTOMER_PREFIX), strict=False))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket for both families shows IPv4 clients in IPv6 clothes.
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
