"""The way out: the interface, its address, and what is private about it."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from appliance.errors import UsageError
from appliance.net.egress import Egress, find_egress, find_lans
from tests.appliance.net.lab import Namespace


@pytest.fixture
def host() -> Iterator[Namespace]:
    with Namespace("egress") as made:
        for name in ("wire0", "wire2"):
            made.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
            made.run("ip", "link", "set", f"{name}-far", "up")
            made.run("ip", "link", "set", name, "up")
        yield made


def found(host: Namespace, interface: str | None = None) -> Egress | None:
    return host.inside(lambda: find_egress(interface))


@pytest.mark.netns
def test_no_default_route(host: Namespace):
    assert found(host) is None


@pytest.mark.netns
def test_the_default_routes_interface(host: Namespace):
    host.run("ip", "link", "set", "wire0", "mtu", "1400")
    host.run("ip", "address", "add", "198.51.100.1/24", "dev", "wire0")
    host.run("ip", "address", "add", "203.0.113.1/24", "dev", "wire2")
    host.run("ip", "route", "add", "default", "via", "198.51.100.9")
    assert found(host) == Egress("wire0", 1400, ip_address("198.51.100.1"))
    assert found(host, "wire2") == Egress("wire2", 1500, ip_address("203.0.113.1"))


@pytest.mark.netns
def test_of_several_addresses_the_one_the_kernel_sends_from(host: Namespace):
    host.run("ip", "address", "add", "10.7.0.1/24", "dev", "wire0")
    host.run("ip", "address", "add", "198.51.100.1/24", "dev", "wire0")
    host.run("ip", "route", "add", "default", "via", "198.51.100.9")
    egress = found(host)
    assert egress is not None
    assert str(egress.address) == "198.51.100.1"
    assert not egress.is_private


@pytest.mark.netns
def test_a_private_address_is_told(host: Namespace):
    host.run("ip", "address", "add", "100.64.3.4/24", "dev", "wire0")
    host.run("ip", "route", "add", "default", "via", "100.64.3.1")
    egress = found(host)
    assert egress is not None
    assert egress.is_private


@pytest.mark.netns
def test_ipv6_alone(host: Namespace):
    host.run("ip", "address", "add", "fd00::1/64", "dev", "wire0", "nodad")
    host.run("ip", "address", "add", "2001:db8::1/64", "dev", "wire0", "nodad")
    host.run("ip", "route", "add", "default", "via", "2001:db8::9")
    egress = found(host)
    assert egress is not None
    assert (egress.interface, str(egress.address)) == ("wire0", "2001:db8::1")
    host.run("ip", "address", "del", "2001:db8::1/64", "dev", "wire0")
    egress = found(host, "wire0")
    assert egress is not None
    assert str(egress.address) == "fd00::1"
    assert egress.is_private


@pytest.mark.netns
def test_no_usable_address(host: Namespace):
    egress = found(host, "wire0")
    assert egress == Egress("wire0", 1500, None), "a link-local address is nothing a client could name"
    assert not egress.is_private


@pytest.mark.netns
def test_no_such_interface(host: Namespace):
    with pytest.raises(UsageError, match="nowhere0"):
        found(host, "nowhere0")


@pytest.mark.netns
def test_the_interfaces_that_lead_to_a_network(host: Namespace):
    host.run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan0-far")
    host.run("ip", "link", "set", "lan0-far", "up")
    host.run("ip", "link", "set", "lan0", "up")
    host.run("ip", "route", "add", "10.5.0.0/16", "dev", "lan0")
    host.run("ip", "route", "add", "10.6.0.0/16", "dev", "lan0", "table", "99")

    def lans(*names: str) -> tuple[str, ...]:
        return host.inside(lambda: find_lans((ip_network(name) for name in names), "sally0"))

    assert lans("10.5.7.0/24") == ("lan0",), "inside a route"
    assert lans("10.0.0.0/8") == ("lan0",), "a route inside"
    assert lans("10.6.1.1/32", "fd00::/8") == ("lan0",), "policy routing counts"
    assert lans("10.7.0.0/16") == lans() == ()
    assert host.inside(lambda: find_lans([ip_network("10.5.0.0/16")], "lan0")) == (), "the tunnel itself"
