"""How long something took of the time that this machine had.

What is promised in seconds is promised on a machine that runs. A guest whose host gives its processors to
others for a while (steal, in /proc/stat) stands still meanwhile, and a program on it is late by as much,
through no fault of its own. So tests of such promises measure here: seconds that passed, less those stolen.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STEAL = 8  # its place in the line of all processors (proc_stat(5))


def stolen_seconds() -> float:
    """What the host has taken so far, summed over the processors: a program may have met each of them."""
    processors = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(processors[STEAL]) / os.sysconf("SC_CLK_TCK")


class Stopwatch:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._began, self._stolen = time.monotonic(), stolen_seconds()

    def seconds(self) -> float:
        """The time since then that was not stolen."""
        return time.monotonic() - self._began - (stolen_seconds() - self._stolen)
