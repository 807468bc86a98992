"""What `bench latency` makes of round trips; and a short real run over bare wires."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import latency
from bench.lab import Lab
from bench.roads import Road, build_pair
from tests.bench.test_probe import DROP_HALF


def test_gates_and_aims() -> None:
    judged = {m.name: (m.gate, m.aim) for m in latency.MEASURES if m.gate is not None}
    assert judged == {
        "round trip idle p50": (0.7, 0.5),
        "round trip under load p99": (0.5, 0.25),
    }


def test_rows_hold_one_percentile_of_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pretended:
        def __init__(self, us: float) -> None:
            self.us = us

    monkeypatch.setattr(latency, "round_trips_us", lambda road, n: [road.us] * (n - 20) + [road.us * 9] * 20)
    monkeypatch.setattr(latency, "under_load", lambda road, n: ([road.us * 10] * n, 1.0))
    roads = {"ours": Pretended(1), "peer": Pretended(2), "bare": Pretended(0.5)}
    said: list[str] = []
    rows = latency.measure_rounds(roads, 5, 1000, said.append)  # type: ignore[arg-type]  # pretended roads
    assert [(row.name, row.ours, row.peer) for row in rows] == [
        ("round trip idle p50", (1,) * 5, (2,) * 5),
        ("round trip idle p99", (9,) * 5, (18,) * 5),
        ("round trip under load p50", (10,) * 5, (20,) * 5),
        ("round trip under load p99", (10,) * 5, (20,) * 5),
    ]
    assert rows[0].limit == (0.5,) * 3
    assert rows[0].holds is True
    assert rows[3].holds is True
    assert len(said) == 10


@pytest.fixture
def bare() -> Iterator[Road]:
    with Lab() as lab:
        yield build_pair(lab, None)


@pytest.mark.netns
def test_round_trips_of_a_bare_wire(bare: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency.iperf, "LEAST_GBIT_PER_SECOND", 0)
    monkeypatch.setattr(latency, "LOAD_AFTER_SECONDS", 4)  # a prober that is late is still beside the load
    assert len(latency.round_trips_us(bare, 200)) == 200
    times, carried = latency.under_load(bare, 200)
    assert len(times) == 200
    assert carried > 0


@pytest.mark.netns
def test_lost_ones_count_as_slow(bare: Road) -> None:
    bare.client.run("nft", "-f", "-", input_text=DROP_HALF)
    times = latency.round_trips_us(bare, 200)
    assert len(times) == 200
    assert 50 < times.count(latency.LOST_US) < 150
