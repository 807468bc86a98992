"""Reading routes of every kind back from the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from appliance.net import links, routes
from tests.appliance.net.lab import Namespace


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("routes") as made:
        made.run("ip", "link", "add", "wire0", "type", "veth", "peer", "name", "wire1")
        for name, address in (("wire0", "198.51.100.1/24"), ("wire1", "203.0.113.1/24")):
            made.run("ip", "link", "set", name, "up")
            made.run("ip", "address", "add", address, "dev", name)
        yield made


def index(host: Namespace, name: str) -> int:
    link = host.inside(lambda: links.read_link(name))
    assert link is not None
    return link.index


@pytest.mark.netns
def test_what_each_kind_of_route_says(host: Namespace):
    host.run("ip", "route", "add", "192.0.2.0/24", "via", "198.51.100.9", "table", "70000", "metric", "7")
    host.run("ip", "route", "add", "blackhole", "192.0.3.0/24")
    host.run(
        "ip",
        "route",
        "add",
        "192.0.4.0/24",
        "nexthop",
        "via",
        "203.0.113.9",
        "nexthop",
        "via",
        "198.51.100.9",
    )
    host.run("ip", "route", "add", "192.0.5.0/24", "dev", "wire0", "src", "203.0.113.1")
    found = {str(route.network): route for route in host.inside(routes.read_routes)}
    one = found["192.0.2.0/24"]
    assert (one.table, one.metric, one.gateway) == (70000, 7, ip_address("198.51.100.9"))
    assert (one.index, one.unicast, one.alive, one.is_default) == (index(host, "wire0"), True, True, False)
    assert (found["192.0.3.0/24"].unicast, found["192.0.3.0/24"].index) == (
        False,
        found["192.0.3.0/24"].index,
    )
    assert found["192.0.4.0/24"].index == index(host, "wire1")
    assert found["192.0.4.0/24"].gateway == ip_address("203.0.113.9")
    assert found["192.0.5.0/24"].source == ip_address("203.0.113.1")
    assert found["127.0.0.0/8"].table == 255


@pytest.mark.netns
def test_default_route_is_the_one_of_least_metric(host: Namespace):
    assert host.inside(routes.default_route) is None
    host.run("ip", "route", "add", "unreachable", "default", "metric", "1")
    host.run("ip", "route", "add", "default", "via", "198.51.100.9", "metric", "200")
    host.run("ip", "route", "add", "default", "via", "203.0.113.9", "metric", "100")
    host.run("ip", "route", "add", "default", "via", "203.0.113.8", "table", "99")
    route = host.inside(routes.default_route)
    assert route is not None
    assert (route.index, route.network) == (index(host, "wire1"), ip_network("0.0.0.0/0"))


@pytest.mark.netns
def test_ipv6_default_route(host: Namespace):
    host.run("ip", "address", "add", "2001:db8::1/64", "dev", "wire0", "nodad")
    host.run("ip", "route", "add", "default", "via", "2001:db8::9")
    route = host.inside(lambda: routes.default_route(6))
    assert route is not None
    assert (route.index, route.gateway) == (index(host, "wire0"), ip_address("2001:db8::9"))


@pytest.mark.netns
def test_source_is_what_the_kernel_would_choose(host: Namespace):
    wire0 = index(host, "wire0")
    somewhere = ip_address("192.0.2.1")
    host.run("ip", "address", "add", "198.51.100.7/24", "dev", "wire0")
    host.run("ip", "route", "add", "default", "via", "198.51.100.9", "src", "198.51.100.7")
    assert host.inside(lambda: routes.source_toward(somewhere, wire0)) == ip_address("198.51.100.7")
    assert host.inside(lambda: routes.source_toward(somewhere, 0x7FFF)) is None
