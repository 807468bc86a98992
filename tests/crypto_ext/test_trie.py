"""trie.c against a list of prefixes that is searched from end to end."""

from __future__ import annotations

import errno
import ipaddress
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.crypto_ext import leaf

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Trie:
    def __init__(self):
        declare = "uint32_t leaf_trie_nodes(const struct sp_trie *trie);"
        self.ffi, self.lib = leaf.load(extra="leaf_trie.c", declare=declare)
        self.state = self.ffi.gc(self.lib.sp_trie_new(), self.lib.sp_trie_free)

    def set(self, network: Network, owner: int) -> int:
        address = network.network_address
        return self.lib.sp_trie_set(self.state, address.version, address.packed, network.prefixlen, owner)

    def remove(self, network: Network, owner: int) -> int:
        address = network.network_address
        return self.lib.sp_trie_remove(self.state, address.version, address.packed, network.prefixlen, owner)

    def remove_owner(self, owner: int) -> None:
        self.lib.sp_trie_remove_owner(self.state, owner)

    def find(self, address: Address) -> int:
        return self.lib.sp_trie_find(self.state, address.version, address.packed)

    def nodes(self) -> int:
        return self.lib.leaf_trie_nodes(self.state)


class DumbTrie:
    def __init__(self):
        self.owners: dict[Network, int] = {}

    def set(self, network: Network, owner: int) -> int:
        self.owners[network] = owner
        return 0

    def remove(self, network: Network, owner: int) -> int:
        if self.owners.get(network) != owner:
            return -errno.ENOENT
        del self.owners[network]
        return 0

    def remove_owner(self, owner: int) -> None:
        self.owners = {network: other for network, other in self.owners.items() if other != owner}

    def find(self, address: Address) -> int:
        matching = [n for n in self.owners if n.version == address.version and address in n]
        return self.owners[max(matching, key=lambda n: n.prefixlen)] if matching else 0


def network(text: str) -> Network:
    return ipaddress.ip_network(text)


def address(text: str) -> Address:
    return ipaddress.ip_address(text)


# Addresses with few bits that vary, high and low ones, so that prefixes nest, part and meet again.
@st.composite
def addresses(draw) -> Address:
    if draw(st.booleans()):
        return ipaddress.IPv4Address(draw(st.integers(0, 15)) << 28 | draw(st.integers(0, 15)))
    places = [draw(st.integers(0, 3)) << shift for shift in (126, 63, 0)]
    return ipaddress.IPv6Address(sum(places))


@st.composite
def networks(draw) -> Network:
    base = draw(addresses())
    lengths = [0, 1, 2, 3, 4, 5, 27, 28, 29, 30, 31, 32]
    if base.version == 6:
        lengths = [0, 1, 2, 3, 62, 63, 64, 65, 66, 125, 126, 127, 128]
    length = draw(st.one_of(st.sampled_from(lengths), st.integers(0, base.max_prefixlen)))
    return ipaddress.ip_network((base.packed, length), strict=False)


OWNERS = st.integers(1, 6)
CHANGES = st.one_of(
    st.tuples(st.just("set"), networks(), OWNERS),
    st.tuples(st.just("set"), networks(), OWNERS),
    st.tuples(st.just("remove"), networks(), OWNERS),
    st.tuples(st.just("remove_owner"), OWNERS),
)


@given(st.lists(CHANGES, max_size=60), st.lists(addresses(), min_size=5, max_size=20), st.randoms())
def test_race_with_a_list(changes, asked, order):
    trie, dumb = Trie(), DumbTrie()
    for name, *arguments in changes:
        assert getattr(trie, name)(*arguments) == getattr(dumb, name)(*arguments)
        at = asked[0]
        assert trie.find(at) == dumb.find(at)
        assert len(dumb.owners) <= trie.nodes() <= 2 * len(dumb.owners)
    for at in asked:
        assert trie.find(at) == dumb.find(at)
    left = list(dumb.owners.items())
    order.shuffle(left)
    for prefix, owner in left:  # down to nothing, asking on the way
        assert trie.remove(prefix, owner) == dumb.remove(prefix, owner) == 0
        for at in (*asked, prefix.network_address):
            assert trie.find(at) == dumb.find(at)
    assert trie.nodes() == 0


def test_the_longest_prefix_wins_and_a_moved_one_moves():
    trie = Trie()
    prefixes = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0"]
    for owner, text in enumerate(prefixes, start=1):
        assert trie.set(network(text), owner) == 0
    asked = ("9.9.9.9", "10.9.9.9", "10.1.9.9", "10.1.2.3", "fe80::1")
    assert [trie.find(address(a)) for a in asked] == [1, 2, 3, 4, 5]
    assert trie.set(network("10.1.0.0/16"), 9) == 0
    assert trie.find(address("10.1.9.9")) == 9
    assert trie.remove(network("10.1.0.0/16"), 3) == -errno.ENOENT
    assert trie.remove(network("10.1.0.0/16"), 9) == 0
    assert trie.find(address("10.1.9.9")) == 2
    assert trie.find(address("10.1.2.3")) == 4


