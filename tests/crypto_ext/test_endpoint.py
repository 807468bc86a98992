"""Endpoints: set, cleared, written to the slot only when they are proven."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from crypto_ext import Endpoint, Pump
from crypto_ext._native import ffi, lib
from tests.crypto_ext.rig import Rig, endpoint, network, udp_packet


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1"])
def test_an_endpoint_comes_back_as_it_was_set(host: str) -> None:
    pump = Pump(seed=1)
    peer = pump.add_peer(bytes(32))
    where = Endpoint(ip_address(host), 65535, 3 if host.startswith("fe80") else 0)
    pump.set_endpoint(peer, where)
    assert pump.peer(peer).endpoint == where
    pump.set_endpoint(peer, None)
    assert pump.peer(peer).endpoint is None
    pump.close()


def test_a_family_that_does_not_exist_is_refused() -> None:
    pump = lib.sp_pump_new(b"auto", 1)
    peer = lib.sp_peer_add(pump, bytes(32), ffi.NULL, 0)
    assert lib.sp_peer_set_endpoint(pump, peer, ffi.new("struct sp_endpoint *", {"family": 5})) < 0
    lib.sp_pump_free(pump)


def test_the_slot_holds_the_last_authenticated_endpoint_and_when() -> None:
    with Rig(keys=False) as rig:
        slot = memoryview(bytearray(256))
        rig.b.pump.remove_peer(rig.b.peer)
        rig.b.peer = rig.b.pump.add_peer(bytes([1]) * 32, slot)
        rig.b.pump.allow(rig.b.peer, network("10.0.0.1/32"))
        rig.b.pump.set_endpoint(rig.b.peer, Endpoint(ip_address("192.0.2.9"), 9))
        assert bytes(slot) == bytes(256)  # configured is not proven
        rig.shake()
        rig.pass_time(1)
        rig.a.write(udp_packet(100))
        rig.settle()
        family, port, scope = struct.unpack_from("=HHI", slot, 13 * 8)
        assert (family, port, scope) == (4, endpoint(rig.a.udp).port, 0)
        assert bytes(slot[13 * 8 + 8 : 13 * 8 + 12]) == endpoint(rig.a.udp).host.packed
        assert slot.cast("Q")[16] == rig.now


def test_unknown_peers_are_not_found() -> None:
    pump = Pump(seed=1)
    for door in (lambda: pump.set_endpoint(9, None), lambda: pump.forget_source(9)):
        with pytest.raises(FileNotFoundError):
            door()
    pump.forget_source(0)  # all of them: none
    pump.close()
