"""What `bench memory` reads of a process, and a small real run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import memory
from bench.cli import parser
from bench.memory import Crowd, crowd, crowd_config, growth, resident_bytes, rows_of
from bench.process import LabError

OURS = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "sallyport-wg"


def test_memory_that_is_used_is_seen() -> None:
    before = resident_bytes(os.getpid())
    held = bytearray(os.urandom(1)) * 32_000_000
    assert 30_000_000 < resident_bytes(os.getpid()) - before < 40_000_000
    assert len(held) == 32_000_000


def test_a_process_that_is_gone() -> None:
    with pytest.raises(LabError, match="gone"):
        resident_bytes(2**22 + 1)


def test_bounds() -> None:
    ours = [Crowd(3000.0, 1.0, 2.0)] * 3
    peer = [Crowd(25000.0, 1.0, 2.0)] * 3
    each, set_, show, grown = rows_of(ours, peer, (0.0, 999_999.0), 10_000, 60)
    assert (each.bound, each.aim, each.holds) == (8192, 2048, True)
    assert (set_.holds, show.holds) == (None, None)
    assert grown.holds is True
    too_much = rows_of([Crowd(9000.0, 1.0, 2.0)], peer, (0.0, 1_000_001.0), 10_000, 60)
    assert (too_much[0].holds, too_much[3].holds) == (False, False)


def test_growth_is_of_the_whole_time_from_its_beginning_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(memory.time, "sleep", lambda seconds: now.append(now[-1] + seconds))
    monkeypatch.setattr(memory, "resident_bytes", lambda pid: pid + now[-1])
    assert memory.watched([1000, 5000], 2) == [[1000, 1001, 1002], [5000, 5001, 5002]]


def test_a_moment_is_too_short_to_see_growth() -> None:
    with pytest.raises(SystemExit):
        parser(memory.BENCH).parse_args(["--seconds", "1"])


@pytest.mark.netns
def test_a_small_crowd_costs_something() -> None:
    took = crowd(OURS, 200)
    assert 100 < took.bytes_per_peer < 100_000
    assert took.set_seconds > 0
    assert took.dump_seconds > 0


@pytest.mark.netns
def test_peers_that_are_not_there_are_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "crowd_config", lambda peers: crowd_config(1))
    with pytest.raises(LabError, match="1 peers of 5"):
        crowd(OURS, 5)


@pytest.mark.netns
def test_both_ends_are_watched_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "START_SECONDS", 1)
    monkeypatch.setattr(memory.iperf, "LEAST_GBIT_PER_SECOND", 0)
    assert len(growth(OURS, 1)) == 2
    monkeypatch.setattr(memory.iperf, "LEAST_GBIT_PER_SECOND", 1e6)
    with pytest.raises(LabError, match="the load stood still"):
        growth(OURS, 1)
