"""Purses: exact to the packet, shared, latched, reopened."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_ext import UNLIMITED, Event, Pending, Pump
from tests.crypto_ext.rig import Rig, network, refused, udp_packet


def purse_rig(limit: int) -> tuple[Rig, int, memoryview]:
    """A rig whose a-side peer pays from a purse, both ways."""
    rig = Rig(keys=False)
    purse, slot = rig.a.pump.new_purse(limit), memoryview(bytearray(256))
    rig.a.pump.remove_peer(rig.a.peer)
    rig.a.peer = rig.a.pump.add_peer(bytes([2]) * 32, slot, purse)
    rig.a.pump.allow(rig.a.peer, network("10.0.0.2/32"))
    rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b)
    rig.shake()
    return rig, purse, slot.cast("Q")


@given(
    limit=st.integers(0, 3000),
    packets=st.lists(st.tuples(st.integers(28, 700), st.booleans()), max_size=20),
)
def test_a_purse_races_a_dumb_one(limit: int, packets: list[tuple[int, bool]]) -> None:
    rig, purse, words = purse_rig(limit)
    with rig:
        left, shut, billed = limit, False, [0, 0, 0, 0]
        for length, back in packets:
            (rig.b if back else rig.a).write(udp_packet(length, back=back))
            rig.settle()
            shut = shut or length > left
            if not shut:
                left -= length
                billed[back] += length
                billed[2 + back] += 1
        assert rig.a.pump.purse(purse) == (left, shut)
        assert list(words[6:10]) == billed
        assert (rig.a.peer, Pending.PURSE) in rig.a.pump.take_pending() or not shut
        assert sum(billed[:2]) <= limit


def test_a_shut_purse_stays_shut_for_smaller_packets_until_it_is_set() -> None:
    rig, purse, words = purse_rig(100)
    with rig:
        rig.a.write(udp_packet(101), udp_packet(50))
        rig.settle()
        assert rig.b.read() == []
        rig.a.pump.set_purse(purse, 50)
        assert rig.a.pump.take_pending() == []  # reopened before anybody looked
        rig.a.write(udp_packet(50))
        rig.settle()
        assert len(rig.b.read()) == 1
        assert rig.a.pump.purse(purse) == (0, False)
        assert words[6] == 50


def test_unlimited_never_counts_down() -> None:
    rig, purse, words = purse_rig(UNLIMITED)
    with rig:
        rig.a.write(udp_packet(1000))
        rig.settle()
        assert rig.a.pump.purse(purse) == (UNLIMITED, False)
        assert words[6] == 1000


def test_all_peers_of_a_purse_hear_that_it_is_shut() -> None:
    rig, purse, _ = purse_rig(100)
    with rig:
        other = rig.a.pump.add_peer(bytes([9]) * 32, None, purse)
        rig.a.pump.add_peer(bytes([8]) * 32)  # pays from nobody's
        rig.a.write(udp_packet(101))
        rig.settle()
        assert set(rig.a.pump.take_pending()) == {(rig.a.peer, Pending.PURSE), (other, Pending.PURSE)}
        late = rig.a.pump.add_peer(bytes([7]) * 32, None, purse)
        assert rig.a.pump.take_pending() == [(late, Pending.PURSE)]


def test_counted_comes_once_per_arming() -> None:
    rig, _, _ = purse_rig(10_000)
    with rig:
        rig.a.pump.take_events()
        for armed in (False, True, False):
            if armed:
                rig.a.pump.arm_counted()
            rig.a.write(udp_packet(100), udp_packet(100))
            rig.settle()
            assert rig.a.pump.take_events() == (Event.COUNTED if armed else 0)


def test_handshakes_and_keepalives_cost_nothing() -> None:
    rig, purse, words = purse_rig(100)
    with rig:
        rig.a.pump.handshake_out(rig.a.peer, bytes(148), retry=False, now_ns=rig.now)
        rig.a.pump.set_keepalive(rig.a.peer, 1, rig.now)
        for _ in range(5):
            rig.pass_time(1)
            rig.settle()
        assert rig.a.pump.purse(purse) == (100, False)
        assert list(words[6:10]) == [0, 0, 0, 0]


def test_numbers_and_refusals() -> None:
    pump = Pump(seed=1)
    numbers = [pump.new_purse(n) for n in range(20)]
    assert sorted(numbers) == numbers == list(range(1, 21))
    peer = pump.add_peer(bytes(32), None, 5)
    with refused(errno.EBUSY):
        pump.free_purse(5)
    pump.remove_peer(peer)
    pump.free_purse(5)
    for door in (
        lambda: pump.purse(5),
        lambda: pump.set_purse(5, 1),
        lambda: pump.add_peer(bytes(32), None, 5),
    ):
        with pytest.raises(FileNotFoundError):
            door()
    for door in (lambda: pump.set_purse(0, 1), lambda: pump.free_purse(0)):
        with pytest.raises(PermissionError):
            door()
    assert pump.purse(0) == (UNLIMITED, False)
    assert pump.new_purse(1) == 5
    pump.close()
