"""`python -m bench` as a program that signals end: one line, exit 1, and no words of its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.process import wait_for

ROOT = Path(__file__).resolve().parents[2]
# The cipher's bench, of a path that every machine can run, for longer than anybody waits.
LONG = """
import runpy, sys
from bench import aead
aead.GATES = {"portable": (1.0, 1.0)}
sys.argv = ["bench", "aead", "--runs", "10000"]
runpy.run_module("bench", run_name="__main__")
"""


@pytest.fixture
def bench() -> Iterator[subprocess.Popen[str]]:
    """That bench, with a process group of its own as a terminal's foreground job has; it measures already."""
    with subprocess.Popen(
        [sys.executable, "-c", LONG], cwd=ROOT, start_new_session=True, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if "1/10000" in line:
                    break
            yield process
        finally:
            if process.poll() is None:
                for child in children(process.pid):
                    os.kill(child, signal.SIGKILL)
            process.kill()


def children(pid: int) -> list[int]:
    """The children of a process."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_one_line_and_its_measuring_process_with_it(bench, number):
    (child,) = children(bench.pid)
    os.killpg(bench.pid, number)  # as Ctrl-C does: to everybody in the group
    out, err = bench.communicate(timeout=30)
    assert bench.returncode == 1
    assert out == ""
    assert err.splitlines()[-1] == "bench: interrupted"
    assert "Traceback" not in err
    # Whoever outlives its parent is buried by init, a moment later.
    wait_for(lambda: not Path(f"/proc/{child}").exists(), "its measuring process is gone")


def test_ctrl_c_ends_it_also_where_a_shell_had_it_ignored():
    script = "import signal, bench.cli; bench.cli.main = lambda argv: print(signal.getsignal(signal.SIGINT))"
    script += "; import runpy; runpy.run_module('bench', run_name='__main__')"
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, script],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert "default_int_handler" in done.stdout
