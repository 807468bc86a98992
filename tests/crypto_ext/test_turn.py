"""One turn: due timers, then a small budget from each side."""

from __future__ import annotations

import socket

from tests.crypto_ext.rig import UDP_GRO, Rig, udp_packet


def test_a_turn_with_nothing_to_do_says_so() -> None:
    with Rig() as rig:
        assert rig.a.pump.step(rig.now) == 0


def test_a_turn_takes_only_a_budget() -> None:
    with Rig() as rig:
        rig.a.write(*(udp_packet(60) for _ in range(100)))
        turns = 0
        while rig.a.pump.step(rig.now):
            turns += 1
        assert turns == 7  # a burst of 16 reads each
        rig.settle()
        assert len(rig.b.read()) == 100


def test_both_directions_get_their_budget_of_a_turn_and_no_more() -> None:
    with Rig() as rig:
        rig.a.udp.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 0)  # else 100 datagrams are a handful of messages
        rig.b.write(*(udp_packet(60, back=True) for _ in range(100)))
        while rig.b.pump.step(rig.now):
            pass
        rig.a.write(*(udp_packet(60) for _ in range(100)))
        before = rig.a.pump.stats().udp_receives
        for turn in range(1, 7):
            rig.a.pump.step(rig.now)
            stats = rig.a.pump.stats()
            assert stats.udp_receives - before == turn * 4  # a burst of 4 messages
            assert stats.tun_reads == turn * 16
            assert len(rig.a.read()) == 4
        rig.settle()
        assert (len(rig.a.read()), len(rig.b.read())) == (100 - 6 * 4, 100)


def test_a_packet_by_itself_waits_for_no_other() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(60))
        rig.a.pump.step(rig.now)
        rig.b.pump.step(rig.now)
        assert [packet for _, packet in rig.b.read()] == [udp_packet(60)]


def test_timers_come_first_and_are_counted() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(60))
        rig.settle()
        rig.pass_time(10)
        assert rig.b.pump.step(rig.now) == 1
        assert rig.b.view.keepalive_at_ns == 0
