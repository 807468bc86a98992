"""The peer table against a plain model: who has which prefix, in Python and in C, after any changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.noise import Identity
from appliance.device.peers import PeerTable, own_identity
from appliance.pump import Pump, Symmetric

KEYS = [bytes([n]) * 32 for n in range(1, 5)]
NETWORKS = [ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "0.0.0.0/0")]
PROBES = [IPv4Address(text) for text in ("10.1.1.1", "10.1.2.1", "10.2.0.1", "192.0.2.1")]

CHANGES = st.tuples(
    st.sampled_from(["add", "remove", "allow", "disallow", "disallow_all"]),
    st.sampled_from(KEYS),
    st.sampled_from(NETWORKS),
)


def entropy(count: int) -> bytes:
    return bytes(count)


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump(seed=1)
    yield pump
    pump.close()


@given(st.lists(CHANGES, max_size=30))
def test_prefixes_have_one_owner_here_and_in_c(changes: list[tuple[str, bytes, object]]) -> None:
    pump = Pump(seed=1)
    try:
        table = PeerTable(pump, entropy)
        owner: dict[object, bytes] = {}  # the model
        order: list[bytes] = []
        for verb, key, network in changes:
            record = table.find(key)
            assert (record is not None) == (key in order)
            if record is None:
                if verb == "add":
                    table.add(key)
                    order.append(key)
                continue
            if verb == "remove":
                table.remove(record)
                order.remove(key)
                owner = {net: who for net, who in owner.items() if who != key}
            elif verb == "allow":
                table.allow(record, network)  # type: ignore[arg-type]  # hypothesis loses the union
                owner[network] = key
            elif verb == "disallow":
                table.disallow(record, network)  # type: ignore[arg-type]  # as above
                if owner.get(network) == key:
                    del owner[network]
            elif verb == "disallow_all":
                table.disallow_all(record)
                owner = {net: who for net, who in owner.items() if who != key}
        assert [record.public_key for record in table] == order
        for record in table:
            assert set(record.allowed_ips) == {net for net, who in owner.items() if who == record.public_key}
        for probe in PROBES:
            fitting = [net for net in NETWORKS if probe in net and net in owner]
            found = table.by_handle(pump.route(probe))
            expected = owner[max(fitting, key=lambda net: net.prefixlen)] if fitting else None
            assert (found.public_key if found is not None else None) == expected
    finally:
        pump.close()


def test_a_peer_is_not_added_twice_and_not_as_ourselves(pump: Pump) -> None:
    table = PeerTable(pump, entropy)
    identity = Identity(KEYS[0])
    table.set_identity(identity, 0)
    table.add(KEYS[1])
    for key in (KEYS[1], identity.public_key):
        with pytest.raises(ValueError, match="peer already"):
            table.add(key)
    assert [record.public_key for record in table] == [KEYS[1]]


def test_our_own_key_set_later_removes_the_peer_that_has_it(pump: Pump) -> None:
    table = PeerTable(pump, entropy)
    identity = Identity(KEYS[0])
    record = table.add(identity.public_key)
    table.allow(record, NETWORKS[0])
    table.add(KEYS[1])
    table.set_identity(identity, 0)
    assert [record.public_key for record in table] == [KEYS[1]]
    assert table.owner_of(NETWORKS[0]) is None
    assert pump.route(PROBES[0]) == 0


def test_a_removed_peers_number_means_nobody(pump: Pump) -> None:
    table = PeerTable(pump, entropy)
    record = table.add(KEYS[1])
    table.remove(record)
    assert table.by_handle(record.handle) is None
    assert table.add(KEYS[1]).handle != record.handle


def test_every_key_of_ours_has_its_handshakes_computed_in_c() -> None:
    own = own_identity(KEYS[0])
    assert own.state_maker is Symmetric
    assert own.public_key == Identity(KEYS[0]).public_key
    program = Path(__file__).resolve().parents[3] / "appliance"
    makers = [path.name for path in program.rglob("*.py") if re.search(r"\bIdentity\(", path.read_text())]
    assert makers == ["peers.py"], "there is one place in which they are made"
