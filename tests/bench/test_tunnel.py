"""The plan of the tunnel bench: which rows, which gates, in which order the roads take their turns."""

from __future__ import annotations

from bench import tunnel
from bench.iperf import Load
from bench.tunnel import TOPOLOGIES, Measure


class FakeRoad:
    def __init__(self, name, log, value):
        self.name, self.log, self.value = name, log, value

    def measure(self, load, seconds):
        self.log.append(self.name)
        return self.value


def test_only_the_two_published_gates():
    gates = {m.name: m.gate for measures in TOPOLOGIES.values() for m in measures if m.gate is not None}
    assert gates == {"pair tcp 1 stream": 1.0, "exit download tcp 1 stream": 1.0}


def test_every_load_in_both_topologies_and_the_exit_both_ways():
    assert [m.load for m in TOPOLOGIES["pair"]] == [Load(1), Load(4), Load(udp_bytes=1300)]
    exits = [m.load for m in TOPOLOGIES["exit"]]
    assert [load for load in exits if not load.reverse] == [m.load for m in TOPOLOGIES["pair"]]
    assert len([load for load in exits if load.reverse]) == 3


def test_runs_are_interleaved_and_the_bare_wires_seen_first_middle_last():
    log = []
    roads = {
        name: FakeRoad(name, log, value) for name, value in (("ours", 6.0), ("peer", 3.0), ("bare", 9.0))
    }
    said = []
    rows = tunnel._measure_rounds([Measure("m", Load(), 1.0, 2.0)], roads, 7, 1, said.append)
    assert [name for name in log if name != "bare"] == ["ours", "peer"] * 7
    assert [number for number, line in enumerate(said) if "bare" in line] == [0, 3, 6]
    (row,) = rows
    assert (row.ours, row.peer, row.limit) == ((6.0,) * 7, (3.0,) * 7, (9.0,) * 3)
    assert row.ratio == 2.0


def test_bare_rounds_of_few_runs():
    assert tunnel.bare_rounds(1) == {0}
    assert tunnel.bare_rounds(2) == {0, 1}
    assert tunnel.bare_rounds(9) == {0, 4, 8}