def test_everything_and_single_addresses():
    trie = Trie()
    ends4, ends6 = ("0.0.0.0", "255.255.255.255"), ("::", "ffff:" * 7 + "ffff")
    for owner, text in enumerate((*ends4, *ends6), start=1):
        assert trie.set(network(text), owner) == 0  # /32 and /128
    assert [trie.find(address(a)) for a in (*ends4, *ends6)] == [1, 2, 3, 4]
    assert trie.find(address("0.0.0.1")) == trie.find(address("::1")) == 0
    assert trie.set(network("::/0"), 8) == 0
    assert trie.find(address("::1")) == 8
    assert trie.find(address("0.0.0.1")) == 0, "the families do not mix"
    assert trie.set(network("0.0.0.0/0"), 7) == 0
    assert trie.find(address("0.0.0.1")) == 7


def test_host_bits_are_masked():
    trie = Trie()
    assert trie.lib.sp_trie_set(trie.state, 4, bytes([10, 1, 2, 3]), 8, 5) == 0
    assert trie.find(address("10.200.0.1")) == 5
    assert trie.lib.sp_trie_remove(trie.state, 4, bytes([10, 99, 0, 1]), 8, 5) == 0
    assert trie.find(address("10.200.0.1")) == 0


@pytest.mark.parametrize(
    ("family", "length", "owner"),
    [(4, 33, 1), (4, -1, 1), (6, 129, 1), (6, -1, 1), (5, 8, 1), (0, 0, 1), (4, 8, 0)],
)
def test_impossible_prefixes_are_refused(family, length, owner):
    trie = Trie()
    assert trie.lib.sp_trie_set(trie.state, family, bytes(16), length, owner) == -errno.EINVAL
    assert trie.lib.sp_trie_remove(trie.state, family, bytes(16), length, owner) == -errno.ENOENT
    assert trie.find(address("0.0.0.0")) == trie.find(address("::")) == 0
    assert trie.lib.sp_trie_find(trie.state, 5, bytes(16)) == 0


def test_removing_one_owner_of_many_leaves_the_others():
    trie, dumb, noise = Trie(), DumbTrie(), random.Random(8)
    for _ in range(3000):
        base = noise.getrandbits(32)
        prefix = ipaddress.ip_network((base, noise.randrange(8, 33)), strict=False)
        owner = noise.choice([1, 2, 3, 2**32 - 1, 65, 129])
        trie.set(prefix, owner)
        dumb.set(prefix, owner)
    asked = [prefix.network_address for prefix in list(dumb.owners)[:300]]
    for owner in (2, 2**32 - 1, 77, 0):
        trie.remove_owner(owner)
        dumb.remove_owner(owner)
        assert [trie.find(at) for at in asked] == [dumb.find(at) for at in asked]


def test_each_of_many_owners_is_removed_alone():
    """Far more owners than chains at first, so that some share one."""
    trie, noise = Trie(), random.Random(9)
    owners = [noise.randrange(1, 2**32) for _ in range(2000)]
    for number, owner in enumerate(owners):
        assert trie.set(ipaddress.ip_network((number << 4, 30)), owner) == 0
    for number, owner in enumerate(owners):
        assert trie.find(ipaddress.IPv4Address(number << 4)) == owner
        trie.remove_owner(owner)
        assert trie.find(ipaddress.IPv4Address(number << 4)) == 0
        if number + 1 < len(owners):
            assert trie.find(ipaddress.IPv4Address((number + 1) << 4)) == owners[number + 1]
    assert trie.nodes() == 0


def test_a_chain_of_nested_prefixes_as_deep_as_addresses_are():
    trie = Trie()
    for length in range(129):
        assert trie.set(ipaddress.ip_network((2**128 - 1, length), strict=False), length + 1) == 0
    for bit in range(128):  # the first `bit` bits agree
        assert trie.find(ipaddress.IPv6Address((2**128 - 1) ^ (1 << (127 - bit)))) == bit + 1
    for length in range(128, -1, -1):
        assert trie.find(ipaddress.IPv6Address(2**128 - 1)) == length + 1
        trie.remove_owner(length + 1)
    assert trie.find(ipaddress.IPv6Address(2**128 - 1)) == 0


def test_130560_prefixes_load_in_two_seconds():
    """As many as the kernel module's own test loads onto one device; CPU time, as the machine may be busy."""
    trie = Trie()
    packed = [bytes([a, b, 0, 0]) for a in range(256) for b in range(255)]
    packed6 = [bytes([0x20, 0x01, a, b]) + bytes(12) for a in range(256) for b in range(255)]
    began = time.process_time()
    for owner, prefix in enumerate(packed, start=1):
        trie.lib.sp_trie_set(trie.state, 4, prefix, 16, owner)
    for owner, prefix in enumerate(packed6, start=1):
        trie.lib.sp_trie_set(trie.state, 6, prefix, 32, owner)
    assert time.process_time() - began < 2
    for owner in (1, 2, 254, 255, 256, 30000, 65280):
        assert trie.find(ipaddress.IPv4Address(packed[owner - 1])) == owner
        assert trie.find(ipaddress.IPv6Address(packed6[owner - 1])) == owner
    began = time.process_time()
    for owner in range(1, 65281):
        trie.remove_owner(owner)
    assert time.process_time() - began < 2
    assert trie.find(ipaddress.IPv4Address(packed[99])) == trie.find(ipaddress.IPv6Address(packed6[99])) == 0
