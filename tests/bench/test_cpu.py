"""Processor time per GB: whose time it is, that it is all of it, and which daemon is exchanged."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import pytest

from bench import cpu, iperf
from bench.cli import OURS
from bench.cpu import MEASURES, Cipher, busy_seconds, cost, process_seconds
from bench.iperf import Load
from bench.lab import Lab
from bench.process import LabError
from bench.roads import build_pair
from tests.bench.stand_ins import FakeLab


def test_a_process_s_time_is_that_of_all_its_threads_and_of_nobody_else():
    script = (
        "import hashlib, threading, time\n"
        "def spin():\n"
        "    end = time.thread_time() + 0.1\n"
        "    while time.thread_time() < end: pass\n"
        "for _ in range(3):\n"
        "    t = threading.Thread(target=spin); t.start(); t.join()\n"
        "print('spun', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            assert child.stdout.readline() == b"spun\n"
            own = time.process_time()
            spent = process_seconds(child.pid)
            assert spent >= 0.3
            assert process_seconds(child.pid) - spent < 0.1
            assert process_seconds(os.getpid()) == pytest.approx(own, abs=0.1)
        finally:
            child.kill()


def test_busy_is_everything_but_idle_and_waiting():
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"cpu  {tick} {tick} {tick} 900 800 {tick} {tick} 0 77 0\ncpu0 1 1 1 1\n"
    assert busy_seconds(stat) == 5.0


def test_cost_is_the_watched_daemons_time_over_the_text_that_arrived(monkeypatch):
    clock = iter([2.0, 3.0, 10.0, 20.0, 11.0, 22.0])
    busy = iter([50.0, 100.0, 108.0])
    monkeypatch.setattr(cpu, "process_seconds", lambda pid: next(clock))
    monkeypatch.setattr(cpu, "_busy_now", lambda: next(busy))

    def run(client, server, address, load, seconds, before_try):
        before_try()  # a spoilt try, whose time is nobody's
        before_try()
        return {"end": {"sum_received": {"bytes": 2_000_000_000, "seconds": 9}}}

    monkeypatch.setattr(iperf, "run", run)

    class End:
        class process:
            pid = 1

    class Road:
        client = server = address = None

    found = cost(Road(), [End(), End()], Load(), 1)
    assert (found.daemons, found.machine) == (1.5, 4.0)


def test_the_daemons_measured_send_receive_and_serve_an_exit_both_ways():
    assert {(m.topology, m.load.reverse, m.end) for m in MEASURES} == {
        ("pair", False, "near"),
        ("pair", True, "near"),
        ("exit", True, "far"),
        ("exit", False, "far"),
    }
    assert (cpu.DAEMON_GATE, cpu.CIPHER_GATE) == (0.33, 1.4)


def test_only_one_daemon_is_exchanged_and_its_other_end_is_the_peer(monkeypatch):
    built, asked = [], []

    class Road:
        def __init__(self, near, far):
            self.near, self.far = near, far

        def measure(self, load, seconds):
            pass

    def build(lab, near, far):
        built.append((near, far))
        return Road(near, far)

    def fake_cost(road, watched, load, seconds):
        asked.append(watched)
        return cpu.Cost(0.2 if watched == ["ours"] else 1.0, 9.0)

    monkeypatch.setattr(cpu, "Lab", FakeLab)
    monkeypatch.setattr(cpu, "BUILDERS", {"pair": build, "exit": build})
    monkeypatch.setattr(cpu, "cost", fake_cost)
    rows = cpu.measure_daemons("ours", "peer", 2, 1, lambda line: None)
    assert sorted(set(built)) == [("ours", "peer"), ("peer", "ours"), ("peer", "peer")]
    each = len(MEASURES)
    assert asked == [["ours"], ["peer"]] * each + [["peer"], ["ours"]] * each
    judged = [row for row in rows if row.gate]
    assert [row.name for row in judged] == [m.name for m in MEASURES]
    assert all(row.holds and row.ratio == 0.2 for row in judged)


def test_what_the_cipher_adds_is_ours_less_the_build_without(monkeypatch):
    class Road:
        def __init__(self, program):
            self.near = self.far = program

        def measure(self, load, seconds):
            pass

    monkeypatch.setattr(cpu, "Lab", FakeLab)
    monkeypatch.setattr(cpu, "BUILDERS", {"pair": lambda lab, program: Road(program)})
    monkeypatch.setattr(cpu.nocipher, "program", lambda say: "bare")
    costs = {"ours": 1.0, "bare": 0.4}
    monkeypatch.setattr(
        cpu, "cost", lambda road, watched, load, seconds: cpu.Cost(costs[watched[0]] * len(watched), 0)
    )
    monkeypatch.setattr(Cipher, "sample", lambda self: 1.0)
    *_, added = cpu.measure_cipher("ours", Cipher(), 3, 1, lambda line: None)
    assert added.ours == pytest.approx((1.2,) * 3)
    assert added.peer == (1.0,) * 3
    assert added.holds


def test_an_empty_choice_of_the_cipher_is_none_as_for_the_programs(monkeypatch):
    monkeypatch.setenv("SALLYPORT_AEAD", "")
    Cipher()


def test_a_cipher_that_cannot_be_had_is_told_before_anything_is_measured(monkeypatch):
    monkeypatch.setenv("SALLYPORT_AEAD", "rot13")
    monkeypatch.setattr(cpu, "measure_daemons", lambda *_: pytest.fail("measured"))
    with pytest.raises(LabError, match="rot13 cannot be made"):
        cpu.BENCH.run(argparse.Namespace(ours="o", peer="p", runs=7, seconds=1), print)


def test_sealing_and_opening_alone_costs_something():
    assert 0 < Cipher().sample() < 100


@pytest.mark.netns
def test_a_real_run_costs_both_daemons_something():
    with Lab() as lab:
        road = build_pair(lab, OURS)
        found = cost(road, [road.near, road.far], Load(), 1)
        one = cost(road, [road.near], Load(), 1)
        assert one.daemons > 0
        assert 0 < found.daemons < found.machine
