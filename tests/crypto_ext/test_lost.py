"""Peers whose key we lost: found by their endpoint, asked for seldom, and only while they have no key."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from crypto_ext import Endpoint, Pending
from tests.crypto_ext.rig import Rig, endpoint


def transport(index: int) -> bytes:
    return struct.pack("<IIQ", 4, index, 0) + bytes(32)


def hear(rig: Rig, index: int = 0xDEAD) -> list[tuple[int, int]]:
    """b's socket sends a an unknown index; what a asks of Python afterwards."""
    rig.b.udp.sendto(transport(index), rig.a.udp.getsockname())
    rig.a.pump.step(rig.now)
    rig.a.pump.take_events()
    return rig.a.pump.take_pending()


def test_an_unknown_index_from_a_known_place_asks_for_a_key() -> None:
    with Rig(keys=False) as rig:
        assert hear(rig) == [(rig.a.peer, Pending.KEY)]
        assert rig.a.drops == {"unknown_index": 1}
        assert hear(rig) == []  # within the five seconds of one initiation
        rig.pass_time(5)
        assert hear(rig) == [(rig.a.peer, Pending.KEY)]


def test_another_port_or_address_is_another_place() -> None:
    with Rig(keys=False) as rig:
        here = endpoint(rig.b.udp)
        for place in (Endpoint(here.host, here.port ^ 1), Endpoint(ip_address("127.0.0.9"), here.port)):
            rig.a.pump.set_endpoint(rig.a.peer, place)
            assert hear(rig) == []
        rig.a.pump.set_endpoint(rig.a.peer, here)
        assert hear(rig) == [(rig.a.peer, Pending.KEY)]


def test_a_peer_with_a_key_has_lost_nothing() -> None:
    with Rig() as rig:
        rig.a.pump.take_pending()
        assert hear(rig) == []
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(rig.b.udp))
        assert hear(rig) == []


def test_a_removed_peer_and_one_without_a_place_are_not_found() -> None:
    with Rig(keys=False) as rig:
        rig.a.pump.set_endpoint(rig.a.peer, None)
        assert hear(rig) == []
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(rig.b.udp))
        rig.a.pump.remove_peer(rig.a.peer)
        assert hear(rig) == []


def test_two_behind_one_address_are_both_asked() -> None:
    with Rig(keys=False) as rig:
        second = rig.a.pump.add_peer(bytes([9]) * 32)
        rig.a.pump.set_endpoint(second, endpoint(rig.b.udp))
        assert sorted(peer for peer, _ in hear(rig)) == sorted([rig.a.peer, second])
