"""Allowed-ips belong to one peer at a time, and change at once."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from crypto_ext import Pump
from tests.crypto_ext.rig import Rig, network, udp_packet


def test_prefixes_move_and_disappear() -> None:
    pump = Pump(seed=1)
    one, two = (pump.add_peer(bytes([n]) * 32) for n in (1, 2))
    address = ip_address("10.1.2.3")
    pump.allow(one, network("10.0.0.0/8"))
    pump.allow(two, network("10.1.0.0/16"))
    assert pump.route(address) == two
    assert pump.route(ip_address("10.2.2.3")) == one
    pump.allow(one, network("10.1.0.0/16"))
    assert pump.route(address) == one
    with pytest.raises(FileNotFoundError):
        pump.disallow(two, network("10.1.0.0/16"))
    pump.disallow(one, network("10.1.0.0/16"))
    assert pump.route(address) == one  # by the shorter one
    pump.disallow_all(one)
    assert pump.route(address) == 0
    assert pump.route(ip_address("::1")) == 0
    pump.allow(two, network("::/0"))
    assert pump.route(ip_address("::1")) == two
    pump.remove_peer(two)
    assert pump.route(ip_address("::1")) == 0
    for door in (lambda: pump.allow(two, network("::/0")), lambda: pump.disallow_all(two)):
        with pytest.raises(FileNotFoundError):
            door()
    pump.close()


def test_a_prefix_taken_away_stops_traffic_at_once() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(100))
        rig.b.pump.disallow(rig.b.peer, network("10.0.0.1/32"))
        rig.settle()
        assert rig.b.drops == {"source": 1}
        rig.a.pump.disallow(rig.a.peer, network("10.0.0.2/32"))
        rig.a.write(udp_packet(100))
        rig.settle()
        assert rig.a.drops == {"no_peer": 1}
