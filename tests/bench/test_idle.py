"""Counting wake-ups, of threads whose doing is known; and a short real run."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench import idle
from bench.idle import pids_of, used_pair, wake_ups, woken
from bench.lab import Lab
from bench.process import LabError, wait_for

OURS = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "sallyport-wg"


def test_every_sleep_is_a_wake_up() -> None:
    before = wake_ups(os.getpid())
    for _ in range(10):
        time.sleep(0.002)
    assert woken(before, wake_ups(os.getpid())) >= 10


def test_sleeps_of_other_threads_count() -> None:
    done, rest = threading.Event(), threading.Event()

    def sleep_often() -> None:
        for _ in range(20):
            time.sleep(0.001)
        done.set()
        rest.wait()

    thread = threading.Thread(target=sleep_often)
    before = wake_ups(os.getpid())
    thread.start()
    done.wait()
    assert woken(before, wake_ups(os.getpid())) >= 20
    rest.set()
    thread.join()


def test_threads_that_come_or_go_never_take_wake_ups_away() -> None:
    assert woken({1: 5, 2: 900}, {1: 7}) == 3
    assert woken({1: 5}, {1: 5, 3: 4}) == 5
    assert woken({1: 5, 2: 6}, {1: 5, 2: 6}) == 0


def state(pid: int) -> str:
    """S: asleep."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_process_that_waits_has_none() -> None:
    waiting = "print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wait_for(lambda: state(process.pid) == "S", "it waits")
        before = wake_ups(process.pid)
        time.sleep(0.3)
        assert wake_ups(process.pid) == before
        process.kill()


def test_a_process_that_is_gone() -> None:
    with pytest.raises(LabError, match="gone"):
        wake_ups(2**22 + 1)


@pytest.mark.netns
def test_a_tunnel_in_use_wakes_both_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lab() as lab:
        road = used_pair(lab, OURS)
        before = [wake_ups(pid) for pid in pids_of(road)]
        road.client.run("ping", "-n", "-c", "5", "-i", "0.1", road.address)
        counts = [woken(then, wake_ups(pid)) for pid, then in zip(pids_of(road), before, strict=True)]
        assert len(counts) == 2
        assert all(count >= 5 for count in counts)


@pytest.mark.netns
def test_rows_of_a_short_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "REST_SECONDS", 1)
    program, exit_program = idle.measure(OURS, OURS, 1, lambda line: None)
    assert len(program.ours) == len(program.peer) == 2
    assert len(exit_program.ours) == 1
    assert (program.bound, exit_program.bound) == (0, 0)
