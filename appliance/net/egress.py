"""By which interface clients leave, and under which address of it.

Who calls it: `exit.py`. `--egress` names the interface, else it is the default route's (IPv4 first, since
clients have IPv4). The interface decides whose forwarding is switched on, which address is announced to
clients and how large their packets may be. Where packets really go stays the host's routing table, and
NAT follows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from appliance.core.exitplan import Address, Network, is_private
from appliance.errors import UsageError
from appliance.net import links, routes

# Any address of the internet would do: nothing is sent, the kernel is only asked how it would.
_SOMEWHERE: Final = IPv4Address("192.0.2.1")

_SCOPE_UNIVERSE: Final = 0


@dataclass(frozen=True)
class Egress:
    """The way out. `address` is None when the interface has none that a client could reach."""

    interface: str
    mtu: int
    address: Address | None

    @property
    def is_private(self) -> bool:
        """Whether only clients of its own network reach the address (worth one warning)."""
        return self.address is not None and is_private(self.address)


def find_egress(interface: str | None = None) -> Egress | None:
    """The interface given, or the default route's; None when there is no default route."""
    if interface is not None:
        link = links.read_link(interface)
        if link is None:
            raise UsageError(f"no interface {interface} (--egress)")
        return _describe(link)
    for version in (4, 6):
        route = routes.default_route(version)
        if route is not None:
            by_index = {link.index: link for link in links.read_links()}
            if route.index in by_index:
                return _describe(by_index[route.index])
    return None


def find_egress_v6(interface: str | None = None) -> str | None:
    """The interface of the preferred IPv6 default route (of those by `interface`, when one is given)."""
    names = {link.index: link.name for link in links.read_links()}
    ways = [
        route
        for route in routes.read_routes(6)
        if route.is_default and route.table == routes.MAIN_TABLE and route.unicast and route.alive
        if names.get(route.index) is not None and interface in (None, names[route.index])
    ]
    return names[min(ways, key=lambda route: route.metric).index] if ways else None


def addresses_v6(tunnel: str) -> list[links.LinkAddress]:
    """The IPv6 addresses that the host can send with to the internet, or can in a moment (one that has just
    come is tried for a second first); those of `tunnel` apart."""
    own = {link.index for link in links.read_links() if link.name == tunnel}
    return [
        one
        for one in links.read_addresses()
        if one.address.version == 6 and one.scope == _SCOPE_UNIVERSE and one.index not in own
        if one.usable or one.tentative
    ]


def find_lans(networks: Iterable[Network], tunnel: str) -> tuple[str, ...]:
    """The interfaces by whose routes these networks are reached, the default route's apart: what comes back
    from there enters by them."""
    wanted = tuple(networks)
    if not wanted:
        return ()
    indices = {
        route.index
        for version in {network.version for network in wanted}
        for route in routes.read_routes(version)
        if route.unicast and not route.is_default and any(_overlap(route.network, one) for one in wanted)
    }
    names = [link.name for link in links.read_links() if link.index in indices]
    return tuple(name for name in names if name not in ("lo", tunnel))


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _describe(link: links.Link) -> Egress:
    return Egress(link.name, link.mtu, _usable_address(link))


def _usable_address(link: links.Link) -> Address | None:
    """What the kernel itself would send from, when it is an address of this interface that can be named.

    An interface without addresses borrows one of another (as unnumbered links do): that one is right too.
    """
    chosen = routes.source_toward(_SOMEWHERE, link.index) if link.up else None
    if chosen is not None and not chosen.is_loopback and not chosen.is_unspecified:
        return chosen
    usable = [one for one in links.read_addresses() if one.index == link.index and one.usable]
    for one in usable:
        if one.address.version == 4 and one.scope == _SCOPE_UNIVERSE:
            return one.address
    # Of IPv6 a lasting, global address before a private one; link-local ones need a scope no client knows.
    global_v6 = [
        one.address
        for one in sorted(usable, key=lambda one: (is_private(one.address), not one.primary))
        if one.address.version == 6 and one.scope == _SCOPE_UNIVERSE
    ]
    return global_v6[0] if global_v6 else None
