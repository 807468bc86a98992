"""The tunnel's IPv6 prefix and addresses: local, of the right form, and one for each lease."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from appliance.core.ula import address_in, tunnel_prefix

POOL = IPv4Network("10.101.0.0/24")


def test_the_prefix_never_changes():
    """Clients hold configurations with it."""
    assert tunnel_prefix(POOL) == IPv6Network("fd78:961:45f5::/64")


def test_an_address_carries_its_lease():
    assert address_in(IPv6Network("fd00:1:2::/64"), IPv4Address("10.101.0.7")) == IPv6Address(
        "fd00:1:2::a65:7"
    )


@given(st.integers(8, 30), st.integers(0, 2**32 - 1))
def test_prefixes_are_local_and_pools_have_their_own(length: int, number: int):
    pool = IPv4Network((number, length), strict=False)
    prefix = tunnel_prefix(pool)
    assert prefix.prefixlen == 64
    assert prefix.subnet_of(IPv6Network("fd00::/8"))
    assert prefix.network_address.packed[6:8] == bytes(2), "subnet 0"
    assert prefix != tunnel_prefix(POOL) or pool == POOL


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_different_leases_have_different_addresses_inside(one: int, other: int):
    prefix = tunnel_prefix(POOL)
    first, second = (address_in(prefix, IPv4Address(number)) for number in (one, other))
    assert first in prefix
    assert (first == second) == (one == other)
