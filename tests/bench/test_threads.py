"""What the kernel tells of threads, against threads whose doing is known."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from bench.process import LabError
from bench.threads import ran_seconds, wake_ups


def test_work_of_other_threads_counts() -> None:
    rest = threading.Event()

    def work() -> None:
        end = time.thread_time() + 0.05
        while time.thread_time() < end:
            pass
        done.set()
        rest.wait()

    done = threading.Event()
    thread = threading.Thread(target=work)
    before = ran_seconds(os.getpid())
    thread.start()
    done.wait()
    assert ran_seconds(os.getpid()) - before >= 0.045
    rest.set()
    thread.join()


def test_every_sleep_is_a_wake_up() -> None:
    before = wake_ups(os.getpid())
    for _ in range(10):
        time.sleep(0.002)
    assert wake_ups(os.getpid()) - before >= 10


def test_a_process_that_waits_has_none() -> None:
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        before = wake_ups(process.pid)
        time.sleep(0.3)
        assert wake_ups(process.pid) == before
        process.kill()


def test_a_process_that_is_gone() -> None:
    with pytest.raises(LabError, match="gone"):
        wake_ups(2**22 + 1)
