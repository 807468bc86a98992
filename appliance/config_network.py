"""What the configuration can say about clients' traffic: the readers of those keys.

`config.py` names the keys and calls these. Each turns the value of a file or of an option into ours, or
raises ValueError with what it must be; a list on the command line is written with commas.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_network
from typing import Final

from appliance.core.exitplan import IPV6_MODES, Ipv6Mode, Network, is_openable
from appliance.core.ula import LONGEST_PREFIX

_MOST_FLOWS: Final = 1_000_000
_SHORTEST_PREFIX: Final = 32
_ROUTABLE_V6: Final = (IPv6Network("2000::/3"), IPv6Network("fc00::/7"))


def read_allow_networks(value: object) -> tuple[Network, ...]:
    """Private networks, each written as a prefix; in the order given."""
    problem = (
        "a list of prefixes inside 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7, "
        "without host bits"
    )
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and "/" in item for item in items):
        raise ValueError(problem)
    try:
        networks = tuple(ip_network(item.strip()) for item in items)
    except ValueError:
        raise ValueError(problem) from None
    if not all(is_openable(network) for network in networks):
        raise ValueError(problem)
    return networks


def read_conntrack_per_client(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_FLOWS:
        raise ValueError(f"a number from 1 to {_MOST_FLOWS}")
    return value


def read_ipv6(value: object) -> Ipv6Mode | IPv6Network:
    """A word, or the prefix that is routed to this host for its clients."""
    for mode in IPV6_MODES:
        if value == mode:
            return mode
    problem = (
        f"one of {', '.join(IPV6_MODES)}, or an IPv6 prefix from /{_SHORTEST_PREFIX} to /{LONGEST_PREFIX} "
        "inside 2000::/3 or fc00::/7, without host bits"
    )
    if not isinstance(value, str) or "/" not in value:
        raise ValueError(problem)
    try:
        prefix = IPv6Network(value)
    except ValueError:
        raise ValueError(problem) from None
    if not _SHORTEST_PREFIX <= prefix.prefixlen <= LONGEST_PREFIX:
        raise ValueError(problem)
    if not any(prefix.subnet_of(one) for one in _ROUTABLE_V6):
        raise ValueError(problem)
    return prefix


def read_nat_address(value: object) -> IPv4Address:
    problem = "an IPv4 address that packets can come from"
    if not isinstance(value, str):
        raise ValueError(problem)
    try:
        address = IPv4Address(value)
    except ValueError:
        raise ValueError(problem) from None
    unusable = address.is_loopback or address.is_multicast or address.is_link_local
    if unusable or int(address) < 1 << 24 or int(address) >= 240 << 24:
        raise ValueError(problem)
    return address
