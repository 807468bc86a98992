"""No packet costs an allocation: once it has begun, the pump works in the memory that it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crypto_ext.rig import Rig, Side, tcp_super, udp_packet

ROUNDS = 40
SIZES = (28, 60, 64, 300, 576, 1000, 1419, 1420)


def _traffic(rig: Rig, rounds: int) -> int:
    """Both ways: superpackets, trains of small packets, single ones, keepalives. Gives how many arrived."""
    whole, _ = tcp_super(40)
    arrived = 0
    for number in range(rounds):
        rig.a.tun.send(whole)
        rig.a.write(*(udp_packet(size, six=number % 2 == 0) for size in SIZES if size >= 60))
        rig.b.write(*(udp_packet(64, back=True) for _ in range(16)))
        rig.b.write(udp_packet(SIZES[number % len(SIZES)], back=True))
        rig.settle()
        arrived += sum(len(list(side.packets())) for side in (rig.a, rig.b))
        rig.pass_time(0.01)
    return arrived


@pytest.mark.parametrize("join", [True, False])
@pytest.mark.parametrize("gso", [True, False])
def test_thousands_of_packets_ask_for_no_memory(
    allocations: Callable[[], int], join: bool, gso: bool
) -> None:
    with Rig(join=join, gso=gso) as rig:
        _traffic(rig, 2)
        before = allocations()
        assert _traffic(rig, ROUNDS) > 50 * ROUNDS
        rig.pass_time(11)  # the passive keepalive
        rig.settle()
        assert allocations() == before
        assert rig.a.drops == rig.b.drops == {}


def test_neither_does_what_is_refused(allocations: Callable[[], int]) -> None:
    with Rig() as rig:
        _traffic(rig, 1)
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        (datagram,) = rig.b.datagrams()
        before = allocations()
        for number in range(200):
            forged = datagram[:-1] + bytes([datagram[-1] ^ 1])
            for bad in (forged, b"\x04short", datagram[:4] + bytes(4) + datagram[8:], bytes(148)):
                rig.a.udp.sendto(bad, rig.b.udp.getsockname())
            rig.a.write(udp_packet(100, destination=bytes([192, 0, 2, number])))  # nobody's
            rig.settle()
        assert sum(rig.b.drops.values()) == 800
        assert rig.a.drops == {"no_peer": 200}
        assert allocations() == before


def test_neither_does_waiting_for_a_key(allocations: Callable[[], int]) -> None:
    with Rig(keys=False) as rig:
        before = allocations()
        for _ in range(300):
            rig.a.write(udp_packet(1000))
            rig.a.pump.step(rig.now)
        assert rig.a.view.staged == 128
        assert allocations() == before


def test_the_counter_counts(allocations: Callable[[], int]) -> None:
    before = allocations()
    side = Side("127.0.0.1")
    made = allocations()
    assert made > before
    side.pump.add_peer(bytes([9]) * 32)
    assert allocations() > made
    side.close()
