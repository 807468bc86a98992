"""Peers: numbers with generations, thousands of them, final when removed."""

from __future__ import annotations

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_ext import Pump
from tests.crypto_ext.rig import START, Rig, network, udp_packet


@pytest.mark.parametrize("number", [0, 1, 63, 64, 65, 2**20, 2**21 + 1, 2**32 - 1])
def test_numbers_of_nobody_are_not_found(number: int) -> None:
    pump = Pump(seed=1)
    real = pump.add_peer(bytes(32))
    assert real != number
    with pytest.raises(FileNotFoundError):
        pump.remove_peer(number)
    pump.close()


def test_a_number_rests_long_before_it_returns() -> None:
    pump = Pump(seed=1)
    seen = set()
    for _ in range(5000):
        number = pump.add_peer(bytes(32))
        assert number not in seen
        seen.add(number)
        pump.remove_peer(number)
    pump.close()


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=300))
def test_add_and_remove_race_a_dict(steps: list[tuple[int, bool]]) -> None:
    pump, dumb = Pump(seed=1), {}
    for key, add in steps:
        public = key.to_bytes(32, "little")
        if add and key in dumb:
            with pytest.raises(FileExistsError):
                pump.add_peer(public)
        elif add:
            dumb[key] = pump.add_peer(public)
            assert len(set(dumb.values())) == len(dumb)
        elif key in dumb:
            pump.remove_peer(dumb.pop(key))
    for number in dumb.values():
        pump.peer(number)
    pump.close()


def test_removal_is_final() -> None:
    with Rig(keys=False) as rig:
        slot = memoryview(bytearray(256))
        rig.b.pump.remove_peer(rig.b.peer)
        rig.b.peer = rig.b.pump.add_peer(bytes([1]) * 32, slot)
        rig.b.pump.allow(rig.b.peer, network("10.0.0.1/32"))
        rig.shake()
        rig.a.write(udp_packet(100))
        rig.settle()
        assert len(rig.b.read()) == 1
        rig.a.write(udp_packet(100))
        rig.b.write(udp_packet(100, back=True))
        rig.a.pump.step(rig.now)  # in flight
        words = list(slot.cast("Q"))
        rig.b.pump.remove_peer(rig.b.peer)
        rig.settle()
        rig.pass_time(100)
        rig.settle()
        assert rig.b.read() == []
        assert rig.a.read() == []
        assert list(slot.cast("Q")) == words
        assert rig.b.drops == {"unknown_index": 1, "no_peer": 1}
        assert rig.b.pump.next_deadline() == 0


def test_counters_live_in_the_slot_and_go_on_from_what_it_held() -> None:
    with Rig(keys=False) as rig:
        slot = memoryview(bytearray(256))
        words = slot.cast("Q")
        words[6], words[8], words[10] = 1000, 10, 5000
        rig.a.pump.remove_peer(rig.a.peer)
        rig.a.peer = rig.a.pump.add_peer(bytes([2]) * 32, slot)
        rig.a.pump.allow(rig.a.peer, network("10.0.0.2/32"))
        rig.a.pump.set_endpoint(rig.a.peer, rig.a_to_b)
        rig.shake()
        rig.a.write(udp_packet(100))
        rig.settle()
        assert (words[6], words[8], words[10]) == (1100, 11, 5000 + 32 + 32 + 112)
        assert rig.a.view.tx_bytes == words[10]


def test_a_slot_of_another_size_is_refused() -> None:
    pump = Pump(seed=1)
    with pytest.raises(ValueError, match="256"):
        pump.add_peer(bytes(32), memoryview(bytearray(248)))
    pump.close()


def test_ten_thousand_peers_take_a_kilobyte_each() -> None:
    pump = Pump(seed=1)
    pump.add_peer(bytes([255]) * 32)
    before = resident()
    for n in range(10_000):
        peer = pump.add_peer(n.to_bytes(32, "big"))
        pump.allow(peer, network(f"10.{n >> 8}.{n & 255}.1/32"))
    assert resident() - before < 10_000 * 1536  # with its prefix, and Python's own note of it
    assert pump.step(START) == 0
    pump.close()


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
