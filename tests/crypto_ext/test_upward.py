"""The eventfd is readable exactly while something waits; bits coalesce and are never lost."""

from __future__ import annotations

import select

from crypto_ext import Event, Pending, Pump
from crypto_ext._native import ffi, lib
from tests.crypto_ext.rig import Rig, network, udp_packet, udp_socket
from tests.crypto_ext.test_gate import KEYS, message


def readable(pump: Pump) -> bool:
    return bool(select.select([pump.up_fd], [], [], 0)[0])


def test_it_is_readable_while_anything_waits() -> None:
    with Rig(keys=False) as rig, udp_socket("127.0.0.1") as client:
        pump = rig.b.pump
        pump.set_mac1_keys(KEYS)
        assert not readable(pump)
        for _ in range(3):
            client.sendto(message(1, 148), rig.b.udp.getsockname())
        rig.b.write(udp_packet(100, back=True))
        rig.settle()
        assert readable(pump)
        assert pump.take_events() == 0
        assert readable(pump)  # two channels still hold something
        raw = ffi.new("struct sp_datagram[]", 2)
        assert lib.sp_take_datagrams(pump._pump, raw, 2) == 2
        assert pump.take_pending() == [(rig.b.peer, Pending.KEY)]
        assert readable(pump)  # one datagram is left
        assert len(pump.take_datagrams()) == 1
        assert not readable(pump)


def test_bits_of_a_peer_come_together_and_once() -> None:
    with Rig(keys=False) as rig:
        purse = rig.a.pump.new_purse(10)
        peer = rig.a.pump.add_peer(bytes([9]) * 32, None, purse)
        rig.a.pump.allow(peer, network("10.0.0.9/32"))
        rig.a.pump.set_endpoint(peer, rig.a_to_b)
        rig.a.pump.set_keepalive(peer, 25, rig.now)
        rig.a.write(udp_packet(100))  # another peer, after the first
        rig.settle()
        assert rig.a.pump.take_pending() == [(peer, Pending.KEY), (rig.a.peer, Pending.KEY)]
        assert rig.a.pump.take_pending() == []


def test_pending_bits_of_a_hundred_peers_are_all_told() -> None:
    pump = Pump(seed=1)
    purse = pump.new_purse(0)
    with Rig() as rig:
        peers = [pump.add_peer(n.to_bytes(32, "big")) for n in range(200)]
        for peer in peers:
            pump.set_endpoint(peer, rig.a_to_b)
            pump.set_keepalive(peer, 25, rig.now)
        assert purse == 1
        assert [peer for peer, _ in pump.take_pending()] == peers
        assert not readable(pump)
    pump.close()


def test_a_removed_peer_has_nothing_pending() -> None:
    with Rig(keys=False) as rig:
        rig.a.write(udp_packet(100))
        rig.settle()
        assert readable(rig.a.pump)
        rig.a.pump.remove_peer(rig.a.peer)
        assert not readable(rig.a.pump)
        assert rig.a.pump.take_pending() == []


def test_events_are_kept_until_taken() -> None:
    with Rig() as rig:
        rig.a.pump.arm_counted()
        rig.a.write(udp_packet(100))
        rig.settle()
        rig.settle()
        assert readable(rig.a.pump)
        assert rig.a.pump.take_events() == Event.COUNTED
        assert not readable(rig.a.pump)
