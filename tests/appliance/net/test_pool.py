"""Choosing and checking the pool."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InUseError
from appliance.net.pool import (
    _BLOCKS,
    Taken,
    check_pool,
    check_prefix,
    check_routed,
    choose_pool,
    taken_networks,
)
from tests.appliance.net.lab import Namespace


def taken(*networks: str) -> list[Taken]:
    return [Taken(IPv4Network(network), f"the route {network} dev eth0") for network in networks]


def test_the_usual_pool_on_a_plain_host():
    assert choose_pool(taken("127.0.0.0/8", "203.0.113.0/24", "192.168.1.0/24")) == IPv4Network(
        "10.101.0.0/24"
    )


@pytest.mark.parametrize(
    ("used", "chosen"),
    [
        (["10.101.0.0/24"], "10.101.1.0/24"),
        (["10.101.0.77/32", "10.101.1.128/25"], "10.101.2.0/24"),
        (["10.101.0.0/17"], "10.101.128.0/24"),
        (["10.101.0.0/16"], "10.0.0.0/24"),
        (["10.0.0.0/8"], "172.16.0.0/24"),
        (["10.0.0.0/8", "172.16.0.0/12"], "192.168.0.0/24"),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"], "100.64.0.0/24"),
    ],
)
def test_what_is_taken_is_avoided(used: list[str], chosen: str):
    assert choose_pool(taken(*used)) == IPv4Network(chosen)


def test_nothing_left():
    with pytest.raises(InUseError, match="--pool"):
        choose_pool(taken("0.0.0.0/1", "128.0.0.0/1"))


def dumb_choice(used: list[IPv4Network]) -> IPv4Network | None:
    for block in _BLOCKS:
        for candidate in block.subnets(new_prefix=24):
            if not any(candidate.overlaps(network) for network in used):
                return candidate
    return None


networks = st.builds(
    lambda address, prefix: IPv4Network((address >> (32 - prefix) << (32 - prefix), prefix)),
    st.integers(IPv4Network("10.100.0.0/15")[0].__int__(), IPv4Network("10.100.0.0/15")[-1].__int__()),
    st.integers(13, 32),
)


@given(st.lists(networks, max_size=12))
def test_the_same_choice_as_trying_each(used: list[IPv4Network]):
    assert choose_pool([Taken(network, "x") for network in used]) == dumb_choice(used)


def test_a_given_pool_that_overlaps_names_the_route():
    used = taken("10.0.0.0/16", "192.168.0.0/24")
    check_pool(IPv4Network("10.1.0.0/24"), used)
    for pool in ("10.0.3.0/24", "10.0.0.0/8", "10.0.0.0/16"):
        with pytest.raises(InUseError, match=r"overlaps the route 10\.0\.0\.0/16 dev eth0"):
            check_pool(IPv4Network(pool), used)


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("pool") as made:
        made.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
        made.run("ip", "link", "set", "wire0", "up")
        made.run("ip", "link", "set", "wire1", "up")
        yield made


@pytest.mark.netns
def test_every_route_and_address_counts(host: Namespace):
    host.run("ip", "address", "add", "10.1.0.5/24", "dev", "wire0")
    host.run("ip", "address", "add", "10.2.0.5/32", "dev", "lo")
    host.run("ip", "route", "add", "10.3.0.0/16", "via", "10.1.0.1")
    host.run("ip", "route", "add", "10.4.0.0/16", "via", "10.1.0.1", "table", "1234")
    host.run("ip", "route", "add", "blackhole", "10.5.0.0/16")
    host.run("ip", "route", "add", "default", "via", "10.6.0.1", "dev", "wire0", "onlink")
    host.run("ip", "route", "add", "10.7.0.0/16", "nexthop", "via", "10.1.0.8", "nexthop", "via", "10.1.0.9")
    host.run("ip", "address", "add", "10.8.0.1/24", "dev", "wire1")
    found = {str(one.network): one.what for one in host.inside(lambda: taken_networks("wire1"))}
    assert found["10.1.0.0/24"] == "the route 10.1.0.0/24 dev wire0"
    assert found["10.1.0.5/32"] == "the address 10.1.0.5 of wire0"
    assert found["10.2.0.5/32"] == "the address 10.2.0.5 of lo"
    assert found["10.6.0.1/32"] == "the gateway 10.6.0.1 dev wire0"
    assert {"10.3.0.0/16", "10.4.0.0/16", "10.5.0.0/16", "10.7.0.0/16"} <= found.keys()
    assert "0.0.0.0/0" not in found
    assert not any(network.startswith("10.8.") for network in found), "our own interface"


@pytest.mark.netns
def test_the_ipv6_network_of_the_tunnel_must_be_free(host: Namespace):
    prefix = IPv6Network("fd00:1:2::/64")

    def check(interface: str = "sally0") -> None:
        host.inside(lambda: check_prefix(prefix, interface))

    host.run("ip", "-6", "route", "add", "default", "dev", "wire0")
    host.run("ip", "-6", "route", "add", "unreachable", "fc00::/7")
    host.run("ip", "-6", "address", "add", "fd00:1:3::1/64", "dev", "wire0")
    check()
    host.run("ip", "-6", "address", "add", "fd00:1:2::5/64", "dev", "wire0")
    with pytest.raises(InUseError, match=r"fd00:1:2::/64 .*--pool"):
        check()
    host.run("ip", "-6", "address", "del", "fd00:1:2::5/64", "dev", "wire0")
    host.run("ip", "-6", "route", "add", "fd00::/16", "dev", "wire0")
    with pytest.raises(InUseError, match=r"fd00::/16 dev wire0"):
        check()
    check("wire0")


PREFIX_V6 = IPv6Network("2001:db8:7::/64")


@pytest.fixture
def linked() -> Iterator[Namespace]:
    with Namespace("pool6") as host:
        for name in ("eth0", "lan0"):
            host.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
            host.run("ip", "link", "set", name, "up")
            host.run("ip", "link", "set", f"{name}-far", "up")
        yield host


@pytest.mark.netns
@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("address add 2001:db8:7::1/64 dev eth0", "the route 2001:db8:7::"),
        ("address add 2001:db8:7::1/128 dev lo", "the route 2001:db8:7::1/128"),
        ("-6 route add 2001:db8:7:0:1::/80 dev lan0", "the route 2001:db8:7:0:1::/80 dev lan0"),
        ("-6 route add default via 2001:db8:7::1 dev eth0 onlink", "the gateway 2001:db8:7::1 dev eth0"),
    ],
)
def test_a_routed_prefix_holds_nothing_of_the_hosts(linked: Namespace, words: str, what: str):
    linked.run("ip", *words.split(), *(["nodad"] if "address" in words else []))
    with pytest.raises(InUseError, match=what) as told:
        linked.inside(lambda: check_routed(PREFIX_V6, "sally0"))
    assert "routed to this host" in str(told.value)


@pytest.mark.netns
def test_a_routed_prefix_beside_what_is_wider(linked: Namespace):
    linked.run("ip", "address", "add", "2001:db8:e::1/64", "dev", "eth0", "nodad")
    linked.run("ip", "-6", "route", "add", "default", "via", "2001:db8:e::2")
    linked.run("ip", "-6", "route", "add", "2001:db8::/32", "via", "2001:db8:e::2")
    linked.run("ip", "-6", "route", "add", "unreachable", "2001:db8:7::/64", "dev", "lo")
    linked.run("ip", "-6", "route", "add", "unreachable", "2001:db8:7::/56", "dev", "lo")
    assert linked.inside(lambda: check_routed(PREFIX_V6, "sally0")) is None
    linked.run("ip", "link", "add", "sally0", "type", "veth", "peer", "name", "sally0-far")
    linked.run("ip", "link", "set", "sally0", "up")
    linked.run("ip", "address", "add", "2001:db8:7::1/64", "dev", "sally0", "nodad")
    assert linked.inside(lambda: check_routed(PREFIX_V6, "sally0")) is None, "our own, from a moment ago"


@pytest.mark.netns
def test_a_prefix_that_is_part_of_a_link_is_told(linked: Namespace):
    linked.run("ip", "address", "add", "2001:db8:7::1/48", "dev", "eth0", "nodad")
    with pytest.raises(InUseError, match="2001:db8:7::1/128"):
        linked.inside(lambda: check_routed(PREFIX_V6, "sally0"))
    assert linked.inside(lambda: check_routed(IPv6Network("2001:db8:7:1::/64"), "sally0")) == "eth0"
