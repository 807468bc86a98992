"""Timers at exact virtual times: passive keepalive, persistent keepalive and unanswered data."""

from __future__ import annotations

import pytest

from crypto_ext import Pending
from tests.crypto_ext.rig import SECOND, Rig, Side, endpoint, udp_packet

JITTER = SECOND // 3


def talk(rig: Rig, *, back: bool = False) -> None:
    (rig.b if back else rig.a).write(udp_packet(100, back=back))
    rig.settle()
    rig.a.read()
    rig.b.read()


def sent(side: Side) -> int:
    return side.pump.stats().udp_datagrams_out


def test_idle_means_no_deadline() -> None:
    with Rig() as rig:
        assert (rig.a.pump.next_deadline(), rig.b.pump.next_deadline()) == (0, 0)


def test_the_receiver_of_data_answers_after_ten_seconds_once() -> None:
    with Rig() as rig:
        talk(rig)
        assert rig.b.pump.next_deadline() == rig.b.view.keepalive_at_ns == rig.now + 10 * SECOND
        before = sent(rig.b)
        rig.now += 10 * SECOND - 1
        rig.settle()
        assert sent(rig.b) == before
        rig.now += 1
        rig.settle()
        assert sent(rig.b) == before + 1
        assert (rig.a.pump.next_deadline(), rig.b.pump.next_deadline()) == (0, 0)  # and both fall silent


def test_more_data_meanwhile_wants_another_one() -> None:
    with Rig() as rig:
        talk(rig)
        first = rig.now
        rig.pass_time(3)
        talk(rig)
        assert rig.b.view.keepalive_at_ns == first + 10 * SECOND
        rig.now = first + 10 * SECOND
        before = sent(rig.b)
        rig.settle()
        assert sent(rig.b) == before + 1
        assert rig.b.view.keepalive_at_ns == first + 20 * SECOND
        rig.now = first + 20 * SECOND
        rig.settle()
        assert sent(rig.b) == before + 2
        assert rig.b.pump.next_deadline() == 0


def test_anything_sent_back_makes_it_needless() -> None:
    with Rig() as rig:
        talk(rig)
        rig.pass_time(5)
        talk(rig, back=True)
        assert rig.b.view.keepalive_at_ns == 0
        assert rig.a.view.keepalive_at_ns == rig.now + 10 * SECOND


def test_unanswered_data_wants_a_new_handshake_after_fifteen_seconds_and_jitter() -> None:
    with Rig() as rig:
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        at = rig.a.view.unanswered_at_ns
        assert 15 * SECOND <= at - rig.now <= 15 * SECOND + JITTER
        rig.pass_time(7)
        rig.a.write(udp_packet(100))
        rig.a.pump.step(rig.now)
        assert rig.a.view.unanswered_at_ns == at  # measured from the first
        rig.now = at - 1
        rig.a.pump.step(rig.now)
        assert rig.a.pump.take_pending() == []
        rig.now = at
        rig.a.pump.step(rig.now)
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        assert rig.a.view.unanswered_at_ns == 0


def test_an_answer_cancels_it() -> None:
    with Rig() as rig:
        talk(rig)
        assert rig.a.view.unanswered_at_ns != 0
        rig.pass_time(10)
        rig.settle()  # b's passive keepalive
        assert rig.a.view.unanswered_at_ns == 0
        assert rig.a.pump.next_deadline() == 0


def test_a_keepalive_sent_expects_no_answer() -> None:
    with Rig() as rig:
        rig.a.pump.set_keepalive(rig.a.peer, 25, rig.now)
        rig.settle()
        assert rig.a.view.unanswered_at_ns == 0
        assert rig.b.view.keepalive_at_ns == 0


@pytest.mark.parametrize("seconds", [1, 25, 65535])
def test_the_persistent_keepalive_counts_from_the_last_traversal(seconds: int) -> None:
    with Rig() as rig:
        before = sent(rig.a)
        rig.a.pump.set_keepalive(rig.a.peer, seconds, rig.now)
        assert sent(rig.a) == before + 1  # at once
        rig.settle()
        assert rig.a.view.persistent_at_ns == rig.now + seconds * SECOND
        rig.pass_time(seconds / 2)
        rig.shake()
        talk(rig, back=True)
        assert rig.a.view.persistent_at_ns == rig.now + seconds * SECOND
        assert rig.a.pump.next_deadline() <= rig.now + seconds * SECOND
        rig.a.pump.set_keepalive(rig.a.peer, 0, rig.now)
        assert rig.a.view.persistent_at_ns == 0


def test_it_fires_again_and_again() -> None:
    with Rig() as rig:
        rig.a.pump.set_keepalive(rig.a.peer, 25, rig.now)
        for _ in range(4):
            before = sent(rig.a)
            rig.now = rig.a.pump.next_deadline()
            rig.settle()
            assert sent(rig.a) == before + 1
            assert rig.a.pump.next_deadline() == rig.now + 25 * SECOND


def test_without_a_key_it_wants_one_and_keeps_trying() -> None:
    with Rig(keys=False) as rig:
        rig.a.pump.set_keepalive(rig.a.peer, 25, rig.now)
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        rig.now = rig.a.pump.next_deadline()
        rig.settle()
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]
        assert rig.a.pump.next_deadline() == rig.now + 25 * SECOND


def test_without_an_endpoint_it_sleeps_until_there_is_one() -> None:
    with Rig(keys=False) as rig:
        rig.a.pump.set_endpoint(rig.a.peer, None)
        rig.a.pump.set_keepalive(rig.a.peer, 25, rig.now)
        rig.pass_time(25)
        rig.settle()
        assert rig.a.pump.take_pending() == []
        assert rig.a.pump.next_deadline() == 0
        rig.a.pump.set_endpoint(rig.a.peer, endpoint(rig.b.udp))
        assert rig.a.pump.take_pending() == [(rig.a.peer, Pending.KEY)]


def test_giving_up_stops_the_passive_keepalive() -> None:
    with Rig() as rig:
        talk(rig)
        rig.b.pump.drop_staged(rig.b.peer)
        assert rig.b.pump.next_deadline() == 0
