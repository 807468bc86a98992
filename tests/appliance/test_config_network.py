"""Readers of the keys about clients' traffic: what they take, in a file's form and in an option's."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network, ip_network

import pytest

from appliance.config_network import (
    read_allow_networks,
    read_conntrack_per_client,
    read_ipv6,
    read_nat_address,
)


def test_allowed_networks_as_a_list_or_with_commas():
    wanted = (ip_network("10.0.5.0/24"), ip_network("fd00:5::/64"), ip_network("192.168.1.7/32"))
    assert read_allow_networks(["10.0.5.0/24", "fd00:5::/64", "192.168.1.7/32"]) == wanted
    assert read_allow_networks("10.0.5.0/24, fd00:5::/64,192.168.1.7/32") == wanted
    assert read_allow_networks([]) == ()


@pytest.mark.parametrize(
    "value",
    [
        *("", ",", "10.0.5.0/24,", "10.0.5.0", "10.0.5.1/24", "0.0.0.0/0", "::/0", "x/24", 10, None),
        *("169.254.169.254/32", "127.0.0.0/8", "224.0.0.0/4", "fe80::/64", "ff00::/8", "198.51.100.0/24"),
        *([167772160], ["10.0.5.0"], ["10.0.0.0/7"], [["10.0.5.0/24"]], {"10.0.5.0/24": 1}),
    ],
)
def test_what_cannot_be_opened(value: object):
    with pytest.raises(ValueError, match="inside 10"):
        read_allow_networks(value)


@pytest.mark.parametrize("value", [0, -1, 1_000_001, True, "4096", 4096.0, None])
def test_numbers_of_flows_that_cannot_be(value: object):
    with pytest.raises(ValueError, match="from 1 to 1000000"):
        read_conntrack_per_client(value)


def test_numbers_of_flows():
    assert [read_conntrack_per_client(number) for number in (1, 4096, 1_000_000)] == [1, 4096, 1_000_000]


def test_ipv6():
    modes = ["auto", "nat", "reject", "off"]
    assert [read_ipv6(mode) for mode in modes] == modes
    for text in ("2001:db8:1::/64", "2001:db8::/32", "fd00:1:2:3::/96"):
        assert read_ipv6(text) == IPv6Network(text)
    for value in (
        *("", "on", "OFF", None, True, 6, 2**64, "2001:db8::1", "2001:db8::1/64", "2001:db8::/97", "/64"),
        *("2000::/31", "10.0.0.0/24", "fe80::/64", "ff00::/64", "::/64", "64:ff9b::/96", "fe80::%eth0/64"),
    ):
        with pytest.raises(ValueError, match="auto, nat, reject, off, or an IPv6 prefix"):
            read_ipv6(value)


def test_nat_address():
    assert read_nat_address("203.0.113.5") == IPv4Address("203.0.113.5")
    assert read_nat_address("10.0.0.5") == IPv4Address("10.0.0.5"), "an address may be translated twice"
    for value in ("", "host", "0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1"):
        with pytest.raises(ValueError, match="IPv4 address"):
            read_nat_address(value)
    for other in (7, None, "203.0.113.5/32", "2001:db8::1"):
        with pytest.raises(ValueError, match="IPv4 address"):
            read_nat_address(other)
