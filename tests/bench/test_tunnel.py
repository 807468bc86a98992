"""The plan of the tunnel bench: which rows, which gates, in which order the roads take their turns."""

from __future__ import annotations

from bench import tunnel
from bench.iperf import Load
from bench.tunnel import TOPOLOGIES, Measure
from tests.bench.stand_ins import FakeLab


class FakeRoad:
    def __init__(self, name, log, value):
        self.name, self.log, self.value = name, log, value
        self.lengths = set()

    def measure(self, load, seconds):
        self.log.append(self.name)
        self.lengths.add((self.name, seconds))
        return self.value


def test_every_row_has_the_gate_and_the_aim_of_its_topology_and_protocol():
    marks = {
        (m.name.split()[0], m.load.unit): (m.gate, m.aim)
        for ms in TOPOLOGIES.values() for m in ms if m.load.streams in (1, 4)
    }  # fmt: skip
    assert marks == {
        ("pair", "Gb/s"): (3.0, 3.8),
        ("pair", "packets/s"): (3.0, 4.5),
        ("exit", "Gb/s"): (2.8, 3.5),
        ("exit", "packets/s"): (3.0, 4.5),
    }


def test_every_load_in_both_topologies_and_the_exit_both_ways():
    assert [m.load for m in TOPOLOGIES["pair"]] == [Load(1), Load(4), Load(udp_bytes=1300)]
    exits = [m.load for m in TOPOLOGIES["exit"]]
    assert [load for load in exits if not load.reverse] == [m.load for m in TOPOLOGIES["pair"]]
    down = [load for load in exits if load.reverse]
    assert [load.streams for load in down if not load.udp_bytes] == [1, 2, 4, 8]
    assert Load(udp_bytes=1300, reverse=True) in down


def test_runs_are_interleaved_and_the_bare_wires_seen_first_middle_last():
    log = []
    values = {"ours": 6.0, "peer": 3.0, "bare": 9.0, "no cipher": 8.0}
    roads = {name: FakeRoad(name, log, value) for name, value in values.items()}
    said = []
    rows = tunnel._measure_rounds([Measure("m", Load(), 1.0, 2.0)], roads, 7, 1, said.append)
    assert [name for name in log if name in ("ours", "peer")] == (["ours", "peer", "peer", "ours"] * 4)[:14]
    for name in ("bare", "no cipher"):
        assert [number for number, line in enumerate(said) if name in line] == [0, 3, 6]
    row, without = rows
    assert (row.ours, row.peer, row.limit) == ((6.0,) * 7, (3.0,) * 7, (9.0,) * 3)
    assert row.ratio == 2.0
    assert (without.name, without.ours, without.holds) == ("m, no cipher", (8.0,) * 3, None)


def test_only_what_a_gate_judges_is_measured_for_long():
    roads = {name: FakeRoad(name, [], 1.0) for name in ("ours", "peer", "bare")}
    roads["no cipher"] = FakeRoad("no cipher", [], 1.0)
    tunnel._measure_rounds([Measure("m", Load(), 1.0, 2.0)], roads, 1, 4, lambda line: None)
    assert {length for road in roads.values() for length in road.lengths} == {
        ("ours", 4), ("peer", 4), ("bare", 1), ("no cipher", 1),
    }  # fmt: skip
    tunnel._measure_rounds([Measure("m", Load())], {**roads, "ours": FakeRoad("ours", [], 1.0)}, 1, 4, print)
    assert ("peer", 1) in roads["peer"].lengths


def test_ours_and_the_peer_change_places_and_the_others_take_few_turns():
    assert list(tunnel.rounds(("ours", "peer", "bare"), 5)) == [
        (0, ["ours", "peer", "bare"]),
        (1, ["peer", "ours"]),
        (2, ["ours", "peer", "bare"]),
        (3, ["peer", "ours"]),
        (4, ["ours", "peer", "bare"]),
    ]


def test_bare_rounds_of_few_runs():
    assert tunnel.bare_rounds(1) == {0}
    assert tunnel.bare_rounds(2) == {0, 1}
    assert tunnel.bare_rounds(9) == {0, 4, 8}


def test_four_roads_of_each_topology_alike_but_for_the_program(monkeypatch):
    built, log = [], []

    def build(lab, program):
        built.append(program)
        return FakeRoad(program, log, 1.0)

    monkeypatch.setattr(tunnel, "Lab", FakeLab)
    monkeypatch.setattr(tunnel, "BUILDERS", {"pair": build, "exit": build})
    monkeypatch.setattr(tunnel.nocipher, "program", lambda say: "bare pump")
    rows = tunnel.measure(["exit"], "ours", "peer", 1, 1, lambda line: None)
    assert built == ["ours", "peer", None, "bare pump"]
    assert [row.name for row in rows[::2]] == [m.name for m in TOPOLOGIES["exit"]]
