"""Running programs: their words, their ends, and waiting with a deadline."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from bench.process import LabError, Process, run, wait_for


def test_run_gives_words_and_failure_names_the_last_of_them():
    assert run(["cat"], input_text="hello").stdout == "hello"
    with pytest.raises(LabError, match=r"exit 3: bad$"):
        run(["sh", "-c", "echo worse; echo bad >&2; exit 3"])
    assert run(["false"], check=False).returncode == 1


def test_run_has_a_deadline():
    with pytest.raises(LabError, match="still running"):
        run(["sleep", "10"], seconds=0.05)


def test_environment_is_added_to_ours():
    assert run(["sh", "-c", "echo $SPECIAL$PATH"], env={"SPECIAL": "x"}).stdout.startswith("x/")


def test_wait_for_returns_the_value_or_names_what_never_came():
    values = iter([0, None, 7])
    assert wait_for(lambda: next(values), "seven", poll_seconds=0) == 7
    with pytest.raises(LabError, match="the moon"):
        wait_for(lambda: False, "the moon", seconds=0)


def test_a_process_speaks_and_ends_when_told():
    process = Process(["sh", "-c", "echo out; echo err >&2; exec sleep 60"])
    wait_for(lambda: process.stderr == "err\n", "the process speaks")
    assert process.stdout == "out\n"
    assert process.poll() is None
    assert process.stop() == -signal.SIGTERM
    process.close()
    process.close()


def test_one_that_does_not_obey_is_killed_and_told_on():
    process = Process(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"])
    wait_for(lambda: process.stdout == "ready\n", "the trap is set")
    with pytest.raises(LabError, match="still running"):
        process.stop(seconds=0.1)
    assert process.poll() == -signal.SIGKILL
    process.close()


ORPHAN = """
import os
from pathlib import Path
from bench.process import Process, wait_for
child = Process(["sleep", "60"])
wait_for(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\\n", "it became sleep")
print(child.pid, flush=True)
os._exit(0)
"""


def test_a_program_dies_with_the_one_who_started_it():
    pid = int(run([sys.executable, "-c", ORPHAN]).stdout)

    def gone():
        try:
            return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
        except FileNotFoundError:
            return True

    wait_for(gone, "the orphan is gone")
