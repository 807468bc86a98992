"""No packet costs an allocation: once it has begun, the pump works in the memory that it has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.crypto_ext import engines
from tests.crypto_ext.rig import Rig, Side, cut_raw, tcp_super, udp_packet

ROUNDS = 20
SIZES = (28, 60, 64, 300, 576, 1000, 1419, 1420)
PATHS = [engines.param(path) for path in ("auto", "libcrypto", "portable", *engines.NEEDS)]
TCP4, TCP6, USO = 1, 4, 5


def _traffic(rig: Rig, rounds: int) -> tuple[int, list[set[int]]]:
    """Both ways: superpackets, trains of small and of large packets, single ones, keepalives.

    Gives how many packets arrived, and for each side as which kinds of superpacket.
    """
    arrived = 0
    kinds: list[set[int]] = [set(), set()]
    for number in range(rounds):
        six = number % 2 == 0
        for side, back in ((rig.a, False), (rig.b, True)):
            for whole, _ in (
                tcp_super(40, six=six, back=back),
                tcp_super(3, 100, six=six, back=back),
                tcp_super(40, 60, six=six, back=back),
            ):
                side.tun.send(whole)
            side.write(*(udp_packet(size, six=six, back=back) for size in SIZES if size >= 60))
            for length in (64, 1420):
                side.write(*(udp_packet(length, six=six, back=back) for _ in range(16)))
            side.write(udp_packet(SIZES[number % len(SIZES)], back=back))
        rig.settle()
        for side, seen in zip((rig.a, rig.b), kinds, strict=True):
            for header, packet in side.read():
                seen.add(header[1])
                arrived += sum(1 for _ in cut_raw(header, packet))
        rig.pass_time(0.01)
    return arrived, kinds


@pytest.mark.parametrize("join", [True, False])
@pytest.mark.parametrize("gso", [True, False])
@pytest.mark.parametrize("aead", PATHS)
def test_thousands_of_packets_ask_for_no_memory(
    allocations: Callable[[], int], join: bool, gso: bool, aead: str
) -> None:
    with Rig(join=join, gso=gso, aead=aead) as rig:
        assert aead in ("auto", rig.a.pump.aead)
        _traffic(rig, 2)
        before = allocations()
        arrived, kinds = _traffic(rig, ROUNDS)
        assert arrived == 2 * ROUNDS * (40 + 3 + 40 + 7 + 16 + 16 + 1)
        assert kinds == 2 * [{0, TCP4, TCP6, USO} if join else {0}]
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
