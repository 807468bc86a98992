"""Which addresses the clients get: a /24 that hides nothing this host can reach.

Who calls it: `exit.py`. A pool that overlaps a route would cut the host off from that network, so every
route and address of every table counts as taken; only default routes (which overlap everything) and what
belongs to the tunnel itself do not. The choice is the first free one of a fixed order, so the same host
gets the same pool; it should still be remembered once clients have addresses of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from appliance.errors import InUseError
from appliance.net import links, routes

# 10.101.0.0/24 is the usual first pool; further on, what few others choose comes first.
_BLOCKS: Final = tuple(
    IPv4Network(text)
    for text in ("10.101.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
_POOL_PREFIX: Final = 24
_BLOCK_V6_PREFIX: Final = 8
_HOST_V6_PREFIX: Final = 128


_ROUTED: Final = "it must be routed to this host and used for nothing else"


@dataclass(frozen=True)
class Taken:
    """A network that the host uses, and how to name it to a person."""

    network: IPv4Network
    what: str


def taken_networks(interface: str) -> list[Taken]:
    """What the host uses, apart from default routes and what belongs to `interface`."""
    names = {link.index: link.name for link in links.read_links()}
    found: dict[IPv4Network, str] = {}
    # Addresses first: of the several routes that one address brings, the shortest prefix names it best.
    for one in links.read_addresses():
        if isinstance(one.address, IPv4Address) and names.get(one.index) != interface:
            where = names.get(one.index, "?")
            found.setdefault(IPv4Network(one.address), f"the address {one.address} of {where}")
    for route in sorted(routes.read_routes(4), key=lambda route: route.network.prefixlen):
        name = names.get(route.index)
        if name == interface or not isinstance(route.network, IPv4Network):
            continue
        where = f" dev {name}" if name is not None else ""
        if not route.is_default:
            found.setdefault(route.network, f"the route {route.network}{where}")
        if isinstance(route.gateway, IPv4Address):
            found.setdefault(IPv4Network(route.gateway), f"the gateway {route.gateway}{where}")
    return sorted(
        (Taken(network, what) for network, what in found.items()),
        key=lambda taken: (taken.network.prefixlen, taken.network),
    )


def check_pool(pool: IPv4Network, taken: Iterable[Taken]) -> None:
    """InUseError when the pool overlaps something of the host's."""
    for one in taken:
        if pool.overlaps(one.network):
            raise InUseError(f"the pool {pool} overlaps {one.what}: choose another with --pool")


def check_prefix(prefix: IPv6Network, interface: str) -> None:
    """InUseError when the tunnel's IPv6 prefix overlaps a network of the host's. Routes for a whole block of
    addresses (a default route, "unreachable fc00::/7") are none."""
    names = {link.index: link.name for link in links.read_links()}
    for route in routes.read_routes(6):
        network, name = route.network, names.get(route.index)
        if not isinstance(network, IPv6Network) or network.prefixlen <= _BLOCK_V6_PREFIX or name == interface:
            continue
        if network.overlaps(prefix):
            where = f" dev {name}" if name is not None else ""
            raise InUseError(
                f"the tunnel's IPv6 network {prefix} overlaps the route {network}{where}: "
                "choose another pool with --pool, the network follows from it"
            )


def check_routed(prefix: IPv6Network, interface: str) -> str | None:
    """InUseError when a prefix that is said to be routed to this host holds something of the host's.

    Gives the interface on whose link a wider network than the prefix lies: there it is not routed, and its
    hosts look for the clients as their neighbours. A route for a wider network by a gateway is no
    contradiction, nor is one that only says "unreachable", as whoever takes a delegated prefix sets.
    """
    names = {link.index: link.name for link in links.read_links()}
    on_link = None
    for route in routes.read_routes(6):
        network, name = route.network, names.get(route.index)
        if not isinstance(network, IPv6Network) or name == interface:
            continue
        where = f" dev {name}" if name is not None else ""
        if isinstance(route.gateway, IPv6Address) and route.gateway in prefix:
            raise InUseError(f"the IPv6 prefix {prefix} holds the gateway {route.gateway}{where}: {_ROUTED}")
        if route.is_default or not network.overlaps(prefix):
            continue
        if not route.unicast and network.prefixlen < _HOST_V6_PREFIX:
            continue
        if network.prefixlen >= prefix.prefixlen:
            raise InUseError(f"the IPv6 prefix {prefix} overlaps the route {network}{where}: {_ROUTED}")
        if route.gateway is None:
            on_link = name
    return on_link


def choose_pool(taken: Iterable[Taken]) -> IPv4Network:
    """The first free /24 of a fixed order."""
    used = [one.network for one in taken]
    for block in _BLOCKS:
        inside = [network for network in used if network.overlaps(block)]
        for candidate in _candidates(block, inside):
            return candidate
    raise InUseError("every private network overlaps a route of this host: give a pool with --pool")


def _candidates(block: IPv4Network, used: list[IPv4Network]) -> Iterator[IPv4Network]:
    """The /24s of `block` that overlap nothing of `used`, in order, without trying each of 65,536."""
    at = int(block.network_address)
    end = int(block.broadcast_address)
    size = 1 << (32 - _POOL_PREFIX)
    while at + size - 1 <= end:
        candidate = IPv4Network((at, _POOL_PREFIX))
        blocking = [network for network in used if network.overlaps(candidate)]
        if not blocking:
            yield candidate
            at += size
            continue
        after = max(int(network.broadcast_address) for network in blocking) + 1
        at = max(at + size, (after + size - 1) // size * size)
