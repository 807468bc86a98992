"""Datagrams per second: what is counted, what is judged, and one real run over bare wires."""

from __future__ import annotations

import pytest

from bench import pps
from bench.lab import Lab
from bench.process import LabError
from bench.roads import build_pair
from tests.bench.stand_ins import FakeLab


def test_a_rate_is_what_was_received_over_the_time_it_took():
    assert pps.rate('ready\n{"received": 500, "seconds": 2.0}\n') == 250.0


@pytest.mark.parametrize("said", ["", "ready\n", "ready\nbroken", 'ready\n{"received": 0, "seconds": 0.0}'])
def test_no_count_or_no_datagrams_is_an_error(said):
    with pytest.raises(LabError):
        pps.rate(said)


def test_small_and_full_datagrams_are_judged_in_turns(monkeypatch):
    turns = []

    def delivered(road, size, seconds):
        if seconds == 2:
            turns.append((size, road))
        return {"ours": 40.0, "peer": 10.0}.get(road, 90.0)

    monkeypatch.setattr(pps, "Lab", FakeLab)
    monkeypatch.setattr(pps, "build_pair", lambda lab, program: program or "bare")
    monkeypatch.setattr(pps, "delivered", delivered)
    rows = pps.measure("ours", "peer", 7, 2, lambda line: None)
    assert [row.name for row in rows if row.gate == 3.0] == ["udp 64 B", "udp 1300 B"]
    assert len(rows) == 5
    assert all(row.ratio == 4.0 and len(row.limit) == 3 for row in rows)
    assert [who for size, who in turns if size == 64 and who != "bare"] == ["ours", "peer"] * 7


@pytest.mark.netns
def test_datagrams_cross_bare_wires_and_are_counted():
    with Lab() as lab:
        assert pps.delivered(build_pair(lab, None), 64, 0.2) > 100
