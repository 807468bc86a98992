"""The host's routes, read from the kernel: which networks are taken, and where the default route goes.

Who calls it: `pool.py` and `egress.py`. All tables are read, not `main` alone: a VPN or a container
engine may keep its networks in a table of its own, and a pool that hides one of them would cut it off.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from appliance.core.exitplan import Address
from appliance.net.netlink import NETLINK_ROUTE, Message, Netlink, attribute, attributes, number

MAIN_TABLE: Final = 254

_RTM_GETROUTE: Final = 26
_RTA_DST: Final = 1
_RTA_OIF: Final = 4
_RTA_GATEWAY: Final = 5
_RTA_PRIORITY: Final = 6
_RTA_PREFSRC: Final = 7
_RTA_MULTIPATH: Final = 9
_RTA_TABLE: Final = 15
_RTN_UNICAST: Final = 1
_RTNH_F_DEAD: Final = 1

_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_RTNEXTHOP: Final = struct.Struct("=HBBi")


@dataclass(frozen=True)
class Route:
    """One route. `index` is the interface it leaves by (of several next hops the first), 0 for none."""

    network: IPv4Network | IPv6Network
    table: int
    index: int
    gateway: Address | None
    source: Address | None
    metric: int
    unicast: bool
    alive: bool

    @property
    def is_default(self) -> bool:
        return self.network.prefixlen == 0


def read_routes(version: int = 4) -> list[Route]:
    """All routes of one family, in all tables."""
    with Netlink(NETLINK_ROUTE) as netlink:
        messages = netlink.dump(_RTM_GETROUTE, _RTMSG.pack(_family(version), 0, 0, 0, 0, 0, 0, 0, 0))
    return [_parse(message) for message in messages]


def default_route(version: int = 4) -> Route | None:
    """The default route of the main table that the kernel prefers, None without one."""
    found = [
        route
        for route in read_routes(version)
        if route.is_default and route.table == MAIN_TABLE and route.unicast and route.alive and route.index
    ]
    return min(found, key=lambda route: route.metric, default=None)


def source_toward(destination: Address, index: int) -> Address | None:
    """The source address that the kernel would choose toward `destination` on interface `index`."""
    packed = destination.packed
    body = _RTMSG.pack(_family(destination.version), 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += attribute(_RTA_DST, packed) + attribute(_RTA_OIF, struct.pack("=i", index))
    with Netlink(NETLINK_ROUTE) as netlink:
        try:
            answer = netlink.get(_RTM_GETROUTE, body)
        except OSError:  # unreachable in one of the kernel's several ways
            return None
    return _parse(answer).source if answer is not None else None


def _family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


def _parse(message: Message) -> Route:
    family, prefix_length, _, _, table, _, _, kind, flags = _RTMSG.unpack_from(message.body)
    found = attributes(message.body[_RTMSG.size :])
    empty = bytes(4 if family == socket.AF_INET else 16)
    index = number(found.get(_RTA_OIF))
    gateway = found.get(_RTA_GATEWAY)
    if _RTA_MULTIPATH in found:
        hops = found[_RTA_MULTIPATH]
        _, _, _, index = _RTNEXTHOP.unpack_from(hops)
        gateway = attributes(hops[_RTNEXTHOP.size :]).get(_RTA_GATEWAY)
    return Route(
        network=ip_network((found.get(_RTA_DST, empty), prefix_length)),
        table=number(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
        index=index,
        gateway=_address(gateway),
        source=_address(found.get(_RTA_PREFSRC)),
        metric=number(found.get(_RTA_PRIORITY)),
        unicast=kind == _RTN_UNICAST,
        alive=not flags & _RTNH_F_DEAD,
    )


def _address(packed: bytes | None) -> Address | None:
    return ip_address(packed) if packed is not None else None
