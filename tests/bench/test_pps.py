"""Datagrams per second: what is counted, what is judged, and one real run over bare wires."""

from __future__ import annotations

import pytest

from bench import pps
from bench.lab import Lab
from bench.pps import Count
from bench.process import LabError
from bench.roads import build_pair
from tests.bench.stand_ins import FakeLab


def test_a_count_is_of_both_ends():
    found = pps.counted('{"sent": 1000}\n', 'ready\n{"received": 500, "seconds": 2.0}\n')
    assert (found.rate, found.lost) == (250.0, 0.5)


@pytest.mark.parametrize("said", ["", "ready\n", "ready\nbroken", 'ready\n{"received": 0, "seconds": 0.0}'])
def test_no_count_or_no_datagrams_is_an_error(said):
    with pytest.raises(LabError):
        pps.counted('{"sent": 1000}\n', said)


@pytest.mark.parametrize("capacity", [120.0, 700.0, 1000.0, 3000.0])
def test_the_rate_with_little_loss_comes_near_what_the_tunnel_carries(capacity):
    tried = []

    def attempt(rate):
        tried.append(rate)
        return Count(int(rate * 100), int(min(rate, capacity) * 100), 100.0)

    found = pps.with_little_loss(attempt, 1000.0)
    assert capacity / 1.5 <= found <= capacity * 1.02
    assert len(tried) == pps.TRIALS


def test_a_tunnel_that_always_loses_carries_nothing_with_little_loss():
    assert pps.with_little_loss(lambda rate: Count(1000, 900, 1.0), 1000.0) == 0.0


def test_small_and_full_datagrams_are_judged_in_turns(monkeypatch):
    turns = []

    def count(road, size, seconds, rate=None):
        if seconds == 2:
            turns.append((size, road))
        rate_of = {"ours": 40, "peer": 10}.get(road, 90)
        return Count(rate_of, rate_of, 1.0)

    monkeypatch.setattr(pps, "Lab", FakeLab)
    monkeypatch.setattr(pps, "build_pair", lambda lab, program: program or "bare")
    monkeypatch.setattr(pps, "count", count)
    found = pps.measure("ours", "peer", 7, 2, lambda line: None)
    rows = {row.name: row for row in found}
    assert [row.name for row in found if row.gate == 3.0] == ["udp 64 B", "udp 1300 B"]
    assert len([name for name in rows if name.endswith(" B")]) == 5
    assert all(row.ratio == 4.0 for row in found)
    assert (len(rows["udp 64 B"].ours), len(rows["udp 64 B"].limit)) == (7, 3)
    assert len(rows["udp 64 B, with little loss"].ours) == 3
    alternating = ["ours", "peer", "peer", "ours"] * 4
    assert [who for size, who in turns if size == 64] == alternating[:14]
    assert {size for size, _ in turns} == {64, 1300}  # the others are shorter


@pytest.mark.netns
def test_datagrams_cross_bare_wires_and_are_counted():
    with Lab() as lab:
        road = build_pair(lab, None)
        assert pps.count(road, 64, 0.2).received > 20
        for _ in range(5):  # a sender that does not get a processor for long enough is over for the receiver
            paced = pps.count(road, 64, 0.5, 200)
            assert 16 <= paced.sent <= 116
            if paced.lost == 0:
                break
        assert paced.lost == 0
