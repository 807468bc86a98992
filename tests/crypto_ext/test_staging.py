"""Packets that wait for a key: how many, which are lost, in what order they leave."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypto_ext.rig import Rig, network, udp_packet


def test_the_oldest_of_129_is_pushed_out() -> None:
    with Rig(keys=False) as rig:
        sent = [udp_packet(60 + i) for i in range(130)]
        rig.a.write(*sent)
        rig.settle()
        assert rig.a.view.staged == 128
        assert rig.a.drops == {"staged_full": 2}
        rig.shake()
        assert [p for _, p in rig.b.read()] == sent[2:]


def test_what_is_given_up_is_lost_and_counted() -> None:
    with Rig(keys=False) as rig:
        rig.a.write(*(udp_packet(100) for _ in range(7)))
        rig.settle()
        rig.a.pump.drop_staged(rig.a.peer)
        assert rig.a.view.staged == 0
        assert rig.a.drops == {"staged_lost": 7}
        rig.shake()
        assert rig.b.read() == []


def test_a_removed_peer_leaves_nothing_in_the_pool() -> None:
    with Rig(keys=False) as rig:
        rig.a.write(*(udp_packet(1400) for _ in range(7)))
        rig.settle()
        rig.a.pump.remove_peer(rig.a.peer)
        assert rig.a.drops == {"staged_lost": 7}


@settings(max_examples=15)
@given(st.lists(st.integers(28, 65535), min_size=1, max_size=12))
def test_any_length_comes_out_as_it_went_in(lengths: list[int]) -> None:
    with Rig(keys=False, mtu=65535) as rig:
        sent = [udp_packet(bytes(i % 251 for i in range(n - 28))) for n in lengths]
        rig.a.write(*sent)
        rig.settle()
        assert rig.a.view.staged == len(sent)
        rig.shake()
        # UDP carries 65,507 bytes: the longest inner packets cannot leave, but they cost nothing else
        fits = [p for p in sent if len(p) + 32 + (-len(p) % 16 if len(p) < 65520 else 0) <= 65507]
        assert [p for _, p in rig.b.read()] == fits
        assert rig.a.drops.get("udp_send", 0) == len(sent) - len(fits)


def test_a_full_pool_refuses_and_recovers() -> None:
    with Rig(keys=False, mtu=0) as rig:
        pump, peers = rig.a.pump, []
        for n in range(6):  # 128 packets of 33 blocks each, for each peer: the pool has 16,384 blocks
            peer = pump.add_peer(bytes([n + 50]) * 32)
            pump.allow(peer, network(f"10.0.1.{n}/32"))
            pump.set_endpoint(peer, rig.a_to_b)
            peers.append(peer)
            for _ in range(128):
                rig.a.write(udp_packet(65535, destination=bytes([10, 0, 1, n])))
                pump.step(rig.now)
        held = sum(pump.peer(peer).staged for peer in peers)
        assert held == 16384 // 33
        assert rig.a.drops == {"staged_full": 6 * 128 - held}
        for peer in peers:
            pump.drop_staged(peer)
        rig.a.write(udp_packet(65535))
        rig.settle()
        assert rig.a.view.staged == 1
